//! A bound on how often something is done. Pure: time is an argument.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Debug)]
pub struct RateLimiter {
    within: Duration,
    /// From one action to the next, at the rate that can be kept up.
    interval: Duration,
    /// When the bucket is full again.
    full_at: Instant,
}

impl RateLimiter {
    /// A full bucket: `most` actions may be done at once, and then as many every `within`, evenly. At least one.
    pub fn new(most: u32, within: Duration, now: Instant) -> Self {
        Self { within, interval: within / most.max(1), full_at: now }
    }

    /// Whether one more action is allowed at `now`; if so, it is counted.
    pub fn try_acquire(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let allowed = full_at.saturating_duration_since(now) <= self.within;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests;
