//! Writes: whose turn it is, what exactly is written, and what an outcome means. The content is computed when a write is sent;
//! each pod has at most one write in flight.

use std::time::Duration;

use plimsoll_contract::status::{Decision, KeyConflict};
use plimsoll_contract::{Moment, PodName, keys};

use super::resizing::{Next, UnsentWrite, described};
use super::{Core, Note};
use crate::action::{Action, Change, KubeEvent, Reason, Subject, Write};
use crate::input::{Now, Outcome, WriteResult};
use crate::labels::PodLabels;
use crate::plan::evidence;
use crate::plan::labels::{is_outdated, kept_on_withdrawal, keys_for, record_on};
use crate::plan::queue::Order;
use crate::resize::Step;
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
        while self.budget.allows(self.now, self.state.listed_nodes, self.in_flight.len()) {
            let Some(name) = self.next() else { return };
            let next = self.plan(now, &name);
            // Only what is sent counts as one of many decreases.
            if next.order(false).is_none() || !self.admit(&name, next) {
                let next = self.plan(now, &name);
                self.queue_plan(&name, next);
                continue;
            }
            self.budget.spend(self.now, self.state.listed_nodes, self.in_flight.len());
            self.queue.sent(&name);
            self.queue.plan_at(&name, None);
            actions.extend(self.send(now, &name, next, epoch).map(Action::Write));
        }
    }

    /// The pod whose turn it is. Writes that hang hold up only their own kind: one namespace leaves one of the writes in flight to the
    /// others, and the slow namespaces together leave half. Where pods are resized, all others leave one more to growth, and, but for their
    /// share, the last of what the budget has. What growth itself holds in flight does not count as theirs: it may never end.
    fn next(&mut self) -> Option<PodName> {
        let most = self.settings.budget.in_flight;
        let resizes = self.resizes() && most > 1;
        let is_scarce = resizes && self.budget.is_scarce(self.now, self.state.listed_nodes);
        let may_probe = self.budget.allows_probe(self.now);
        let in_flight = || self.in_flight.values().map(|in_flight| &in_flight.write);
        let others = || in_flight().filter(|write| !is_urgent(write));
        let slow = in_flight().filter(|write| self.queue.is_slow(&write.pod.namespace)).count();
        let (most_of_one, most_slow) = (most.saturating_sub(1).max(1), (most / 2).max(1));
        let is_of = |namespace: &str, write: &&Write| &*write.pod.namespace == namespace;
        self.queue.next(slow < most_slow, is_scarce, |order, namespace| {
            let leaves_growth = || {
                others().count() + 1 < most
                    && others().filter(|write| is_of(namespace, write)).count() < (most_of_one - 1).max(1)
            };
            in_flight().filter(|write| is_of(namespace, write)).count() >= most_of_one
                || (order == Order::Probe && !may_probe)
                || (resizes && !order.is_urgent() && !leaves_growth())
        })
    }

    fn send(&mut self, now: Now, name: &PodName, next: Next, epoch: u64) -> Option<Write> {
        let unsent = match next {
            Next::Idle | Next::Wait(_) => return None,
            Next::Resize(_) => self.unsent_resize(now, name)?,
            Next::Probe => self.unsent_probe(name)?,
            Next::Labels { .. } | Next::Record(..) => self.unsent_labels(now, name, next, epoch)?,
        };
        let UnsentWrite { reason, from, to, change } = unsent;
        let facts = &self.state.pods.get(name)?.facts;
        self.last_write += 1;
        let write = Write {
            id: self.last_write,
            pod: name.clone(),
            uid: facts.uid.clone(),
            node: facts.node.clone(),
            epoch,
            reason,
            from,
            to,
            change,
        };
        let decision = self.decisions.add(decision_of(&write, now));
        self.in_flight.insert(write.id, InFlightWrite { write: write.clone(), sent: self.now, decision });
        Some(write)
    }

    /// A write of the complete set of our keys; it is on its way.
    fn unsent_labels(&mut self, now: Now, name: &PodName, next: Next, epoch: u64) -> Option<UnsentWrite> {
        let output = self.settings.output;
        let pod = self.state.pods.get_mut(name)?;
        let keys = |labels: &PodLabels, pod: &Pod, record| {
            keys_for(labels, pod, &evidence::describe(pod, labels, output, now.wall), record, epoch, output)
        };
        let unsent = match next {
            Next::Labels { reason, from, to } => {
                let change = match reason {
                    Reason::Withdrawn => {
                        Change::Labels { labels: Default::default(), annotations: kept_on_withdrawal(pod) }
                    }
                    _ => keys(&to, pod, record_on(pod)),
                };
                let (from, to) = PodLabels::describe(&from, &to);
                UnsentWrite { reason, from, to, change }
            }
            Next::Record(purpose, labels) => {
                let Step::Record(record) = pod.resize.next(now, &pod.facts) else { return None };
                let (from, to) = described(&pod.facts, pod.resize.asked()?);
                let change = keys(&labels, pod, record.annotations);
                UnsentWrite { reason: purpose.into(), from, to, change }
            }
            Next::Idle | Next::Wait(_) | Next::Resize(_) | Next::Probe => return None,
        };
        if unsent.reason.is_of_resize() {
            pod.resize.sent(now, &pod.facts);
        }
        pod.writes.state.sent();
        self.refused.try_one(self.now, &pod.facts);
        if unsent.reason == Reason::Repair {
            self.undone.try_one(self.now, &pod.facts);
        }
        if pod.writes.writes_given_back(&unsent.change) {
            self.taken.try_one(self.now, &pod.facts);
        }
        Some(unsent)
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
        if let WriteResult::Throttled(wait) = &result {
            self.budget.throttle(self.now, *wait);
        }
        match write.change {
            Change::Labels { .. } => self.complete_record(&write, &result),
            Change::Resize(_) => return self.complete_resize(&write, &result),
            Change::Probe(_) => return self.complete_probe(&write, &result),
        }
        match result {
            WriteResult::Written(_) => self.written(&write),
            WriteResult::Conflict(conflicts) => self.conflict(now, &write, conflicts, actions),
            // Mostly its deletion is about to be seen; otherwise it is tried again behind all others.
            WriteResult::Gone => self.back_off(&write, longest, true),
            WriteResult::Throttled(_) => self.back_off(&write, short, false),
            // Not sent, or there was no connection: that says nothing of the owner.
            WriteResult::Failed(0, _) => self.failed(&write, false),
            WriteResult::Refused(..) | WriteResult::Failed(..) | WriteResult::NoAnswer => {
                self.failed(&write, true);
            }
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
                let write = in_flight.write;
                match write.change {
                    Change::Labels { .. } => {
                        self.complete_record(&write, &WriteResult::NoAnswer);
                        self.failed(&write, true);
                    }
                    Change::Resize(_) => self.complete_resize(&write, &WriteResult::NoAnswer),
                    Change::Probe(_) => self.complete_probe(&write, &WriteResult::NoAnswer),
                }
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
        let Change::Labels { labels, annotations } = &write.change else { return };
        let labels = PodLabels::among(labels, annotations, self.settings.output);
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
        // The next attempt is an answer for all pods of the owner.
        if writes.writes_given_back(&write.change) && self.taken.of(facts).is_some() {
            self.taken.record(now, facts);
        }
        writes.regain(&write.change);
        let shown = PodLabels::of(facts, self.settings.output).without(&writes.conflicts);
        let until = now + self.settings.confirm_within;
        writes.state.written((shown != labels).then_some(Confirmation { labels, until }));
        writes.failures = 0;
        writes.outdated = false;
        writes.withdrawn = write.reason == Reason::Withdrawn;
        // The record of a resize on a pod without bands says nothing of its labels.
        if labels.any() || !write.reason.is_of_resize() {
            writes.last = (!writes.withdrawn).then_some((labels, now));
        }
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
            pod.writes.take(key, owned);
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
        if is_new {
            self.taken_again(write);
        } else {
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

    /// Keys were found taken. If that was so shortly before, it may say something of the other pods of the owner.
    fn taken_again(&mut self, write: &Write) {
        let Some(pod) = self.state.pods.get_mut(&write.pod) else { return };
        if pod.writes.count_taken(self.now, &self.settings) || self.taken.of(&pod.facts).is_some() {
            self.taken.record(self.now, &pod.facts);
        }
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
    pub(super) fn pod_of(&mut self, write: &Write) -> Option<&mut Pod> {
        let pod = self.state.pods.get_mut(&write.pod).filter(|pod| pod.facts.uid == write.uid)?;
        self.state.dirty.insert(write.pod.clone());
        Some(pod)
    }
}

/// Whether a write in flight is of growth, or the second half of a resize.
fn is_urgent(write: &Write) -> bool {
    matches!(write.change, Change::Resize(_)) || Order::of(write.reason, false).is_urgent()
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
        action: write.action().into(),
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
