//! Which pods wait: for their turn to be written to, or for a time. A pod waits at most once for each. What is written is planned
//! when its turn comes, so the newest plan always wins.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::{Moment, PodName};

use crate::action::Reason;

/// The pods that wait.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    by_order: BTreeSet<(Reason, Moment, PodName)>,
    order_of: BTreeMap<PodName, (Reason, Moment)>,
    by_time: BTreeSet<(Moment, PodName)>,
    time_of: BTreeMap<PodName, Moment>,
}

impl WriteQueue {
    /// How many pods wait for their turn.
    pub(crate) fn len(&self) -> usize {
        self.by_order.len()
    }

    /// Queues a pod to be written to. It keeps its place unless the reason changed.
    pub(crate) fn push(&mut self, now: Moment, pod: &PodName, reason: Reason) {
        if self.order_of.get(pod).is_some_and(|(before, _)| *before == reason) {
            return;
        }
        self.remove(pod);
        self.order_of.insert(pod.clone(), (reason, now));
        self.by_order.insert((reason, now, pod.clone()));
    }

    /// Removes a pod that is not to be written to now.
    pub(crate) fn remove(&mut self, pod: &PodName) {
        if let Some((reason, since)) = self.order_of.remove(pod) {
            self.by_order.remove(&(reason, since, pod.clone()));
        }
    }

    /// The pod whose turn it is.
    pub(crate) fn first(&self) -> Option<PodName> {
        self.by_order.first().map(|(_, _, pod)| pod.clone())
    }

    /// Sets when a pod is to be planned for again because of time; `None`: not because of time.
    pub(crate) fn plan_at(&mut self, pod: &PodName, at: Option<Moment>) {
        if self.time_of.get(pod).copied() == at {
            return;
        }
        if let Some(before) = self.time_of.remove(pod) {
            self.by_time.remove(&(before, pod.clone()));
        }
        if let Some(at) = at {
            self.time_of.insert(pod.clone(), at);
            self.by_time.insert((at, pod.clone()));
        }
    }

    /// Removes and returns the pods whose time has come.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<PodName> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, pod)) = self.by_time.pop_first() {
                self.time_of.remove(&pod);
                due.push(pod);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn transitions_come_first_and_within_an_order_the_pod_that_waited_longest() {
        let mut queue = WriteQueue::default();
        for (at, name, reason) in [
            (1, "withdrawn", Reason::Withdrawn),
            (2, "first", Reason::First),
            (3, "silence", Reason::Silence),
            (4, "b", Reason::Transition),
            (5, "a", Reason::Transition),
            (6, "b", Reason::Transition),
        ] {
            queue.push(Moment(Duration::from_secs(at)), &PodName::new("shop", name), reason);
        }
        let order = std::iter::from_fn(|| {
            let first = queue.first()?;
            queue.remove(&first);
            Some(first.name.to_string())
        });
        assert_eq!(order.collect::<Vec<_>>(), ["b", "a", "silence", "first", "withdrawn"]);
    }
}
