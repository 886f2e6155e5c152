//! A bound on how often something is done. Pure: time is an argument.

use std::time::Instant;

/// A token bucket that holds the tokens of one second.
#[derive(Debug)]
pub struct RateLimiter {
    per_second: f64,
    tokens: f64,
    refilled: Instant,
}

impl RateLimiter {
    /// A full bucket: `per_second` actions may be done at once, and then as many every second.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: per_second, refilled: now }
    }

    /// Whether one more action is allowed at `now`; if so, it is counted.
    pub fn try_acquire(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        self.refilled = self.refilled.max(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests;
