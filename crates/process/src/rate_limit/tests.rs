use super::RateLimiter;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn allowed(limiter: &mut RateLimiter, now: Instant) -> usize {
    (0..100).filter(|_| limiter.try_acquire(now)).count()
}

#[test]
fn the_burst_is_what_the_time_allows_and_then_the_rate_holds() {
    let start = Instant::now();
    let mut limiter = RateLimiter::new(20, SECOND, start);
    assert_eq!(allowed(&mut limiter, start), 20);
    assert_eq!(allowed(&mut limiter, start + Duration::from_millis(500)), 10);
    assert_eq!(allowed(&mut limiter, start + Duration::from_secs(3600)), 20);
}

#[test]
fn once_in_a_minute_is_once_in_every_minute() {
    let start = Instant::now();
    let mut limiter = RateLimiter::new(1, 60 * SECOND, start);
    for minute in 0..100 {
        let now = start + 60 * minute * SECOND;
        assert_eq!(allowed(&mut limiter, now), 1, "{minute}");
        assert_eq!(allowed(&mut limiter, now + 59 * SECOND), 0, "{minute}");
    }
}

#[test]
fn an_older_time_refills_nothing() {
    let start = Instant::now();
    let late = start + Duration::from_secs(10);
    let mut limiter = RateLimiter::new(20, SECOND, late);
    assert_eq!(allowed(&mut limiter, late), 20);
    assert_eq!(allowed(&mut limiter, start), 0);
    assert_eq!(allowed(&mut limiter, late), 0, "the same seconds do not count twice");
}
