//! Writes: whose turn it is, what exactly is written, and what an outcome means. The content is computed when a write is sent;
//! each pod has at most one write in flight.

use std::time::Duration;

use plimsoll_contract::status::{Decision, KeyConflict};
use plimsoll_contract::{Moment, PodName, keys};

use super::{Core, Note};
use crate::action::{Action, Change, KubeEvent, Reason, Subject, Write};
use crate::input::{Now, Outcome, WriteResult};
use crate::labels::PodLabels;
use crate::plan::evidence;
use crate::plan::labels::{LabelPlan, is_outdated, keys_for};
use crate::settings::Output;
use crate::state::Pod;
use crate::writes::{Confirmation, Owned};

/// A write without an outcome.
#[derive(Debug)]
pub(super) struct InFlightWrite {
    write: Write,
    sent: Moment,
    /// Number of its decision.
    decision: u64,
}

impl Core {
    /// Sends the writes that may be sent now.
    pub(super) fn dispatch(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(epoch) = self.gate.epoch_to_write(self.state.synced()) else { return };
        while let Some(name) = self.queue.first() {
            let LabelPlan::Write { reason, from, to } = self.plan(&name) else {
                self.queue.remove(&name);
                self.state.dirty.insert(name);
                self.plan_dirty();
                continue;
            };
            if !self.budget.spend(self.now, self.state.listed_nodes, self.in_flight.len()) {
                return;
            }
            self.queue.remove(&name);
            self.queue.plan_at(&name, None);
            actions.extend(self.send(now, &name, reason, (from, to), epoch).map(Action::Write));
        }
    }

    fn send(
        &mut self,
        now: Now,
        name: &PodName,
        reason: Reason,
        (from, to): (PodLabels, PodLabels),
        epoch: u64,
    ) -> Option<Write> {
        let output = self.settings.output;
        let pod = self.state.pods.get_mut(name)?;
        let change = match reason {
            Reason::Withdrawn => {
                Change::Labels { labels: Default::default(), annotations: Default::default() }
            }
            _ => keys_for(&to, pod, &evidence::describe(pod, &to, output, now.wall), epoch, output),
        };
        pod.writes.state.sent();
        self.last_write += 1;
        let (from, described) = PodLabels::describe(&from, &to);
        let write = Write {
            id: self.last_write,
            pod: name.clone(),
            uid: pod.facts.uid.clone(),
            node: pod.facts.node.clone(),
            epoch,
            reason,
            from,
            to: described,
            change,
        };
        let decision = self.decisions.add(decision_of(&write, now));
        self.in_flight.insert(write.id, InFlightWrite { write: write.clone(), sent: self.now, decision });
        Some(write)
    }

    /// Applies the outcome of a write.
    pub(super) fn complete(&mut self, now: Now, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(in_flight) = self.in_flight.remove(&outcome.write) else { return };
        let result = outcome.result;
        self.log_outcome(&in_flight, &result, Some(outcome.took));
        let write = in_flight.write;
        let budget = &self.settings.budget;
        let (short, longest) = (budget.back_off / 2, budget.back_off_most);
        match result {
            WriteResult::Written => self.written(&write),
            WriteResult::Conflict(conflicts) => self.conflict(now, &write, conflicts, actions),
            WriteResult::Gone => self.back_off(&write, longest),
            WriteResult::Throttled(wait) => {
                self.budget.throttle(self.now, wait);
                self.back_off(&write, short);
            }
            WriteResult::Failed(..) | WriteResult::NoAnswer => self.failed(&write),
        }
    }

    /// Gives up writes without an outcome; their pods are planned for again.
    pub(super) fn expire_in_flight(&mut self) {
        let limit = self.settings.outcome_within;
        let overdue = self.in_flight.iter().filter(|(_, write)| write.sent + limit <= self.now);
        let overdue: Vec<u64> = overdue.map(|(id, _)| *id).collect();
        for id in overdue {
            if let Some(in_flight) = self.in_flight.remove(&id) {
                self.log_outcome(&in_flight, &WriteResult::NoAnswer, None);
                self.failed(&in_flight.write);
            }
        }
    }

    fn log_outcome(&mut self, in_flight: &InFlightWrite, result: &WriteResult, took: Option<Duration>) {
        if let Some(decision) = self.decisions.complete(in_flight.decision, result.as_str(), took) {
            self.notes.push(Note::Decided { decision: Box::new(decision), problem: result.problem() });
        }
    }

    fn written(&mut self, write: &Write) {
        let (now, output) = (self.now, self.settings.output);
        let until = now + self.settings.confirm_within;
        let labels = PodLabels::in_change(&write.change, output);
        let Some(pod) = self.pod_of(write) else { return };
        let writes = &mut pod.writes;
        let shown = PodLabels::of(&pod.facts, output).without(&writes.conflicts);
        writes.state.written((shown != labels).then_some(Confirmation { labels, until }));
        writes.failures = 0;
        writes.outdated = false;
        writes.withdrawn = write.reason == Reason::Withdrawn;
        writes.last = (!writes.withdrawn).then_some((labels, now));
    }

    /// Leaves keys to their owners. Keys that were not asked for cannot be in conflict: such a response is a failure.
    fn conflict(&mut self, now: Now, write: &Write, conflicts: Vec<KeyConflict>, actions: &mut Vec<Action>) {
        let output = self.settings.output;
        let is_speaker = self.gate.may_announce(self.state.synced());
        let Some(pod) = self.pod_of(write) else { return };
        let is_new = conflicts.iter().any(|conflict| !pod.writes.conflicts.contains_key(&conflict.key));
        for KeyConflict { key, manager } in &conflicts {
            let owned = Owned { manager: manager.clone(), shown: pod.facts.carries(key) };
            pod.writes.conflicts.insert(key.clone(), owned);
        }
        pod.writes.outdated |= is_new && is_outdated(pod);
        pod.writes.state.released();
        let publish =
            is_speaker && !conflicts.is_empty() && pod.writes.published_conflicts.insert(conflicts.clone());
        if !is_new {
            self.failed(write);
        }
        if !publish {
            return;
        }
        let owned = conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let cure = cure(&write.pod, &conflicts, output);
        let note = format!(
            "Another field manager owns {owned}: Plimsoll does not change it. To give it back, {cure}"
        );
        self.notes.push(Note::Conflict { pod: write.pod.clone(), conflicts, cure });
        self.decisions.add(Decision {
            action: "announce".into(),
            from: String::new(),
            to: note.clone(),
            reason: "label_conflict".into(),
            ..decision_of(write, now)
        });
        let about = Subject::Pod { pod: write.pod.clone(), uid: write.uid.clone() };
        actions.push(Action::Publish(KubeEvent::warning(about, "LabelConflict", note)));
    }

    fn failed(&mut self, write: &Write) {
        let Some(pod) = self.pod_of(write) else { return };
        pod.writes.failures += 1;
        let failures = pod.writes.failures;
        self.back_off(write, self.budget.back_off(failures));
    }

    fn back_off(&mut self, write: &Write, wait: Duration) {
        let until = self.now + wait;
        if let Some(pod) = self.pod_of(write) {
            pod.writes.state.backs_off(until);
        }
    }

    /// The pod that a write was for, unless it is gone or another; it is planned for again.
    fn pod_of(&mut self, write: &Write) -> Option<&mut Pod> {
        let pod = self.state.pods.get_mut(&write.pod).filter(|pod| pod.facts.uid == write.uid)?;
        self.state.dirty.insert(write.pod.clone());
        Some(pod)
    }
}

/// What gives keys back to us: once a key is gone from the pod, it is written again.
fn cure(pod: &PodName, conflicts: &[KeyConflict], output: Output) -> String {
    let is_label = |key: &str| output != Output::Annotations && keys::WRITTEN_LABELS.contains(&key);
    let command = |verb: &str, labels: bool| {
        let keys = conflicts.iter().filter(|conflict| is_label(&conflict.key) == labels);
        let removed: Vec<_> = keys.map(|conflict| format!("{}-", conflict.key)).collect();
        let PodName { namespace, name } = pod;
        (!removed.is_empty())
            .then(|| format!("kubectl {verb} pod {name} -n {namespace} {}", removed.join(" ")))
    };
    let commands: Vec<_> =
        [command("label", true), command("annotate", false)].into_iter().flatten().collect();
    format!("remove it there, or run: {}", commands.join(" && "))
}

/// The decision to send a write, for the decision log.
fn decision_of(write: &Write, now: Now) -> Decision {
    Decision {
        at: now.wall,
        action: write.change.action().into(),
        namespace: write.pod.namespace.as_ref().into(),
        pod: write.pod.name.as_ref().into(),
        node: write.node.clone(),
        from: write.from.clone(),
        to: write.to.clone(),
        reason: write.reason.as_str().into(),
        outcome: "sent".into(),
        took_ms: None,
    }
}
