//! The two facts behind the probes of a process.
//!
//! A [`Latch`] is readiness: the caches were filled once; a later hiccup must not take the process out of service, so
//! it cannot be unset. A [`Beat`] is liveness: a loop says that it went round, and the probe asks how long ago that
//! was. They are kept apart because the cures are: not ready means wait, not alive means restart.
//!
//! Both are cheap clones of one shared value. No clock is read here; time is an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Something that happens once and stays so.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// A latch that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it, for good. Returns whether this call was the one that did, so that the transition can be logged.
    pub fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it was ever set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// When a loop last went round.
#[derive(Debug, Clone)]
pub struct Beat {
    start: Instant,
    /// Microseconds from `start` to the latest touch.
    latest: Arc<AtomicU64>,
}

impl Beat {
    /// A beat whose first touch is `now`: the loop has its full allowance to get going.
    pub fn new(now: Instant) -> Self {
        Self { start: now, latest: Arc::default() }
    }

    /// Says that the loop went round at `now`. An older time than the latest changes nothing.
    pub fn touch(&self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start).as_micros();
        self.latest.fetch_max(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Time since the latest touch; zero if that lies after `now`.
    pub fn age(&self, now: Instant) -> Duration {
        let latest = Duration::from_micros(self.latest.load(Ordering::Acquire));
        now.saturating_duration_since(self.start).saturating_sub(latest)
    }

    /// Whether the latest touch is no older than `max_age`.
    pub fn is_alive(&self, now: Instant, max_age: Duration) -> bool {
        self.age(now) <= max_age
    }
}

#[cfg(test)]
mod tests {
    use super::{Beat, Latch};
    use std::time::{Duration, Instant};

    const MAX_AGE: Duration = Duration::from_secs(3);

    #[test]
    fn a_latch_is_set_once_and_for_every_clone() {
        let latch = Latch::new();
        let other = latch.clone();
        assert!(!other.is_set());
        assert!(latch.set(), "the first call sets it");
        assert!(!other.set(), "the second finds it set");
        assert!(other.is_set());
    }

    #[test]
    fn a_beat_dies_after_its_allowance_and_a_touch_revives_it() {
        let start = Instant::now();
        let beat = Beat::new(start);
        assert!(beat.is_alive(start + MAX_AGE, MAX_AGE));
        let late = start + MAX_AGE + Duration::from_millis(1);
        assert!(!beat.is_alive(late, MAX_AGE));
        beat.clone().touch(late);
        assert!(beat.is_alive(late + MAX_AGE, MAX_AGE));
    }

    #[test]
    fn a_touch_from_the_past_does_not_age_a_beat() {
        let start = Instant::now();
        let beat = Beat::new(start);
        beat.touch(start + Duration::from_secs(10));
        beat.touch(start + Duration::from_secs(5));
        assert_eq!(beat.age(start + Duration::from_secs(11)), Duration::from_secs(1));
    }
}
