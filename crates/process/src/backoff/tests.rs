use super::Backoff;
use std::time::Duration;

#[test]
fn delays_double_up_to_the_longest_and_start_again_after_a_reset() {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    let delays: Vec<_> = (0..8).map(|_| backoff.next_delay().as_millis()).collect();
    assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    backoff.reset();
    assert_eq!(backoff.next_delay().as_millis(), 500);
}

#[test]
fn the_longest_possible_delay_does_not_overflow() {
    let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
    assert_eq!([backoff.next_delay(), backoff.next_delay()], [Duration::MAX; 2]);
}
