//! The writes of a resize: whether one may be sent now, what is in it, and what its outcome means.
//!
//! A resize is two writes, the record and the resize, and never the second without the first. Between the two the pod gets no other write of
//! ours: that would change its version, and the resize would be refused.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::status::AgentState;
use plimsoll_contract::{Moment, PodName, keys};
use plimsoll_sizing::policy::Mode;
use plimsoll_sizing::size::{Size, Sizes};

use super::Sizing;
use super::quota::RefusedAt;
use super::told::described;
use crate::action::{Change, Reason, ResizePatch, Write};
use crate::core::Core;
use crate::facts::PodFacts;
use crate::input::{Now, PodVersion, RefusalKind, WriteResult};
use crate::labels::PodLabels;
use crate::plan::labels::LabelPlan;
use crate::plan::queue::Order;
use crate::plan::resize::Outcome;
use crate::resize::{Purpose, Step, Wanted, sizes_of};
use crate::state::Pod;

/// The shortest time between two dry runs for one pod.
const PROBE_EVERY: Duration = Duration::from_secs(60);
/// An answer is good for sizes that differ from the one asked about by no more than this, in percent: what is recommended moves a little with
/// nearly every report.
const PROBE_ANEW: u64 = 5;

/// What is to be written to a pod next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::core) enum Next {
    /// Nothing, until something changes.
    Idle,
    /// Nothing before then.
    Wait(Moment),
    /// Its labels: what it carries, and what it is to carry.
    Labels { reason: Reason, from: PodLabels, to: PodLabels },
    /// The record of a resize, with the labels that it is to carry.
    Record(Purpose, PodLabels),
    /// The resize that is recorded.
    Resize(Purpose),
    /// A dry run of what is recommended.
    Probe,
}

impl Next {
    /// Where it stands among others; none if nothing is to be written. `failed` says whether the last write of labels did.
    pub(in crate::core) fn order(self, failed: bool) -> Option<Order> {
        match self {
            Next::Idle | Next::Wait(_) => None,
            Next::Labels { reason, .. } => Some(Order::of(reason, failed)),
            Next::Record(purpose, _) => Some(Order::of(purpose.into(), failed)),
            Next::Resize(_) => Some(Order::Resize),
            Next::Probe => Some(Order::Probe),
        }
    }
}

/// What the API server said about a size that is recommended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Probed {
    /// The size that it was asked about; empty: it is to be asked again.
    pub(super) sizes: BTreeMap<String, Sizes>,
    at: Moment,
    /// Absent until it answered.
    pub(super) verdict: Option<String>,
}

impl Probed {
    /// Whether what was asked is good for these sizes.
    pub(super) fn covers(&self, sizes: &BTreeMap<String, Sizes>) -> bool {
        let amounts =
            |sizes: &Sizes| [sizes.cpu.request, sizes.cpu.limit, sizes.memory.request, sizes.memory.limit];
        let is_near = |asked: Option<u64>, now: Option<u64>| match (asked, now) {
            (Some(asked), Some(now)) => {
                u128::from(asked.abs_diff(now)) * 100 <= u128::from(asked) * u128::from(PROBE_ANEW)
            }
            _ => asked == now,
        };
        self.sizes.keys().eq(sizes.keys())
            && self.sizes.values().zip(sizes.values()).all(|(asked, now)| {
                amounts(asked).into_iter().zip(amounts(now)).all(|(asked, now)| is_near(asked, now))
            })
    }
}

/// A write, before it has a number.
pub(in crate::core) struct UnsentWrite {
    pub(in crate::core) reason: Reason,
    pub(in crate::core) from: String,
    pub(in crate::core) to: String,
    pub(in crate::core) change: Change,
}

impl Core {
    /// What is to be written next, of what the labels and the resize of a pod call for. `carried` are the labels that it is to carry whatever
    /// is written now; no label is written before `not_before`.
    pub(in crate::core) fn next_write(
        &self,
        now: Now,
        pod: &Pod,
        labels: LabelPlan,
        carried: PodLabels,
        not_before: Option<Moment>,
    ) -> Next {
        let resize = self.next_step(now, pod, carried, not_before);
        match (labels, resize) {
            (_, Next::Record(..) | Next::Resize(_)) => resize,
            (LabelPlan::Write { reason, from, to }, _) => Next::Labels { reason, from, to },
            (LabelPlan::Wait(at), Next::Wait(other)) => Next::Wait(at.min(other)),
            (LabelPlan::Wait(at), Next::Idle) => Next::Wait(at),
            (LabelPlan::Wait(_) | LabelPlan::Idle, _) => resize,
        }
    }

    fn next_step(&self, now: Now, pod: &Pod, carried: PodLabels, not_before: Option<Moment>) -> Next {
        if !self.resizes() {
            return Next::Idle;
        }
        let wake = pod.resize.wake();
        let wait = |at: Option<Moment>| match at.map_or(wake, |at| at.min(wake)) {
            Moment::NEVER => Next::Idle,
            at => Next::Wait(at),
        };
        let may_send = self.may_resize(pod) && self.is_applied(pod);
        let step = if may_send { pod.resize.next(now, &pod.facts) } else { Step::Nothing };
        let purpose = pod.resize.purpose();
        if let (Step::Record(_) | Step::Send { .. }, Some(purpose)) = (&step, purpose)
            && let Some(until) = self.resizing.quotas.until(self.now, &self.state, &pod.facts, purpose)
        {
            return wait(Some(until));
        }
        match (step, purpose) {
            (Step::Send { .. }, Some(purpose)) => Next::Resize(purpose),
            (Step::Record(_), _) if not_before.is_some() => wait(not_before),
            (Step::Record(_), Some(purpose)) => {
                let guard = self.resizing.guard.paused_until(self.now);
                match guard.filter(|_| purpose == Purpose::Shrink) {
                    Some(until) => wait(Some(until)),
                    // Without the record on the pod there is no resize.
                    None if is_record_anothers(pod) => wait(None),
                    None => Next::Record(purpose, carried),
                }
            }
            (Step::Wait(at), _) => wait(Some(at)),
            (Step::Nothing | Step::Record(_) | Step::Send { .. }, _) => match self.probe_at(pod) {
                Some(at) if at <= self.now => Next::Probe,
                at => wait(at),
            },
        }
    }

    /// Whether a pod may be resized now. On a node whose agent is late nothing is: nobody would see what it does.
    fn may_resize(&self, pod: &Pod) -> bool {
        let facts = &pod.facts;
        let is_reporting = self.state.node_of(facts).is_some_and(|node| {
            node.reported.is_some() && node.agent_at(self.now, &self.settings) == AgentState::Reporting
        });
        let is_wanted =
            self.state.is_managed(facts) || pod.resize.purpose().is_some_and(Purpose::is_way_back);
        is_reporting
            && is_wanted
            && !facts.terminating
            && self.state.knows_namespace(&facts.pod)
            && self.state.left_alone(facts).is_none()
    }

    /// Whether the class, as it is now, lets the resize under way be made.
    fn is_applied(&self, pod: &Pod) -> bool {
        let policy = self.state.policy(&pod.facts).and_then(Result::ok);
        let applies = |purpose: Purpose| {
            purpose.is_way_back() || policy.is_some_and(|policy| policy.mode == Mode::Apply)
        };
        pod.resize.purpose().is_none_or(applies)
    }

    /// When the API server is to be asked about what is recommended for a pod.
    fn probe_at(&self, pod: &Pod) -> Option<Moment> {
        let sizing = self.resizing.pods.get(&pod.facts.pod).filter(|_| self.may_resize(pod))?;
        let wanted = recommended(sizing)?;
        match &sizing.probed {
            Some(probed) if probed.covers(&wanted.sizes) => None,
            Some(probed) => Some(probed.at + PROBE_EVERY),
            None => Some(self.now),
        }
    }

    /// Asked before a write is sent that the budget allows: whether it may be. A shrink counts as one of those that may be too many.
    pub(in crate::core) fn admit(&mut self, name: &PodName, next: Next) -> bool {
        if let (Next::Record(purpose, _), Some(pod)) = (next, self.state.pods.get(name)) {
            self.resizing.quotas.tried(self.now, &self.state, &pod.facts, purpose);
        }
        match next {
            Next::Record(Purpose::Shrink, _) => {
                let managed = self.state.nodes.values().map(|node| node.last_plan.managed).sum();
                self.resizing.guard.admit(self.now, name, managed)
            }
            _ => true,
        }
    }

    /// The resize that is recorded on a pod; it is on its way.
    pub(in crate::core) fn unsent_resize(&mut self, now: Now, name: &PodName) -> Option<UnsentWrite> {
        let pod = self.state.pods.get_mut(name)?;
        let purpose = pod.resize.purpose()?;
        let Step::Send { sizes, resource_version } = pod.resize.next(now, &pod.facts) else { return None };
        pod.resize.sent(now, &pod.facts);
        let (from, to) = described(&pod.facts, &sizes);
        let change = Change::Resize(patch(&pod.facts, &sizes, Some(resource_version)));
        Some(UnsentWrite { reason: purpose.into(), from, to, change })
    }

    /// The dry run of what is recommended for a pod; it is on its way.
    pub(in crate::core) fn unsent_probe(&mut self, name: &PodName) -> Option<UnsentWrite> {
        let facts = &self.state.pods.get(name)?.facts;
        let sizing = self.resizing.pods.get_mut(name)?;
        let sizes = recommended(sizing)?.sizes.clone();
        let (from, to) = described(facts, &sizes);
        let change = Change::Probe(patch(facts, &sizes, None));
        sizing.probed = Some(Probed { sizes, at: self.now, verdict: None });
        self.budget.probed(self.now, self.state.listed_nodes);
        Some(UnsentWrite { reason: Reason::Recommend, from, to, change })
    }

    /// A write of labels has its outcome; it may be the record of a resize.
    pub(in crate::core) fn complete_record(&mut self, write: &Write, result: &WriteResult) {
        let now = self.now;
        let Some(pod) = self.pod_of(write).filter(|_| write.reason.is_of_resize()) else { return };
        match result {
            WriteResult::Written(version) => pod.resize.recorded(now, version.clone()),
            other => pod.resize.record_failed(now, &words(other)),
        }
    }

    /// A resize has its outcome.
    pub(in crate::core) fn complete_resize(&mut self, write: &Write, result: &WriteResult) {
        let now = self.now;
        let Some(pod) = self.pod_of(write) else { return };
        let Some(purpose) = pod.resize.purpose() else { return };
        let outcome = match result {
            WriteResult::Written(PodVersion { generation, .. }) => {
                pod.resize.accepted(now, *generation);
                self.resizing.quotas.accepted(&write.pod, purpose);
                "accepted"
            }
            other => {
                pod.resize.refused(now, &pod.facts, other.into());
                self.note_quota(write, other);
                other.as_str()
            }
        };
        self.count_resize(&write.pod, purpose, outcome);
    }

    fn note_quota(&mut self, write: &Write, result: &WriteResult) {
        let WriteResult::Refused(kind @ (RefusalKind::Quota | RefusalKind::LimitRange), _) = result else {
            return;
        };
        let Some(pod) = self.state.pods.get(&write.pod) else { return };
        if *kind == RefusalKind::Quota {
            self.resizing.quotas.refused(self.now, &self.state, &pod.facts);
        }
        if let Some(sizing) = self.resizing.pods.get_mut(&write.pod) {
            let by_range = *kind == RefusalKind::LimitRange;
            sizing.refused_at = Some(RefusedAt::new(&self.state, &pod.facts, by_range));
        }
    }

    /// A dry run has its outcome.
    pub(in crate::core) fn complete_probe(&mut self, write: &Write, result: &WriteResult) {
        if self.pod_of(write).is_none() {
            return;
        }
        self.state.revision += 1;
        let probed = self.resizing.pods.get_mut(&write.pod).and_then(|sizing| sizing.probed.as_mut());
        let Some(probed) = probed else { return };
        probed.verdict = Some(match result {
            WriteResult::Written(_) => "accepted".to_owned(),
            WriteResult::Refused(..) => format!("refused: {}", words(result)),
            other => format!("not answered: {}", words(other)),
        });
        if !matches!(result, WriteResult::Written(_) | WriteResult::Refused(..)) {
            // That says nothing of the size.
            probed.sizes.clear();
        }
    }
}

/// What is recommended for a pod, and not done.
pub(super) fn recommended(sizing: &Sizing) -> Option<&Wanted> {
    match &sizing.verdict.as_ref()?.outcome {
        Outcome::Recommended(wanted) => Some(wanted),
        _ => None,
    }
}

/// Whether another field manager owns an annotation in which a resize is recorded.
fn is_record_anothers(pod: &Pod) -> bool {
    [keys::ORIGINAL_RESOURCES, keys::DECISION].iter().any(|key| pod.writes.conflicts.contains_key(*key))
}

/// Why a write was not done.
fn words(result: &WriteResult) -> String {
    result.problem().unwrap_or_else(|| result.as_str().to_owned())
}

/// Of each container the amounts that differ from the spec.
fn patch(facts: &PodFacts, sizes: &BTreeMap<String, Sizes>, resource_version: Option<String>) -> ResizePatch {
    let differs = |before: Option<u64>, after: Option<u64>| after.filter(|_| before != after);
    let size = |before: Size, after: Size| Size {
        request: differs(before.request, after.request),
        limit: differs(before.limit, after.limit),
    };
    let (mut containers, mut init_containers) = (BTreeMap::new(), BTreeMap::new());
    for (name, after) in sizes {
        let Some(container) = facts.containers.iter().find(|container| container.name == *name) else {
            continue;
        };
        let before = sizes_of(&container.spec);
        let changed = Sizes { cpu: size(before.cpu, after.cpu), memory: size(before.memory, after.memory) };
        if changed != Sizes::default() {
            match container.kind {
                ContainerKind::Sidecar => init_containers.insert(name.clone(), changed),
                _ => containers.insert(name.clone(), changed),
            };
        }
    }
    ResizePatch { containers, init_containers, resource_version }
}
