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
use crate::writes::{Confirmation, Owned, doubled};

/// Events about conflicts on one pod, each with other keys or managers: whoever changes them again and again causes no more.
const MAX_PUBLISHED_CONFLICTS: usize = 8;

/// A write without an outcome.
#[derive(Debug)]
pub(super) struct InFlightWrite {
    write: Write,
    sent: Moment,
    /// Number of its decision.
    decision: u64,
}

impl InFlightWrite {
    pub(super) fn is_of(&self, pod: &PodName, uid: &str) -> bool {
        self.write.pod == *pod && self.write.uid == uid
    }
}

impl Core {
    /// Sends the writes that may be sent now.
    pub(super) fn dispatch(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(epoch) = self.gate.epoch_to_write(self.state.synced()) else { return };
        while let Some(name) = self.next() {
            let plan = self.plan(&name);
            let LabelPlan::Write { reason, from, to } = plan else {
                self.queue_plan(&name, plan);
                continue;
            };
            if !self.budget.spend(self.now, self.state.listed_nodes, self.in_flight.len()) {
                return;
            }
            self.queue.sent(&name);
            self.queue.plan_at(&name, None);
            actions.extend(self.send(now, &name, reason, (from, to), epoch).map(Action::Write));
        }
    }

    /// The pod whose turn it is. Writes that hang hold up only their own kind: one namespace leaves one of the writes in flight to the
    /// others, and the slow namespaces together leave half.
    fn next(&self) -> Option<PodName> {
        let namespaces = || self.in_flight.values().map(|in_flight| &*in_flight.write.pod.namespace);
        let count = |namespace: &str| namespaces().filter(|of| *of == namespace).count();
        let slow = namespaces().filter(|namespace| self.queue.is_slow(namespace)).count();
        let most = self.settings.budget.in_flight;
        let (most_of_one, most_slow) = (most.saturating_sub(1).max(1), (most / 2).max(1));
        self.queue.next(slow < most_slow, |namespace| count(namespace) >= most_of_one)
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
        self.refused.try_one(self.now, &pod.facts);
        if reason == Reason::Repair {
            self.undone.try_one(self.now, &pod.facts);
        }
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
        if outcome.took >= budget.slow {
            self.note_slow(&write);
        }
        match result {
            WriteResult::Written => self.written(&write),
            WriteResult::Conflict(conflicts) => self.conflict(now, &write, conflicts, actions),
            // Mostly its deletion is about to be seen; otherwise it is tried again behind all others.
            WriteResult::Gone => self.back_off(&write, longest, true),
            WriteResult::Throttled(wait) => {
                self.budget.throttle(self.now, wait);
                self.back_off(&write, short, false);
            }
            // Not sent, or there was no connection: that says nothing of the owner.
            WriteResult::Failed(0, _) => self.failed(&write, false),
            WriteResult::Failed(..) | WriteResult::NoAnswer => self.failed(&write, true),
        }
    }

    fn note_slow(&mut self, write: &Write) {
        let namespace = &write.pod.namespace;
        if self.queue.set_slow(namespace, self.now + self.settings.budget.slow_for) {
            self.notes.push(Note::SlowNamespace { namespace: namespace.clone(), slow: true });
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
                self.note_slow(&in_flight.write);
                self.failed(&in_flight.write, true);
            }
        }
    }

    fn log_outcome(&mut self, in_flight: &InFlightWrite, result: &WriteResult, took: Option<Duration>) {
        if let Some(decision) = self.decisions.complete(in_flight.decision, result.as_str(), took) {
            self.notes.push(Note::Decided { decision: Box::new(decision), problem: result.problem() });
        }
    }

    fn written(&mut self, write: &Write) {
        let now = self.now;
        let labels = PodLabels::in_change(&write.change, self.settings.output);
        let Some(pod) = self.state.pods.get_mut(&write.pod).filter(|pod| pod.facts.uid == write.uid) else {
            return;
        };
        self.state.dirty.insert(write.pod.clone());
        let (facts, writes) = (&pod.facts, &mut pod.writes);
        if write.reason == Reason::Repair {
            if writes.count_repair(now, &self.settings) || self.undone.of(facts).is_some() {
                self.undone.record(now, facts);
            }
        } else if writes.lasted(facts, now, &self.settings) {
            writes.end_repairs();
        }
        let shown = PodLabels::of(facts, self.settings.output).without(&writes.conflicts);
        let until = now + self.settings.confirm_within;
        writes.state.written((shown != labels).then_some(Confirmation { labels, until }));
        writes.failures = 0;
        writes.outdated = false;
        writes.withdrawn = write.reason == Reason::Withdrawn;
        writes.last = (!writes.withdrawn).then_some((labels, now));
        if self.refused.end(facts) {
            // The others of its owner need not wait any more.
            let pods = self.state.pods_in(&write.pod.namespace);
            self.state.dirty.extend(pods);
        }
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
        let published = &pod.writes.published_conflicts;
        let is_unsaid = !conflicts.is_empty()
            && !published.contains(&conflicts)
            && published.len() < MAX_PUBLISHED_CONFLICTS;
        let publish = is_speaker && is_unsaid && self.announced.on_conflicts.spend(self.now);
        if let Some(pod) = self.pod_of(write).filter(|_| publish) {
            pod.writes.published_conflicts.insert(conflicts.clone());
        }
        if !is_new {
            self.failed(write, true);
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

    /// The write failed, which may say something of the other pods of the owner too.
    fn failed(&mut self, write: &Write, says_of_owner: bool) {
        let (first, most) = (self.settings.budget.back_off, self.settings.budget.back_off_most);
        let Some(pod) = self.pod_of(write) else { return };
        let wait = doubled(first, pod.writes.failures.saturating_add(1), most);
        self.back_off(write, wait, true);
        if let Some(pod) = self.state.pods.get(&write.pod).filter(|_| says_of_owner) {
            self.refused.record(self.now, &pod.facts);
        }
    }

    fn back_off(&mut self, write: &Write, wait: Duration, failed: bool) {
        let until = self.now + wait;
        if let Some(pod) = self.pod_of(write) {
            pod.writes.failures = pod.writes.failures.saturating_add(u32::from(failed));
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
