//! Writing: whose turn it is, what exactly is written, and what became of it. The content is computed when it is sent;
//! one write per pod at a time.

use std::time::Duration;

use plimsoll_contract::PodName;
use plimsoll_contract::status::Decision;

use super::{Core, Note};
use crate::action::{Action, Announcement, LabelWrite, Reason};
use crate::input::{Now, Outcome, WriteResult};
use crate::marks::{Marks, carried};
use crate::plan::evidence;
use crate::plan::label::{self, Company, keys_for};
use crate::plan::verdict::Verdict;
use crate::view::Pod;

/// A write without an answer yet.
#[derive(Debug)]
pub(super) struct Flight {
    pod: PodName,
    uid: String,
    sent: Duration,
    reason: Reason,
    to: Marks,
    decision: u64,
}

impl Core {
    /// Sends what may be sent now.
    pub(super) fn send(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(epoch) = self.epoch.filter(|_| self.withheld().is_none()) else {
            return;
        };
        while let Some(name) = self.agenda.next() {
            let Verdict::Write { reason, from, to } = self.verdict(&name) else {
                self.agenda.leave(&name);
                self.view.dirty.insert(name);
                self.decide();
                continue;
            };
            if !self.budget.take(self.now, self.view.listed_nodes, self.in_flight.len()) {
                return;
            }
            self.agenda.leave(&name);
            self.agenda.wake(&name, None);
            if let Some(write) = self.compose(now, &name, reason, (from, to), epoch) {
                actions.push(Action::Label(write));
            }
        }
    }

    fn compose(
        &mut self,
        now: Now,
        name: &PodName,
        reason: Reason,
        (from, to): (Marks, Marks),
        epoch: u64,
    ) -> Option<LabelWrite> {
        let pod = self.view.pods.get_mut(name)?;
        let (labels, annotations) = match reason {
            Reason::Withdrawn => Default::default(),
            _ => {
                let evidence = evidence::text(pod, &to, now.wall);
                let company = Company { evidence: &evidence, epoch, output: self.settings.output };
                keys_for(&to, pod, company)
            }
        };
        pod.pen.in_flight = true;
        self.last_action += 1;
        let (from_words, to_words) = Marks::words(&from, &to);
        let write = LabelWrite {
            action: self.last_action,
            pod: name.clone(),
            uid: pod.facts.uid.clone(),
            node: pod.facts.node.clone(),
            labels,
            annotations,
            from: from_words,
            to: to_words,
            reason,
        };
        let decision = self.ledger.enter(entry(now, &write));
        let (pod, uid) = (name.clone(), write.uid.clone());
        self.in_flight.insert(write.action, Flight { pod, uid, sent: self.now, reason, to, decision });
        self.view.touch(name);
        Some(write)
    }

    /// What became of a write.
    pub(super) fn settle(&mut self, now: Now, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(flight) = self.in_flight.remove(&outcome.action) else {
            return;
        };
        let problem = outcome.result.problem();
        self.close(&flight, outcome.result.as_str(), problem, Some(outcome.took));
        if let WriteResult::Throttled(wait) = outcome.result {
            self.budget.throttle(self.now, wait);
        }
        self.after(now, &flight, outcome.result, actions);
    }

    /// Writes that nobody answered for are forgotten; the pods are looked at again.
    pub(super) fn forget_unanswered(&mut self) {
        let old = |flight: &Flight| flight.sent + self.settings.forget_after <= self.now;
        let late: Vec<u64> =
            self.in_flight.iter().filter(|(_, f)| old(f)).map(|(action, _)| *action).collect();
        for action in late {
            let Some(flight) = self.in_flight.remove(&action) else {
                continue;
            };
            let lost = WriteResult::NoAnswer;
            self.close(&flight, lost.as_str(), lost.problem(), None);
            self.fail(&flight);
        }
    }

    fn close(&mut self, flight: &Flight, outcome: &str, problem: Option<String>, took: Option<Duration>) {
        if let Some(decision) = self.ledger.settle(flight.decision, outcome, took) {
            self.notes.push(Note::Decided { decision: Box::new(decision), problem });
        }
        self.view.touch(&flight.pod);
    }

    fn after(&mut self, now: Now, flight: &Flight, result: WriteResult, actions: &mut Vec<Action>) {
        match result {
            WriteResult::Written => self.written(flight),
            WriteResult::Conflict(keys) => self.conflict(now, flight, keys, actions),
            WriteResult::Gone => self.rest(flight, self.settings.budget.back_off_most),
            WriteResult::Throttled(_) => self.rest(flight, self.settings.budget.back_off / 2),
            WriteResult::Failed(..) | WriteResult::NoAnswer => self.fail(flight),
        }
    }

    fn written(&mut self, flight: &Flight) {
        let (now, output) = (self.now, self.settings.output);
        let until = now + self.settings.barrier;
        let Some(pod) = self.landed(flight) else { return };
        pod.pen.failures = 0;
        pod.pen.owed = false;
        pod.pen.withdrawn = flight.reason == Reason::Withdrawn;
        pod.pen.wrote = (!pod.pen.withdrawn).then_some((flight.to, now));
        let shown = carried(&pod.facts, output).masked(&pod.pen.conflicts);
        pod.pen.barrier = (shown != flight.to).then_some((flight.to, until));
    }

    /// Leaves keys to their owner. Keys that we did not ask for cannot be in conflict: such an answer is a failure.
    fn conflict(&mut self, now: Now, flight: &Flight, mut keys: Vec<String>, actions: &mut Vec<Action>) {
        let output = self.settings.output;
        keys.sort();
        keys.dedup();
        let Some(pod) = self.landed(flight) else { return };
        let news = keys.iter().any(|key| !pod.pen.conflicts.contains_key(key));
        for key in &keys {
            let shown = pod.facts.labels.contains_key(key) || pod.facts.annotations.contains_key(key);
            pod.pen.conflicts.insert(key.clone(), shown);
        }
        pod.pen.owed |= news && label::stray_basis(pod, output);
        let tell = !keys.is_empty() && pod.pen.told.insert(keys.clone());
        let name = pod.facts.pod.clone();
        if !news {
            self.fail(flight);
        }
        if tell {
            self.notes.push(Note::Conflict { pod: name.clone(), keys: keys.clone() });
            self.tell_conflict(now, flight, &keys, actions);
        }
    }

    fn tell_conflict(&mut self, now: Now, flight: &Flight, keys: &[String], actions: &mut Vec<Action>) {
        let note = format!("Somebody else owns {}: left as it is.", keys.join(", "));
        let decision = Decision {
            at: now.wall,
            action: "announce".into(),
            namespace: flight.pod.namespace.as_ref().into(),
            pod: flight.pod.name.as_ref().into(),
            node: self.view.pods.get(&flight.pod).and_then(|pod| pod.facts.node.clone()),
            from: String::new(),
            to: note.clone(),
            reason: "label_conflict".into(),
            outcome: "sent".into(),
            took_ms: None,
        };
        self.ledger.enter(decision);
        let about = Some((flight.pod.clone(), flight.uid.clone()));
        actions.push(Action::Announce(Announcement {
            about,
            reason: "LabelConflict".into(),
            note,
            warning: true,
        }));
    }

    fn fail(&mut self, flight: &Flight) {
        let Some(pod) = self.landed(flight) else { return };
        pod.pen.failures += 1;
        let wait = self.budget.back_off(self.view.pods.get(&flight.pod).map_or(1, |pod| pod.pen.failures));
        self.rest(flight, wait);
    }

    fn rest(&mut self, flight: &Flight, wait: Duration) {
        let not_before = self.now + wait;
        if let Some(pod) = self.landed(flight) {
            pod.pen.not_before = not_before;
        }
    }

    /// The pod that a write was for, unless it is gone or another; it is looked at again.
    fn landed(&mut self, flight: &Flight) -> Option<&mut Pod> {
        let pod = self.view.pods.get_mut(&flight.pod)?;
        if pod.facts.uid != flight.uid {
            return None;
        }
        pod.pen.in_flight = false;
        self.view.dirty.insert(flight.pod.clone());
        Some(pod)
    }
}

fn entry(now: Now, write: &LabelWrite) -> Decision {
    let reason = match write.reason {
        Reason::Transition => "transition",
        Reason::First => "first",
        Reason::Silence => "silence",
        Reason::Withdrawn => "withdrawn",
    };
    Decision {
        at: now.wall,
        action: "label".into(),
        namespace: write.pod.namespace.as_ref().into(),
        pod: write.pod.name.as_ref().into(),
        node: write.node.clone(),
        from: write.from.clone(),
        to: write.to.clone(),
        reason: reason.into(),
        outcome: "sent".into(),
        took_ms: None,
    }
}
