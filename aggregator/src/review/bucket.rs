//! A bound on how often something is done. Pure: time is an argument.

use tokio::time::Instant;

/// A token bucket.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    most: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// Full, for `per_second` a second and as many at once.
    pub fn new(per_second: u32, now: Instant) -> Bucket {
        let most = f64::from(per_second);
        Bucket { per_second: most, most, left: most, at: now }
    }

    /// Whether one more may be done now; if so, it counts.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.most);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_many_at_once_as_in_a_second_and_then_at_that_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(20, now);
        assert_eq!((0..100).filter(|_| bucket.take(now)).count(), 20);
        let later = now + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 10);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take(much_later)).count(), 20);
    }
}
