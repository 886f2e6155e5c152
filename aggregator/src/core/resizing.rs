//! Resizing: what the reports of a node call for is planned for all its pods together, what is wanted goes to the state machine of its
//! pod, and what that wants written next to the queue.
//!
//! Only the leader follows resizes: whoever leads next takes them over from what is on the pods, and takes the rest for the worst.
//!
//! | file | what |
//! |---|---|
//! | `resizing.rs` | which nodes are planned, and what the state machines are told |
//! | `resizing/steps.rs` | the writes: whether one may be sent, what is in it, what its outcome means |
//! | `resizing/quota.rs` | which namespaces are asked again how soon after a quota refused |
//! | `resizing/told.rs` | what people, metrics and the statuses of classes are told |
//! | `resizing/status.rs` | where a pod stands, for people |

mod quota;
mod status;
mod steps;
mod told;

use std::collections::BTreeMap;
use std::mem::replace;
use std::time::Duration;

use plimsoll_contract::{NodeName, PodName};
use plimsoll_sizing::policy::Mode;
use plimsoll_sizing::verdict::Verdict;

use super::Core;
use crate::facts::NodeFacts;
use crate::input::Now;
use crate::plan::resize::guard::DecreaseGuard;
use crate::plan::resize::of_state::node_view;
use crate::plan::resize::view::millicores;
use crate::plan::resize::{Outcome, PlanSettings, PodVerdict, at_maximum, plan_node};
use crate::resize::{Believed, NotPlanned, Seen};
use crate::settings::{ResizeSettings, Settings};
use crate::state::{LastPlan, Pod, Room};
use quota::{QuotaHolds, RefusedAt};
use steps::Probed;
pub(super) use steps::{Next, UnsentWrite};
pub(super) use told::described;

/// Nodes that are planned in one step beside that of a report.
const NODES_AT_ONCE: usize = 50;
/// When a cooldown ends, a node is planned anew only from numbers that are not older: those before it may be from before the growth.
const FRESH: Duration = Duration::from_secs(5);

/// What the core keeps for resizing.
#[derive(Debug, Default)]
pub(super) struct Resizing {
    settings: PlanSettings,
    pub(super) pods: BTreeMap<PodName, Sizing>,
    guard: DecreaseGuard,
    quotas: QuotaHolds,
}

/// What is kept of one pod beside its state machine.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    /// The pod, and the epoch in which its resize was taken over.
    taken_over: Option<(String, u64)>,
    /// Of the last plan.
    verdict: Option<PodVerdict>,
    /// Why the state machine did not take on what was wanted.
    not_planned: Option<NotPlanned>,
    /// Where a quota or limit range refused its last growth.
    refused_at: Option<RefusedAt>,
    probed: Option<Probed>,
}

impl Resizing {
    pub(super) fn new(settings: &Settings) -> Resizing {
        let ResizeSettings { division, weights, .. } = settings.resize;
        Resizing { settings: PlanSettings { division, weights }, ..Resizing::default() }
    }
}

impl Core {
    /// Whether this replica follows resizes.
    pub(super) fn resizes(&self) -> bool {
        self.settings.resize.enabled && self.gate.epoch.is_some() && self.state.synced()
    }

    /// This replica leads with another epoch, or does not lead any more: nothing of what was decided for pods before is good, and while it
    /// did not follow resizes pods may have gone. Every node with pods is to be planned.
    pub(super) fn take_resizes_over(&mut self) {
        self.resizing.pods.clear();
        if self.settings.resize.enabled {
            let nodes = self.state.nodes.iter().filter(|(_, node)| !node.pods.is_empty());
            let nodes: Vec<NodeName> = nodes.map(|(name, _)| name.clone()).collect();
            self.state.resize_dirty.extend(nodes);
        }
    }

    /// Shows each pod about which something changed to its state machine, and runs the timeouts that are due.
    pub(super) fn follow_resizes(&mut self, now: Now) {
        if !self.resizes() {
            return;
        }
        let dirty: Vec<PodName> =
            self.state.dirty.iter().filter(|name| self.concerns_resizing(name)).cloned().collect();
        for name in dirty {
            self.take_over(now, &name);
            let mut killed = 0;
            match self.state.pods.get_mut(&name) {
                Some(pod) => {
                    let before = kills(pod);
                    pod.resize.observe(self.now, &pod.facts);
                    killed = kills(pod).saturating_sub(before);
                    if pod.resize.wake() <= self.now {
                        pod.resize.tick(self.now, &pod.facts);
                    }
                    // The response to it and the watch both come here, whichever says first that it was accepted.
                    let node = pod.facts.node.as_ref().filter(|_| pod.resize.take_memory_decrease());
                    if let Some(node) = node.and_then(|node| self.state.nodes.get_mut(node)) {
                        node.memory_shrinks.shrunk(self.now);
                    }
                }
                None => drop(self.resizing.pods.remove(&name)),
            }
            self.count_kills(&name, killed);
        }
    }

    /// Whether a pod chose a class, also one that does not exist, was resized, or is gone and was.
    fn concerns_resizing(&self, name: &PodName) -> bool {
        self.resizing.pods.contains_key(name)
            || self
                .state
                .pods
                .get(name)
                .is_some_and(|pod| self.state.policy(&pod.facts).is_some() || was_resized(pod))
    }

    /// At the first look at a pod in this epoch, once the classes are known: goes on from what is on it.
    fn take_over(&mut self, now: Now, name: &PodName) {
        if !self.state.knows_bounds() {
            return;
        }
        let Some((pod, epoch)) = self.state.pods.get(name).zip(self.gate.epoch) else { return };
        let sizing = self.resizing.pods.entry(name.clone()).or_default();
        let taken_over = Some((pod.facts.uid.clone(), epoch));
        if sizing.taken_over != taken_over {
            *sizing = Sizing { taken_over, ..Sizing::default() };
            let policy = self.state.policy(&pod.facts).and_then(Result::ok).cloned();
            let node = self.state.node_of(&pod.facts).and_then(|node| node.facts.as_ref());
            let allocatable = node.map_or([None; 2], allocatable);
            let policy = policy.filter(|policy| policy.mode == Mode::Apply && pod.facts.node.is_some());
            let believed = policy.as_ref().map(|policy| Believed { policy, allocatable });
            if let Some(pod) = self.state.pods.get_mut(name) {
                pod.resize.restored(now, &pod.facts, believed);
            }
        }
    }

    /// A report of a node was ingested.
    pub(super) fn report_sizes(&mut self, now: Now, report: &plimsoll_contract::Report) {
        if !self.settings.resize.enabled {
            return;
        }
        let resizes = self.resizes();
        for pod_report in &report.pods {
            let Some(name) = self.state.by_uid.get(&pod_report.uid).cloned() else { continue };
            let is_here =
                |pod: &Pod| pod.facts.node.as_ref() == Some(&report.node) && pod.confirmed == self.now;
            if !self.concerns_resizing(&name) || !self.state.pods.get(&name).is_some_and(|pod| is_here(pod)) {
                continue;
            }
            if !resizes {
                if let Some(pod) = self.state.pods.get_mut(&name) {
                    pod.resize.witness(Now { at: self.now, ..now }, &pod.facts, &Seen::from(pod_report));
                }
                continue;
            }
            self.take_over(now, &name);
            let Some(pod) = self.state.pods.get_mut(&name) else { continue };
            let before = kills(pod);
            pod.resize.report(self.now, &pod.facts, &Seen::from(pod_report));
            let killed = kills(pod).saturating_sub(before);
            self.state.dirty.insert(name.clone());
            self.count_kills(&name, killed);
        }
        if resizes {
            self.plan_sizes(now, &report.node);
        }
    }

    /// Plans the nodes whose pods' classes, bounds or room changed, and those where a cooldown ended.
    pub(super) fn plan_dirty_sizes(&mut self, now: Now) {
        if !self.resizes() {
            return;
        }
        for _ in 0..NODES_AT_ONCE {
            let Some(node) = self.state.resize_dirty.pop_first() else { break };
            self.plan_sizes(now, &node);
        }
    }

    /// Time passed.
    pub(super) fn tick_sizes(&mut self) {
        let (state, now) = (&mut self.state, self.now);
        self.resizing.quotas.forget(now);
        for (name, node) in &mut state.nodes {
            let is_over = node.last_plan.cooldown_ends.take_if(|end| *end <= now).is_some();
            if is_over && node.reported.is_some_and(|reported| now.since(reported) <= FRESH) {
                state.resize_dirty.insert(name.clone());
            }
        }
    }

    fn plan_sizes(&mut self, now: Now, name: &NodeName) {
        self.state.resize_dirty.remove(name);
        let Some(node) = self.state.nodes.get(name) else { return };
        let pods: Vec<PodName> =
            node.pods.iter().filter(|pod| self.concerns_resizing(pod)).cloned().collect();
        if pods.is_empty() {
            self.keep_plan(name, LastPlan::default());
            return;
        }
        pods.iter().for_each(|pod| self.take_over(now, pod));
        pods.iter().for_each(|pod| self.look_at_quotas(pod));
        let paused = self.resizing.guard.paused_until(self.now);
        let now = Now { at: self.now, ..now };
        let Some(view) = node_view(&self.state, name, now, paused) else { return };
        let room = Room::of(view.facts, view.pods.iter().map(|pod| pod.facts));
        let managed = view.pods.iter().filter(|pod| pod.policy().is_some()).count();
        let verdicts = plan_node(&view, self.now, &self.resizing.settings);
        let cooldown = verdicts.iter().filter_map(|(_, verdict)| shortest_cooldown(verdict)).min();
        let cooldown_ends = cooldown.map(|left| self.now + left);
        let before = self.keep_plan(name, LastPlan { managed, room: Some(room), cooldown_ends });
        let has_more =
            before.and_then(|before| before.room).is_some_and(|before| room.has_more_than(&before));
        let mut verdicts: BTreeMap<PodName, PodVerdict> = verdicts.into_iter().collect();
        for pod in pods {
            if has_more && let Some(pod) = self.state.pods.get_mut(&pod) {
                pod.resize.node_freed();
            }
            let verdict = verdicts.remove(&pod);
            self.take_verdict(&pod, verdict);
        }
    }

    /// Keeps what a plan found; returns what the one before did.
    fn keep_plan(&mut self, name: &NodeName, found: LastPlan) -> Option<LastPlan> {
        self.state.nodes.get_mut(name).map(|node| replace(&mut node.last_plan, found))
    }

    /// A growth that a quota or limit range refused may be asked for again once these leave more.
    fn look_at_quotas(&mut self, name: &PodName) {
        let Some(pod) = self.state.pods.get(name) else { return };
        self.resizing.quotas.observe(&self.state, &pod.facts);
        let Some(sizing) = self.resizing.pods.get_mut(name) else { return };
        if sizing.refused_at.as_mut().is_some_and(|refused| refused.is_over(&self.state, &pod.facts)) {
            sizing.refused_at = None;
            if let Some(pod) = self.state.pods.get_mut(name) {
                pod.resize.quota_freed();
            }
        }
    }

    /// What was decided for a pod goes to its state machine. Without a class there is no verdict.
    fn take_verdict(&mut self, name: &PodName, verdict: Option<PodVerdict>) {
        let Some(sizing) = self.resizing.pods.get_mut(name) else { return };
        let Some(pod) = self.state.pods.get_mut(name) else { return };
        sizing.not_planned = None;
        if let Some(verdict) = &verdict {
            for sized in verdict.sizing.iter().filter(|sized| sized.pressure.is_some()) {
                pod.resize.pressed(self.now, &sized.container, sized.resource);
            }
            for (container, resource, text) in at_maximum(verdict) {
                pod.resize.at_maximum(self.now, container, resource, text);
            }
            if let Outcome::Wanted(wanted) = &verdict.outcome {
                sizing.not_planned = pod.resize.plan(self.now, &pod.facts, wanted.clone()).err();
            }
        }
        let is_wanted = verdict.as_ref().is_some_and(|verdict| matches!(verdict.outcome, Outcome::Wanted(_)));
        if !is_wanted || sizing.not_planned.is_some() {
            pod.resize.unplan();
        }
        if sizing.verdict != verdict {
            sizing.verdict = verdict;
            self.state.revision += 1;
        }
        self.state.dirty.insert(name.clone());
    }
}

/// What a node has for pods, in millicores and bytes.
fn allocatable(node: &NodeFacts) -> [Option<u64>; 2] {
    [node.allocatable_cpu.map(millicores), node.allocatable_memory.map(|bytes| bytes.0)]
}

/// Kills for memory that were told of a pod's containers since their memory grew last.
fn kills(pod: &Pod) -> u64 {
    let kills = pod.facts.containers.iter().map(|c| pod.resize.memory_events(&c.name).oom_kill);
    kills.fold(0, u64::saturating_add)
}

/// Whether a pod was resized at some time.
fn was_resized(pod: &Pod) -> bool {
    pod.facts.annotations.contains_key(plimsoll_contract::keys::DECISION)
}

/// The time until the first of a pod's cooldowns is over.
fn shortest_cooldown(verdict: &PodVerdict) -> Option<Duration> {
    let left = verdict.sizing.iter().filter_map(|sized| match sized.verdict {
        Verdict::Cooldown { left, .. } => Some(left),
        _ => None,
    });
    left.min()
}
