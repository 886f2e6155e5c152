//! Many decreases at once are more likely a fault of ours than idle pods: all decreases are paused for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Moment, PodName};

/// The time within which decreases are counted.
const WITHIN: Duration = Duration::from_secs(60);
/// More than this share of the managed pods, in percent, is too many.
const PERCENT: usize = 10;
/// Fewer pods than this are never too many.
const LEAST: usize = 10;
/// How long decreases are then paused.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// The guard against mass decreases.
#[derive(Debug, Default)]
pub(crate) struct DecreaseGuard {
    /// The pods that were decreased lately, and when last.
    decreased: BTreeMap<PodName, Moment>,
    paused_until: Option<Moment>,
}

impl DecreaseGuard {
    /// Until when decreases are paused, if they are.
    pub(crate) fn paused_until(&self, now: Moment) -> Option<Moment> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Asked before a decrease of this pod is sent: whether it may be. `managed` is how many pods have a class that can be used. The one
    /// that makes them too many is not sent either, and while decreases are paused none is, nor counted.
    pub(crate) fn admit(&mut self, now: Moment, pod: &PodName, managed: usize) -> bool {
        if self.paused_until(now).is_some() {
            return false;
        }
        self.decreased.retain(|_, at| *at + WITHIN > now);
        self.decreased.insert(pod.clone(), now);
        let count = self.decreased.len();
        if count >= LEAST && count * 100 > managed * PERCENT {
            self.paused_until = Some(now + PAUSE);
            self.decreased.clear();
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(1000 + seconds))
    }

    fn pod(number: usize) -> PodName {
        PodName::new("shop", &format!("web-{number}"))
    }

    /// How many of `count` pods, one every `every` seconds, may be decreased.
    fn admitted(guard: &mut DecreaseGuard, count: usize, every: u64, managed: usize) -> usize {
        (0..count).filter(|n| guard.admit(at(*n as u64 * every), &pod(*n), managed)).count()
    }

    #[test]
    fn more_than_a_tenth_and_at_least_ten_within_a_minute_pause_all_decreases_for_ten_minutes() {
        let mut guard = DecreaseGuard::default();
        assert_eq!(admitted(&mut guard, 50, 1, 50), 9, "the tenth is too many");
        assert_eq!(guard.paused_until(at(9)), Some(at(9) + PAUSE));
        assert!(!guard.admit(at(9) + Duration::from_secs(599), &pod(99), 50));
        assert_eq!(guard.paused_until(at(609)), None);
        assert!(guard.admit(at(609), &pod(99), 50), "and then they count from none");
    }

    #[test]
    fn a_tenth_of_many_pods_few_pods_and_a_slow_decrease_pass() {
        assert_eq!(admitted(&mut DecreaseGuard::default(), 100, 0, 1000), 100, "not more than a tenth");
        assert_eq!(admitted(&mut DecreaseGuard::default(), 101, 0, 1000), 100);
        assert_eq!(admitted(&mut DecreaseGuard::default(), 9, 0, 9), 9, "fewer than ten");
        assert_eq!(admitted(&mut DecreaseGuard::default(), 100, 7, 20), 100, "nine a minute");
    }

    #[test]
    fn a_pod_that_is_decreased_in_steps_counts_once() {
        let mut guard = DecreaseGuard::default();
        assert!((0..40).all(|n| guard.admit(at(n), &pod(1), 5)));
    }

    #[test]
    fn nothing_is_refused_beyond_the_pause_and_nothing_is_kept_beyond_a_minute() {
        let mut guard = DecreaseGuard::default();
        admitted(&mut guard, 9, 0, 10);
        assert!(guard.admit(at(60), &pod(100), 10));
        assert_eq!(guard.decreased.len(), 1);
    }
}
