//! Which pods wait: for their turn to be written to, or for a time. A pod waits at most once for each; what is written
//! is decided when its turn comes, so the newest always wins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::PodName;

use crate::action::Reason;

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    turns: BTreeSet<(u8, Duration, PodName)>,
    turn_of: BTreeMap<PodName, (u8, Duration)>,
    wakes: BTreeSet<(Duration, PodName)>,
    wake_of: BTreeMap<PodName, Duration>,
}

impl Agenda {
    /// How many wait for their turn.
    pub(crate) fn pending(&self) -> usize {
        self.turns.len()
    }

    /// A pod is to be written to. It keeps its place unless its order changed.
    pub(crate) fn queue(&mut self, now: Duration, pod: &PodName, reason: Reason) {
        let rank = rank(reason);
        if self.turn_of.get(pod).is_some_and(|(had, _)| *had == rank) {
            return;
        }
        self.leave(pod);
        self.turn_of.insert(pod.clone(), (rank, now));
        self.turns.insert((rank, now, pod.clone()));
    }

    /// A pod is not to be written to now.
    pub(crate) fn leave(&mut self, pod: &PodName) {
        if let Some((rank, since)) = self.turn_of.remove(pod) {
            self.turns.remove(&(rank, since, pod.clone()));
        }
    }

    /// The pod whose turn it is.
    pub(crate) fn next(&self) -> Option<PodName> {
        self.turns.first().map(|(_, _, pod)| pod.clone())
    }

    /// A pod is to be looked at then, or not because of time.
    pub(crate) fn wake(&mut self, pod: &PodName, at: Option<Duration>) {
        if self.wake_of.get(pod).copied() == at {
            return;
        }
        if let Some(before) = self.wake_of.remove(pod) {
            self.wakes.remove(&(before, pod.clone()));
        }
        if let Some(at) = at {
            self.wake_of.insert(pod.clone(), at);
            self.wakes.insert((at, pod.clone()));
        }
    }

    /// The pods whose time has come.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<PodName> {
        let mut due = Vec::new();
        while let Some((at, pod)) = self.wakes.first().filter(|(at, _)| *at <= now).cloned() {
            self.wakes.remove(&(at, pod.clone()));
            self.wake_of.remove(&pod);
            due.push(pod);
        }
        due
    }
}

/// Transitions, then silence, then first labels, then what is taken off.
fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::Transition => 0,
        Reason::Silence => 1,
        Reason::First => 2,
        Reason::Withdrawn => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_come_first_and_within_an_order_the_one_that_waited_longest() {
        let mut agenda = Agenda::default();
        let pod = |name| PodName::new("shop", name);
        for (at, name, reason) in [
            (1, "withdrawn", Reason::Withdrawn),
            (2, "first", Reason::First),
            (3, "silence", Reason::Silence),
            (4, "b", Reason::Transition),
            (5, "a", Reason::Transition),
            (6, "b", Reason::Transition),
        ] {
            agenda.queue(Duration::from_secs(at), &pod(name), reason);
        }
        let order = std::iter::from_fn(|| {
            let next = agenda.next()?;
            agenda.leave(&next);
            Some(next.name.to_string())
        });
        assert_eq!(order.collect::<Vec<_>>(), ["b", "a", "silence", "first", "withdrawn"]);
    }
}
