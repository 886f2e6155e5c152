//! The core: the whole of what the aggregator decides, as one value. `step(now, input)` takes one thing in and says what
//! is to be done about it; nothing else changes it. No clock, no randomness, no input or output, ordered maps only: a run
//! recorded as its inputs replays byte for byte.
//!
//! ```text
//! input -> view (what is) -> dirty pods -> verdict (what shall be) -> agenda -> breaker, budget -> actions
//!              ^                                                                                     |
//!              +---------------------------------- outcome ------------------------------------------+
//! ```
//!
//! It refuses reports that are old, foreign or impossible ([`Core::admit`]), and withholds every write unless this replica
//! leads, knows the cluster, is not paused and the breaker is closed ([`Core::withheld`]). A step for a report touches only
//! that node's pods; a tick touches the nodes and the pods whose time has come, never all pods.
//!
//! Proof: `core/tests`, among them a model of a cluster that answers actions, driven by random inputs.

mod ask;
mod note;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::roster::{Refused, RefusedReason};
use plimsoll_contract::status::NodeState;
use plimsoll_contract::{PodName, Report};

use crate::action::{Action, Announcement};
use crate::input::{Input, Now};
use crate::plan::agenda::Agenda;
use crate::plan::breaker::{Breaker, Census, Flip};
use crate::plan::budget::Budget;
use crate::plan::ledger::Ledger;
use crate::plan::verdict::{Place, Verdict, judge};
use crate::settings::Settings;
use crate::view::View;
pub use note::{Gauges, Note, Refusal, Withheld};
use write::Flight;

/// Everything the aggregator knows and decides with.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    now: Duration,
    view: View,
    agenda: Agenda,
    budget: Budget,
    breaker: Breaker,
    ledger: Ledger,
    in_flight: BTreeMap<u64, Flight>,
    last_action: u64,
    epoch: Option<u64>,
    paused: bool,
    /// Nodes that are silent, as the breaker counts them.
    silent: usize,
    /// Whether people were told that the breaker is open.
    told_open: bool,
    /// It closed after they were told that it was open.
    tell_closed: bool,
    last_withheld: Option<Withheld>,
    notes: Vec<Note>,
}

impl Core {
    /// A core that knows nothing yet, does not lead and is not paused.
    pub fn new(settings: Settings) -> Core {
        Core {
            now: Duration::ZERO,
            view: View::new(&settings),
            agenda: Agenda::default(),
            budget: Budget::new(settings.budget),
            breaker: Breaker::new(settings.breaker),
            ledger: Ledger::default(),
            in_flight: BTreeMap::new(),
            last_action: 0,
            epoch: None,
            paused: false,
            silent: 0,
            told_open: false,
            tell_closed: false,
            last_withheld: Some(Withheld::NotSynced),
            notes: Vec::new(),
            settings,
        }
    }

    /// Takes one input in and says what is to be done. Each [`Action::Label`] wants an [`Outcome`](crate::input::Outcome)
    /// that names its number; each [`Action::Announce`] wants none.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.now = self.now.max(now.elapsed);
        self.notes.clear();
        let mut actions = Vec::new();
        self.take_in(now, input, &mut actions);
        for pod in self.agenda.due(self.now) {
            self.view.dirty.insert(pod);
        }
        self.decide();
        self.look_for_too_much(&mut actions);
        self.send(now, &mut actions);
        self.note_withheld();
        actions
    }

    /// What is worth a line in the log from the last step; the next step clears it.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn take_in(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) {
        let at = self.now;
        match input {
            Input::Tick => self.tick(),
            Input::PodsListed(pods) => self.view.list_pods(at, pods),
            Input::PodChanged(facts) => self.view.put_pod(at, *facts, false),
            Input::PodGone { pod, uid } => self.view.remove_pod(&pod, &uid),
            Input::NodesListed(nodes) => self.view.list_nodes(at, nodes),
            Input::NodeChanged(node) => self.view.put_node(at, node),
            Input::NodeGone(node) => self.view.remove_node(&node),
            Input::NamespacesListed(namespaces) => self.view.list_namespaces(namespaces),
            Input::NamespaceChanged(facts) => self.view.put_namespace(facts),
            Input::NamespaceGone(name) => self.view.set_namespace(&name, None),
            Input::Reported(report) => self.take_report(&report),
            Input::Outcome(outcome) => self.settle(now, outcome, actions),
            Input::Paused(paused) => self.paused = paused,
            Input::Leading(epoch) => self.epoch = epoch,
        }
    }

    fn take_report(&mut self, report: &Report) {
        if let Err(refusal) = self.view.admit(self.now, report) {
            let (node, refusal) = (report.node.clone(), refusal.to_string());
            self.notes.push(Note::ReportRefused { node, refusal });
            return;
        }
        let first = self.view.nodes.get(&report.node).is_some_and(|node| node.heard.is_none());
        let intake = self.view.take_report(self.now, report, &self.settings);
        for pod in &intake.changed {
            self.breaker.count(self.now, pod);
        }
        self.note_heard(report, first);
        self.note_refused(report, intake.refused);
    }

    /// A node is heard, for the first time or again.
    fn note_heard(&mut self, report: &Report, first: bool) {
        let Some(node) = self.view.nodes.get_mut(&report.node) else {
            return;
        };
        let state = std::mem::replace(&mut node.state, NodeState::Reporting);
        self.silent = self.silent.saturating_sub(usize::from(state == NodeState::Silent));
        let name = report.node.clone();
        if first {
            self.notes.push(Note::NodeHeard { node: name, pods: report.pods.len() });
        } else if state != NodeState::Reporting {
            self.notes.push(Note::NodeBack { node: name });
        }
    }

    /// A report named pods that were not taken in. A partial report names few pods, so that its counts say nothing new.
    fn note_refused(&mut self, report: &Report, refused: Vec<Refused>) {
        let name = &report.node;
        let Some(node) = self.view.nodes.get_mut(name) else {
            return;
        };
        node.refused = refused;
        if report.full {
            for (reason, count) in node.newly_refused() {
                self.notes.push(Note::Refused { node: name.clone(), reason, count });
            }
        }
        if node.refused_for(RefusedReason::ForeignPod) > 0 && node.blame(self.now, &self.settings) {
            self.notes.push(Note::Quarantined { node: name.clone() });
        }
    }

    fn tick(&mut self) {
        self.forget_unanswered();
        let (now, settings) = (self.now, &self.settings);
        let mut due = Vec::new();
        for (name, node) in &mut self.view.nodes {
            let state = node.state_at(now, settings);
            if state > node.state && node.listed {
                self.notes.push(match state {
                    NodeState::Silent => Note::NodeSilent { node: name.clone() },
                    _ => Note::NodeLate { node: name.clone() },
                });
            }
            let fell_silent = state == NodeState::Silent && node.state != state;
            node.state = state;
            if fell_silent || node.sweep_at <= now {
                due.push((name.clone(), state == NodeState::Silent));
            }
        }
        for (node, silent) in due {
            self.view.sweep(now, &node, silent, &self.settings);
        }
        self.count_silent();
    }

    /// Once one node is silent, those that soon will be are counted with it.
    fn count_silent(&mut self) {
        let soon = self.now + self.settings.breaker.foresight;
        let counted = || self.view.nodes.values().filter(|node| node.listed && node.at_stake);
        let silent = |at| counted().filter(|n| n.state_at(at, &self.settings) == NodeState::Silent).count();
        self.silent = if silent(self.now) > 0 { silent(soon) } else { 0 };
    }

    /// Looks at every pod about which something changed, and at no other.
    fn decide(&mut self) {
        while let Some(name) = self.view.dirty.pop_first() {
            match self.verdict(&name) {
                Verdict::Rest => {
                    self.agenda.leave(&name);
                    self.agenda.wake(&name, None);
                }
                Verdict::Wait(at) => {
                    self.agenda.leave(&name);
                    self.agenda.wake(&name, Some(at));
                }
                Verdict::Write { reason, .. } => self.agenda.queue(self.now, &name, reason),
            }
        }
    }

    fn verdict(&mut self, name: &PodName) -> Verdict {
        let Some(pod) = self.view.pods.get(name) else {
            return Verdict::Rest;
        };
        let place = Place { alone: self.view.left_alone(&pod.facts), unheard: self.view.unheard(&pod.facts) };
        let Some(pod) = self.view.pods.get_mut(name) else {
            return Verdict::Rest;
        };
        pod.pen.withdrawn &= place.alone.is_some();
        judge(pod, place, self.now, &self.settings)
    }

    fn look_for_too_much(&mut self, actions: &mut Vec<Action>) {
        let census = Census { nodes: self.view.listed_nodes, silent: self.silent, pods: self.view.living };
        match self.breaker.look(self.now, census) {
            Some(Flip::Opened(why)) => {
                self.tell_closed = false;
                self.notes.push(Note::BreakerOpened { why });
            }
            Some(Flip::Closed) => {
                self.tell_closed = std::mem::take(&mut self.told_open);
                self.notes.push(Note::BreakerClosed);
            }
            None => {}
        }
        self.tell_breaker(actions);
    }

    /// Tells people, once for each opening, and of the closing only if they were told of the opening. Only the leader speaks.
    fn tell_breaker(&mut self, actions: &mut Vec<Action>) {
        if self.epoch.is_none() || !self.view.synced() {
            return;
        }
        let tell = |reason: &str, note: String, warning| {
            Action::Announce(Announcement { about: None, reason: reason.into(), note, warning })
        };
        if let Some(why) = self.breaker.open().filter(|_| !self.told_open) {
            let note = format!("Writing nothing: {why}. Goes on after 2 quiet minutes.");
            actions.push(tell("BreakerOpened", note, true));
            self.told_open = true;
        }
        if std::mem::take(&mut self.tell_closed) {
            actions.push(tell("BreakerClosed", "Quiet again: writing goes on.".into(), false));
        }
    }

    fn note_withheld(&mut self) {
        let why = self.withheld();
        if why != self.last_withheld {
            self.last_withheld = why;
            self.notes.push(Note::Withheld { why });
        }
    }
}
