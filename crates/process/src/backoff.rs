//! Doubling delays between attempts. Pure: it sleeps nowhere and adds no jitter.

use std::time::Duration;

/// The delay before the next attempt: it starts at `shortest` and doubles with every failure, up to `longest`.
#[derive(Debug, Clone)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A back-off after which nothing has failed yet.
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// The delay after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.longest);
        delay
    }

    /// An attempt succeeded: the next delay is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.shortest;
    }
}

#[cfg(test)]
mod tests;
