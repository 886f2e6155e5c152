use super::RateLimiter;
use std::time::{Duration, Instant};

fn allowed(limiter: &mut RateLimiter, now: Instant) -> usize {
    (0..100).filter(|_| limiter.try_acquire(now)).count()
}

#[test]
fn the_burst_is_one_second_of_tokens_and_then_the_rate_holds() {
    let start = Instant::now();
    let mut limiter = RateLimiter::new(20, start);
    assert_eq!(allowed(&mut limiter, start), 20);
    assert_eq!(allowed(&mut limiter, start + Duration::from_millis(500)), 10);
    assert_eq!(allowed(&mut limiter, start + Duration::from_secs(3600)), 20);
}

#[test]
fn an_older_time_refills_nothing() {
    let start = Instant::now();
    let late = start + Duration::from_secs(10);
    let mut limiter = RateLimiter::new(20, late);
    assert_eq!(allowed(&mut limiter, late), 20);
    assert_eq!(allowed(&mut limiter, start), 0);
    assert_eq!(allowed(&mut limiter, late), 0, "the same seconds do not count twice");
}
