use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

const LONGEST: Duration = Duration::from_secs(3);

fn point(at_ms: u64, usage: Duration, throttling: Option<(u64, u64)>) -> (Moment, CpuCounters) {
    let throttling = throttling.map(|(periods, throttled)| Throttling { periods, throttled });
    (Moment(Duration::from_millis(at_ms)), CpuCounters { usage, throttling })
}

fn between(before: (Moment, CpuCounters), after: (Moment, CpuCounters)) -> Result<CpuSample, UnknownReason> {
    CpuSample::between(before, after, LONGEST, Some(Cores(4.0)))
}

#[test]
fn a_rate_is_the_difference_of_usage_over_the_time_between() {
    let sample = between(
        point(1000, Duration::from_millis(5000), Some((100, 10))),
        point(3000, Duration::from_millis(6000), Some((120, 15))),
    );
    let sample = sample.unwrap();
    assert_eq!(sample.cores, Cores(0.5));
    assert_eq!(sample.throttled(), Some(0.25));
    assert_eq!((sample.start, sample.end), (Moment(Duration::from_secs(1)), Moment(Duration::from_secs(3))));
}

#[test]
fn readings_between_which_there_is_no_rate_have_a_reason() {
    let second = Duration::from_secs(1);
    let before = point(1000, second, Some((10, 5)));
    let (reset, gap) = (UnknownReason::CounterReset, UnknownReason::Gap);
    let table = [
        ("no time passed", point(1000, second, None), reset),
        ("time went backward", point(500, second, None), reset),
        ("too much time passed", point(4001, second, None), gap),
        ("usage decreased", point(2000, second - Duration::from_nanos(1), None), reset),
        ("more than the node has", point(2000, Duration::from_millis(5200), None), reset),
        ("far more than the node has", point(2000, Duration::from_nanos(u64::MAX), None), reset),
        ("as much as there can be", point(2000, Duration::MAX, None), reset),
    ];
    for (case, after, reason) in table {
        assert_eq!(between(before, after), Err(reason), "{case}");
    }
}

#[test]
fn counters_of_the_quota_that_decrease_make_throttling_unknown_and_not_the_rate() {
    let before = point(1000, Duration::ZERO, Some((10, 5)));
    for counts in [(9, 5), (10, 4), (0, 0)] {
        let sample = between(before, point(2000, Duration::from_millis(500), Some(counts))).unwrap();
        assert_eq!((sample.cores, sample.throttled()), (Cores(0.5), None), "{counts:?}");
    }
}

#[test]
fn a_rate_over_a_short_interval_never_exceeds_the_node() {
    let sample = between(point(0, Duration::ZERO, None), point(10, Duration::from_millis(55), None));
    assert_eq!(sample.unwrap().cores, Cores(4.0 * 1.02));
}

#[test]
fn a_busy_container_on_a_large_node_is_exact_over_a_long_time() {
    let (start, used) = (Duration::from_secs(1 << 40), Duration::from_secs(512 * 3));
    let sample = CpuSample::between(
        point(0, start, None),
        point(3000, start + used, None),
        LONGEST,
        Some(Cores(512.0)),
    );
    assert_eq!(sample.unwrap().cores, Cores(512.0));
}

#[test]
fn without_a_quota_period_throttling_is_zero_and_without_counters_it_is_absent() {
    let sample =
        between(point(0, Duration::ZERO, Some((3, 1))), point(1000, Duration::ZERO, Some((3, 1)))).unwrap();
    assert_eq!(sample.throttled(), Some(0.0));
    let sample = between(point(0, Duration::ZERO, None), point(1000, Duration::ZERO, Some((3, 1)))).unwrap();
    assert_eq!(sample.throttled(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rate_is_never_negative_nor_more_than_the_node(
        times in any::<(u32, u32)>(), usages in any::<(u64, u64)>(), counts in any::<(u64, u64, u64, u64)>(),
    ) {
        let before = point(u64::from(times.0 % 10_000), Duration::from_nanos(usages.0), Some((counts.0, counts.1)));
        let after = point(u64::from(times.1 % 10_000), Duration::from_nanos(usages.1), Some((counts.2, counts.3)));
        if let Ok(sample) = between(before, after) {
            prop_assert!((0.0..=4.0 * 1.02).contains(&sample.cores.0));
            prop_assert!(sample.throttled().is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
        }
    }

    #[test]
    fn the_order_of_two_readings_matters(used in 1_u64..1_000_000_000, ms in 300_u64..3000) {
        let (first, second) = (point(0, Duration::ZERO, None), point(ms, Duration::from_nanos(used), None));
        prop_assert!(between(first, second).is_ok());
        prop_assert_eq!(between(second, first), Err(UnknownReason::CounterReset));
    }
}
