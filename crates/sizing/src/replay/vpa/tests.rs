//! Against how slow the algorithm is by calculation: for a step after some history, one sample a minute.

use super::*;

const MINUTE: f64 = 1.0 / MINUTES_IN_DAY;
const HOUR: f64 = 60.0;

/// A histogram after so many minutes at one usage, and then minutes at another until `follows`; those minutes.
fn minutes_to_follow(history: f64, from: f64, to: f64, follows: impl Fn(&Histogram) -> bool) -> f64 {
    let mut histogram = Histogram::default();
    let history = history as u64;
    for minute in 1..=history {
        histogram.add(from, minute as f64 * MINUTE);
    }
    for minute in 1..=10_000 {
        histogram.add(to, (history + minute) as f64 * MINUTE);
        if follows(&histogram) {
            return minute as f64;
        }
    }
    panic!("never")
}

fn assert_near(what: &str, minutes: f64, expected: f64) {
    // the expected values have two digits
    assert!(
        (minutes - expected).abs() <= (0.05 * expected).max(1.0),
        "{what}: {minutes} min, not {expected}"
    );
}

#[test]
fn the_target_and_the_lower_bound_follow_a_step_as_late_as_calculated() {
    let is_up = |share| move |histogram: &Histogram| histogram.percentile(share) > Some(1.0);
    let is_down = |histogram: &Histogram| histogram.percentile(TARGET) < Some(1.0);
    for (history, target_up, lower_up, target_down) in [
        (HOUR, 7.0, 59.0, 7.9 * HOUR),
        (6.0 * HOUR, 37.0, 5.1 * HOUR, 31.0 * HOUR),
        (12.0 * HOUR, 67.0, 8.9 * HOUR, 45.0 * HOUR),
        (24.0 * HOUR, 1.9 * HOUR, 14.0 * HOUR, 59.0 * HOUR),
        (72.0 * HOUR, 3.2 * HOUR, 22.0 * HOUR, 76.0 * HOUR),
        (192.0 * HOUR, 3.65 * HOUR, 24.0 * HOUR, 80.0 * HOUR),
    ] {
        let what = format!("after {} h", history / HOUR);
        let (low, high) = (0.1, 1.0);
        assert_near(&what, minutes_to_follow(history, low, high, is_up(TARGET)), target_up);
        assert_near(&what, minutes_to_follow(history, low, high, is_up(LOWER)), lower_up);
        assert_near(&what, minutes_to_follow(history, high, low, is_down), target_down);
    }
}

#[test]
fn the_target_is_the_end_of_its_bucket_and_15_percent_and_the_bounds_close_in() {
    let after = |minutes: u64| {
        let mut histogram = Histogram::default();
        (0..=minutes).for_each(|minute| histogram.add(0.5, minute as f64 * MINUTE));
        histogram.recommendation(MARGIN).unwrap()
    };
    let end = start_of(bucket_of(0.5) + 1);
    assert!(end > 0.5 && end <= 0.5 * GROWTH + FIRST_BUCKET);
    let base = end * MARGIN * 1000.0;
    for (minutes, lower, upper) in [
        (5, 0.6, 289.0),
        (30, 0.9, 49.0),
        (60, 0.95, 25.0),
        (720, 1.0, 3.0),
        (1440, 1.0, 2.0),
        (10_080, 1.0, 8.0 / 7.0),
    ] {
        let got = after(minutes);
        assert_eq!(got.target, base.ceil());
        assert!((got.lower / base - lower).abs() < 0.02, "{minutes} min: {got:?}");
        assert!((got.upper / base - upper).abs() < 0.01 * upper, "{minutes} min: {got:?}");
    }
    assert_eq!(after(0).lower, FLOOR, "nothing is known yet");
}

#[test]
fn it_resizes_outside_the_bounds_or_by_10_percent_after_12_hours() {
    let recommendation = Recommendation { lower: 400.0, target: 500.0, upper: 900.0 };
    for (request, age_days, due) in [
        (399.0, 0.01, true),
        (901.0, 0.01, true),
        (400.0, 0.49, false),
        (400.0, 0.5, true),
        (455.0, 5.0, false),
        (454.0, 5.0, true),
        (556.0, 5.0, true),
        (555.0, 5.0, false),
    ] {
        assert_eq!(recommendation.is_due(request, age_days), due, "{request} after {age_days} days");
    }
}

#[test]
fn buckets_reach_a_thousand_cores_and_larger_usage_is_in_the_last() {
    assert_eq!((bucket_of(0.0), bucket_of(0.0099), bucket_of(0.0101)), (0, 0, 1));
    assert!(start_of(BUCKETS - 1) >= 1000.0 && start_of(BUCKETS - 2) < 1000.0);
    assert_eq!(bucket_of(1e9), BUCKETS - 1);
    assert_eq!(Histogram::default().recommendation(MARGIN), None);
}
