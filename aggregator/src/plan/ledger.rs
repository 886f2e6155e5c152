//! What was decided and what became of it: the newest thousand, for people.
//!
//! Each decision has a number, and a revision that rises when its outcome comes: who follows asks for what is newer than
//! the last revision they saw. The last decision on a pod is found without looking at the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use plimsoll_contract::PodName;
use plimsoll_contract::status::Decision;

/// How many decisions are kept.
pub(crate) const KEPT: usize = 1000;

/// The decisions.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    /// The newest revision.
    revision: u64,
    /// Numbers by the revision of their entry.
    changes: BTreeMap<u64, u64>,
    /// The newest number of each pod that is named by an entry.
    last: BTreeMap<PodName, u64>,
}

#[derive(Debug)]
struct Entry {
    decision: Decision,
    revision: u64,
}

impl Ledger {
    /// Writes a decision down; the number names it.
    pub(crate) fn enter(&mut self, decision: Decision) -> u64 {
        if self.entries.len() == KEPT {
            self.forget_oldest();
        }
        let number = self.first + self.entries.len() as u64;
        self.revision += 1;
        self.changes.insert(self.revision, number);
        self.last.insert(pod(&decision), number);
        self.entries.push_back(Entry { decision, revision: self.revision });
        number
    }

    /// Writes down what became of one; the whole, unless it is no longer kept.
    pub(crate) fn settle(&mut self, number: u64, outcome: &str, took: Option<Duration>) -> Option<Decision> {
        let entry = self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        entry.decision.outcome = outcome.into();
        entry.decision.took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.changes.remove(&entry.revision);
        self.revision += 1;
        entry.revision = self.revision;
        self.changes.insert(self.revision, number);
        Some(entry.decision.clone())
    }

    /// All, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Decision> {
        self.entries.iter().rev().map(|entry| &entry.decision)
    }

    /// The revision now, and the decisions that are new or got their outcome since `revision`, in that order.
    pub(crate) fn since(&self, revision: u64) -> (u64, Vec<Decision>) {
        let changed = self.changes.range(revision.saturating_add(1)..);
        let decisions = changed.filter_map(|(_, number)| self.get(*number).cloned());
        (self.revision, decisions.collect())
    }

    /// The last decision on a pod.
    pub(crate) fn last_on(&self, pod: &PodName) -> Option<&Decision> {
        self.get(*self.last.get(pod)?)
    }

    fn get(&self, number: u64) -> Option<&Decision> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index).map(|entry| &entry.decision)
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.changes.remove(&oldest.revision);
        let pod = pod(&oldest.decision);
        if self.last.get(&pod) == Some(&self.first) {
            self.last.remove(&pod);
        }
        self.first += 1;
    }
}

fn pod(decision: &Decision) -> PodName {
    PodName::new(&decision.namespace, &decision.pod)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn decision(pod: &str, to: usize) -> Decision {
        Decision {
            at: Timestamp::UNIX_EPOCH,
            action: "label".into(),
            namespace: "shop".into(),
            pod: pod.into(),
            node: None,
            from: String::new(),
            to: to.to_string(),
            reason: "first".into(),
            outcome: "sent".into(),
            took_ms: None,
        }
    }

    #[test]
    fn who_follows_is_told_a_decision_when_it_is_made_and_when_its_outcome_comes_and_never_twice() {
        let mut ledger = Ledger::default();
        let web = ledger.enter(decision("web", 1));
        let (seen, told) = ledger.since(0);
        assert_eq!(told, [decision("web", 1)]);
        ledger.enter(decision("batch", 2));
        ledger.settle(web, "written", Some(Duration::from_millis(3)));
        let (seen, told) = ledger.since(seen);
        let words: Vec<_> = told.iter().map(|d| (d.pod.as_str(), d.outcome.as_str())).collect();
        assert_eq!(words, [("batch", "sent"), ("web", "written")]);
        assert_eq!(ledger.since(seen), (seen, Vec::new()));
        assert_eq!(ledger.since(u64::MAX).1, []);
    }

    #[test]
    fn the_last_decision_on_a_pod_is_found_until_it_is_one_of_too_many() {
        let mut ledger = Ledger::default();
        ledger.enter(decision("web", 1));
        ledger.enter(decision("web", 2));
        let web = PodName::new("shop", "web");
        assert_eq!(ledger.last_on(&web).unwrap().to, "2");
        for n in 0..KEPT - 1 {
            ledger.enter(decision("batch", n));
        }
        assert_eq!(ledger.last_on(&web).unwrap().to, "2");
        let newest = ledger.enter(decision("batch", KEPT));
        assert_eq!(ledger.last_on(&web), None);
        assert_eq!((ledger.entries.len(), ledger.changes.len(), ledger.last.len()), (KEPT, KEPT, 1));
        assert!(ledger.settle(0, "written", None).is_none(), "no longer kept");
        assert_eq!(ledger.settle(newest, "written", None).unwrap().to, KEPT.to_string());
    }
}
