//! The decision log: the last thousand decisions and their outcomes, for people. Pure.
//!
//! Each decision has a number. The revision rises when a decision is added and when its outcome arrives, so that clients that poll
//! can be told that nothing changed. The last decision on a pod is found without looking at the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::PodName;
use plimsoll_contract::status::Decision;

/// How many decisions are kept.
pub(crate) const KEPT: usize = 1000;

/// The decisions.
#[derive(Debug, Default)]
pub(crate) struct DecisionLog {
    /// Shared, so that a copy of the log is made in no time.
    entries: VecDeque<Arc<Decision>>,
    /// Number of the first entry.
    first: u64,
    revision: u64,
    /// The newest number of each pod that has an entry.
    last: BTreeMap<PodName, u64>,
}

impl DecisionLog {
    /// Adds a decision; returns its number.
    pub(crate) fn add(&mut self, decision: Decision) -> u64 {
        if self.entries.len() == KEPT {
            self.drop_oldest();
        }
        let number = self.first + self.entries.len() as u64;
        self.revision += 1;
        self.last.insert(pod(&decision), number);
        self.entries.push_back(Arc::new(decision));
        number
    }

    /// Records the outcome of a decision and returns it, unless it is no longer kept.
    pub(crate) fn complete(
        &mut self,
        number: u64,
        outcome: &str,
        took: Option<Duration>,
    ) -> Option<Decision> {
        let entry = self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        let entry = Arc::make_mut(entry);
        entry.outcome = outcome.into();
        entry.took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.revision += 1;
        Some(entry.clone())
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Decision>> {
        self.entries.iter().rev()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn last_on(&self, pod: &PodName) -> Option<&Decision> {
        let number = self.last.get(pod)?;
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?).map(Arc::as_ref)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        let pod = pod(&oldest);
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
    fn the_revision_rises_with_each_decision_and_each_outcome() {
        let mut log = DecisionLog::default();
        let web = log.add(decision("web", 1));
        assert_eq!(log.revision(), 1);
        assert_eq!(log.complete(web, "written", Some(Duration::from_millis(3))).unwrap().took_ms, Some(3));
        assert_eq!(log.revision(), 2);
    }

    #[test]
    fn the_last_decision_on_a_pod_is_found_until_it_is_dropped() {
        let mut log = DecisionLog::default();
        log.add(decision("web", 1));
        log.add(decision("web", 2));
        let web = PodName::new("shop", "web");
        assert_eq!(log.last_on(&web).unwrap().to, "2");
        for n in 0..KEPT - 1 {
            log.add(decision("batch", n));
        }
        assert_eq!(log.last_on(&web).unwrap().to, "2");
        let newest = log.add(decision("batch", KEPT));
        assert_eq!(log.last_on(&web), None);
        assert_eq!((log.entries.len(), log.last.len()), (KEPT, 1));
        assert!(log.complete(0, "written", None).is_none(), "no longer kept");
        assert_eq!(log.complete(newest, "written", None).unwrap().to, KEPT.to_string());
    }
}
