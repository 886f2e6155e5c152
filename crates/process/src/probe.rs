//! The state behind the probes of a process.
//!
//! A [`Latch`] is readiness: the caches were filled once. It cannot be unset, because a later failure must not take the
//! process out of service. A [`Heartbeat`] is liveness: a loop records each iteration, and the probe checks how old the
//! latest one is. They are separate because the remedies are: not ready means wait, not alive means restart.
//!
//! Both are cheap to clone and share one value. Time is an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A flag that is set once and stays set.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// A latch that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it. Returns whether it was unset before, so that the caller can log the transition.
    pub fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it was ever set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The time of the latest iteration of a loop.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    start: Instant,
    /// Microseconds from `start` to the latest heartbeat.
    latest: Arc<AtomicU64>,
}

impl Heartbeat {
    /// A heartbeat whose first record is `now`, so that the loop has its full allowance to start.
    pub fn new(now: Instant) -> Self {
        Self { start: now, latest: Arc::default() }
    }

    /// Records an iteration at `now`. A time older than the latest has no effect.
    pub fn record(&self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start).as_micros();
        self.latest.fetch_max(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Time since the latest record; zero if that is after `now`.
    pub fn age(&self, now: Instant) -> Duration {
        let latest = Duration::from_micros(self.latest.load(Ordering::Acquire));
        now.saturating_duration_since(self.start).saturating_sub(latest)
    }

    /// Whether the latest record is no older than `max_age`.
    pub fn is_alive(&self, now: Instant, max_age: Duration) -> bool {
        self.age(now) <= max_age
    }
}

#[cfg(test)]
mod tests {
    use super::{Heartbeat, Latch};
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
    fn a_heartbeat_expires_after_its_allowance_and_a_record_revives_it() {
        let start = Instant::now();
        let heartbeat = Heartbeat::new(start);
        assert!(heartbeat.is_alive(start + MAX_AGE, MAX_AGE));
        let late = start + MAX_AGE + Duration::from_millis(1);
        assert!(!heartbeat.is_alive(late, MAX_AGE));
        heartbeat.clone().record(late);
        assert!(heartbeat.is_alive(late + MAX_AGE, MAX_AGE));
    }

    #[test]
    fn a_record_from_the_past_does_not_age_a_heartbeat() {
        let start = Instant::now();
        let heartbeat = Heartbeat::new(start);
        heartbeat.record(start + Duration::from_secs(10));
        heartbeat.record(start + Duration::from_secs(5));
        assert_eq!(heartbeat.age(start + Duration::from_secs(11)), Duration::from_secs(1));
    }
}
