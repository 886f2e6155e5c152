//! The core: everything that the aggregator decides, as one value. [`Core::step`] applies one input and returns what is to be done
//! about it; nothing else changes the core. No clock, no randomness, no I/O, ordered maps only: a run recorded as its inputs replays
//! byte for byte.
//!
//! ```text
//! input -> state (what is) -> dirty pods -> plan (what is to be) -> queue -> gate, budget -> actions
//!            ^                                                                                 |
//!            +------------------------------------ outcome -----------------------------------+
//! ```
//!
//! A step for a report touches only that node's pods; a tick touches the nodes and the pods whose time has come, never all pods.
//!
//! | file | what |
//! |---|---|
//! | `core.rs` | inputs: reports, watches, ticks; planning |
//! | `core/dispatch.rs` | writes: whose turn it is, and outcomes |
//! | `core/resizing.rs` | resizes: what is planned when, and the writes of a resize |
//! | `core/announce.rs` | Events: which transitions are announced, and how often |
//! | `core/queries.rs`, `core/snapshot.rs` | questions to the core, which change nothing |
//! | `core/notes.rs` | what is logged and counted |
//!
//! Tests: `core/tests`, among them a model of a cluster that performs the actions, driven by random inputs.

mod announce;
mod dispatch;
mod notes;
mod queries;
mod resizing;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use plimsoll_contract::rejection::PodRejection;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::status::AgentState;
use plimsoll_contract::{Moment, PodName, Report};

use crate::action::Action;
use crate::decisions::DecisionLog;
use crate::input::{Input, Now};
use crate::ledger::ClassCounts;
use crate::plan::back_off::OwnerBackOffs;
use crate::plan::budget::Budget;
use crate::plan::gate::Gate;
pub(crate) use crate::plan::gate::Withheld;
use crate::plan::labels::{PodContext, carried, plan_labels};
use crate::plan::queue::WriteQueue;
use crate::plan::silence::{Phase, SilenceGuard};
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::state::State;
use announce::Announced;
use dispatch::InFlightWrite;
pub(crate) use notes::{Counts, Gauges, Note, Standing};
use resizing::{Next, Resizing};

/// Everything the aggregator knows and decides with.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    now: Moment,
    state: State,
    queue: WriteQueue,
    gate: Gate,
    budget: Budget,
    /// Owners whose pods' writes are refused.
    refused: OwnerBackOffs,
    /// Owners on whose pods repairs are undone.
    undone: OwnerBackOffs,
    /// Owners on whose pods keys are taken by other field managers, given back and taken again.
    taken: OwnerBackOffs,
    silence: SilenceGuard,
    decisions: DecisionLog,
    in_flight: BTreeMap<u64, InFlightWrite>,
    last_write: u64,
    announced: Announced,
    resizing: Resizing,
    /// What became of the pods of each class since the process started; `pods` and what is freed are counted when asked for.
    class_counts: BTreeMap<String, ClassCounts>,
    logged_withheld: Option<Withheld>,
    notes: Vec<Note>,
}

/// What a step results in.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Effects {
    /// What is to be done. Each write needs an [`Outcome`](crate::input::Outcome) with its id.
    pub(crate) actions: Vec<Action>,
    /// The answer to a report; absent for other inputs.
    pub(crate) answer: Option<Result<Answer, Rejection>>,
}

impl Core {
    /// A core that knows nothing yet and does not lead.
    pub(crate) fn new(settings: Settings) -> Core {
        Core {
            now: Moment::default(),
            state: State::new(&settings),
            queue: WriteQueue::default(),
            gate: Gate::default(),
            budget: Budget::new(settings.budget),
            refused: OwnerBackOffs::new(settings.budget.back_off, settings.budget.back_off_most),
            undone: OwnerBackOffs::new(settings.repair_every, settings.repair_most),
            taken: OwnerBackOffs::new(settings.repair_every, settings.repair_most),
            silence: SilenceGuard::new(settings.silence),
            decisions: DecisionLog::default(),
            in_flight: BTreeMap::new(),
            last_write: 0,
            announced: Announced::default(),
            resizing: Resizing::new(&settings),
            class_counts: BTreeMap::new(),
            logged_withheld: Some(Withheld::NotSynced),
            notes: Vec::new(),
            settings,
        }
    }

    /// Applies one input.
    pub(crate) fn step(&mut self, now: Now, input: Input) -> Effects {
        self.now = self.now.max(now.at);
        self.notes.clear();
        let mut effects = Effects::default();
        match input {
            Input::Tick => self.tick(),
            Input::Pods(event) => self.state.observe_pods(self.now, event),
            Input::Nodes(event) => self.state.observe_nodes(self.now, event),
            Input::Namespaces(event) => self.state.observe_namespaces(event),
            Input::Classes(event) => self.state.observe_classes(event),
            Input::Autoscalers(event) => self.state.observe_autoscalers(event),
            Input::Quotas(event) => self.state.observe_quotas(event),
            Input::LimitRanges(event) => self.state.observe_limit_ranges(event),
            Input::Reported { agent, report } => effects.answer = Some(self.accept(now, &agent, &report)),
            Input::Outcome(outcome) => self.complete(now, outcome, &mut effects.actions),
            Input::Paused(paused) => {
                if self.gate.paused.replace(paused) != Some(paused) {
                    self.notes.push(Note::PauseSwitch { paused });
                }
            }
            Input::Leading(epoch) => {
                if std::mem::replace(&mut self.gate.epoch, epoch) != epoch {
                    self.take_resizes_over();
                }
            }
        }
        self.state.dirty.extend(self.queue.due(self.now));
        self.follow_resizes(now);
        self.plan_dirty_sizes(now);
        self.plan_dirty(now, &mut effects.actions);
        self.announce(&mut effects.actions);
        self.dispatch(now, &mut effects.actions);
        let withheld = self.withheld();
        if std::mem::replace(&mut self.logged_withheld, withheld) != withheld {
            self.notes.push(Note::Withheld { why: withheld });
        }
        effects
    }

    /// What is to be logged about the last step; the next step clears it.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// A report: admitted, ingested, and answered with the roster entries that the agent does not have yet.
    fn accept(&mut self, now: Now, agent: &str, report: &Report) -> Result<Answer, Rejection> {
        self.state.admit(Now { at: self.now, ..now }, agent, report, &self.settings)?;
        let first = self.state.nodes.get(&report.node).is_some_and(|node| node.reported.is_none());
        self.state.ingest(self.now, agent, report, &self.settings);
        self.note_report(report, first);
        self.report_sizes(now, report);
        Ok(self.state.answer_to(report))
    }

    fn note_report(&mut self, report: &Report, first: bool) {
        let Some(node) = self.state.nodes.get_mut(&report.node) else { return };
        let name = || report.node.clone();
        let before = std::mem::replace(&mut node.agent, AgentState::Reporting);
        if first {
            self.notes.push(Note::FirstReport { node: name(), pods: report.pods.len() });
        } else if before != AgentState::Reporting {
            self.notes.push(Note::ReportsAgain { node: name() });
        }
        if before == AgentState::Silent {
            self.state.agents_changed.insert(name());
            // `unknown` may have been withheld from its pods.
            self.state.dirty.extend(node.pods.iter().cloned());
        }
        // A partial report names few pods: its counts say nothing new.
        if report.full {
            for (reason, count) in node.newly_rejected() {
                self.notes.push(Note::PodsRejected { node: name(), reason, count });
            }
        }
        if node.rejected_for(PodRejection::ForeignPod) > 0
            && node.count_foreign_report(self.now, &self.settings)
        {
            self.notes.push(Note::Quarantined { node: name() });
        }
    }

    fn tick(&mut self) {
        self.expire_in_flight();
        let (now, settings) = (self.now, &self.settings);
        let mut due = Vec::new();
        for (name, node) in &mut self.state.nodes {
            let agent = node.agent_at(now, settings);
            if agent > node.agent && node.facts.is_some() {
                self.notes.push(match agent {
                    AgentState::Silent => Note::NodeSilent { node: name.clone() },
                    _ => Note::NodeLate { node: name.clone() },
                });
            }
            if node.memory_shrinks.is_news(now) {
                self.state.memory_shrinks_changed.insert(name.clone());
            }
            let fell_silent = agent == AgentState::Silent && node.agent != agent;
            node.agent = agent;
            if fell_silent {
                self.state.agents_changed.insert(name.clone());
            }
            if fell_silent || node.check_at <= now {
                due.push((name.clone(), agent == AgentState::Silent));
            }
        }
        for (node, silent) in due {
            self.state.forget_unconfirmed(now, &node, silent, &self.settings);
        }
        self.observe_silence();
        self.tick_sizes();
        self.refused.forget(now);
        self.undone.forget(now);
        self.taken.forget(now);
        let fast = self.queue.forget_slow(now).into_iter();
        self.notes.extend(fast.map(|namespace| Note::SlowNamespace { namespace, slow: false }));
    }

    /// Counts the silent nodes. Once one is silent, those that soon will be count too.
    fn observe_silence(&mut self) {
        let counted =
            || self.state.nodes.values().filter(|node| node.facts.is_some() && node.has_labels_to_lose);
        let silent_at =
            |at| counted().filter(|n| n.agent_at(at, &self.settings) == AgentState::Silent).count();
        let silent = match silent_at(self.now) {
            0 => 0,
            _ => silent_at(self.now + self.settings.silence.foresight),
        };
        let nodes = self.state.listed_nodes;
        if !self.silence.observe(self.now, nodes, silent) {
            return;
        }
        self.notes.push(Note::Silence { phase: self.silence.phase(), silent, nodes });
        // What was withheld from the pods of silent nodes is planned again, and those that one Event told for all are told one by one.
        let silent = || self.state.nodes.iter().filter(|(_, node)| node.agent == AgentState::Silent);
        self.state.dirty.extend(silent().flat_map(|(_, node)| node.pods.iter().cloned()));
        if self.silence.phase() == Phase::Normal {
            self.state.agents_changed.extend(silent().map(|(name, _)| name.clone()));
        }
    }

    /// Plans for every pod about which something changed, and for no other.
    fn plan_dirty(&mut self, now: Now, actions: &mut Vec<Action>) {
        while let Some(name) = self.state.dirty.pop_first() {
            self.tell_resizes(now, &name, actions);
            let next = self.plan(now, &name);
            self.queue_plan(&name, next);
        }
    }

    fn queue_plan(&mut self, name: &PodName, next: Next) {
        let pod = self.state.pods.get(name);
        match next.order(pod.is_some_and(|pod| pod.writes.failures > 0)) {
            Some(order) => self.queue.push(self.now, name, order),
            None => self.queue.remove(name),
        }
        match next {
            Next::Idle => self.queue.plan_at(name, None),
            Next::Wait(at) => self.queue.plan_at(name, Some(at)),
            // What waits for its turn may end before it comes.
            _ => {
                let wake = pod.map(|pod| pod.resize.wake()).filter(|at| *at < Moment::NEVER);
                if wake.is_some() && self.resizes() {
                    self.queue.plan_at(name, wake);
                }
            }
        }
    }

    fn plan(&mut self, wall: Now, name: &PodName) -> Next {
        let (now, settings) = (self.now, &self.settings);
        let Some(pod) = self.state.pods.get(name) else {
            return Next::Idle;
        };
        // A pod that is gone, or has no labels of ours any more, says nothing against its owner.
        let pods = &self.state.pods;
        let is_undone =
            |last: &PodName| pods.get(last).is_some_and(|pod| pod.is_repair_undone(now, settings));
        let undone_until = self.undone.wait(now, &pod.facts, is_undone);
        let is_taken = |last: &PodName| pods.get(last).is_some_and(|pod| pod.writes.is_taken(now, settings));
        let taken_until = self.taken.wait(now, &pod.facts, is_taken);
        // A pod that could not be read meanwhile was forgotten, but not what was sent to it.
        let is_of_pod = |write: &InFlightWrite| write.is_of(name, &pod.facts.uid);
        if self.in_flight.values().any(is_of_pod) {
            return Next::Idle;
        }
        let node = self.state.node_of(&pod.facts);
        let silent = node.is_some_and(|node| node.agent == AgentState::Silent);
        let mut context = PodContext {
            namespace_known: self.state.knows_namespace(name),
            left_alone: self.state.left_alone(&pod.facts),
            not_yet_reported: node.is_some_and(|node| node.reported.is_none()) && !silent,
            unknown_withheld: self.silence.withheld_until().filter(|_| silent),
            refused_until: self.refused.of(&pod.facts).map(|(until, _)| until).filter(|at| *at > self.now),
            undone_until,
            given_back_at: None,
        };
        let Some(pod) = self.state.pods.get_mut(name) else {
            return Next::Idle;
        };
        context.given_back_at = pod.writes.hold_given_back(now, taken_until, settings);
        pod.writes.withdrawn &= context.left_alone.is_some() || !context.namespace_known;
        let labels = plan_labels(pod, context, self.now, &self.settings);
        let carried = carried(&labels, pod, self.now, self.settings.output);
        let not_before = pod.writes.state.not_before(self.now).max(context.refused_until);
        match self.state.pods.get(name) {
            Some(pod) => self.next_write(Now { at: self.now, ..wall }, pod, labels, carried, not_before),
            None => Next::Idle,
        }
    }
}
