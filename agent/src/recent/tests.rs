use std::time::Duration;

use plimsoll_contract::Cores;

use super::*;
use crate::sample::Throttling;

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds))
}

/// A sample of one sweep: from, to, cores, periods and those throttled.
fn sample(start: f64, end: f64, cores: f64, periods: Option<(u64, u64)>) -> CpuSample {
    let throttling = periods.map(|(periods, throttled)| Throttling { periods, throttled });
    CpuSample { start: at(start), end: at(end), cores: Cores(cores), throttling }
}

fn recorded(samples: &[CpuSample]) -> Recent {
    let mut recent = Recent::default();
    samples.iter().for_each(|sample| recent.record_cpu(sample));
    recent
}

fn remembered(levels: &[(f64, u64)]) -> Recent {
    let mut recent = Recent::default();
    levels.iter().for_each(|(time, bytes)| recent.record_memory(at(*time), Some(Bytes(*bytes))));
    recent
}

fn near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

#[test]
fn throttling_is_a_share_of_the_periods_of_its_time_and_use_a_mean_of_it() {
    let recent = recorded(&[
        sample(10.0, 11.0, 4.0, Some((10, 10))),
        sample(11.0, 12.0, 0.1, Some((2, 0))),
        sample(12.0, 13.0, 0.5, Some((10, 3))),
        sample(13.0, 14.0, 0.6, Some((10, 6))),
    ]);
    assert!(near(recent.throttled(at(14.0), 2.0), 9.0 / 20.0));
    assert!(near(recent.throttled(at(14.0), 3.0), 9.0 / 22.0), "by periods, not by seconds");
    assert!(near(recent.mean(at(14.0), 3.0), 0.4));
}

#[test]
fn the_first_seconds_have_no_number_and_an_idle_container_has_zero() {
    let mut recent = Recent::default();
    let seen: Vec<_> = (0..4)
        .map(|second| {
            let start = 10.0 + f64::from(second);
            recent.record_cpu(&sample(start, start + 1.0, 0.0, Some((0, 0))));
            let now = at(start + 1.0);
            (recent.throttled(now, 2.0), recent.throttled(now, 3.0), recent.mean(now, 3.0))
        })
        .collect();
    let zero = Some(0.0);
    assert_eq!(seen, [(None, None, None), (zero, None, None), (zero, zero, zero), (zero, zero, zero)]);
}

#[test]
fn sweeps_that_are_some_milliseconds_off_make_no_gap_and_a_part_counts_in_part() {
    let late = recorded(&[
        sample(9.0, 10.01, 8.0, Some((10, 10))),
        sample(10.01, 10.99, 0.4, Some((10, 2))),
        sample(10.99, 11.99, 0.6, Some((10, 4))),
    ]);
    assert!(near(late.throttled(at(11.99), 2.0), 6.0 / 20.0), "the last 1.98 s are the last 2");
    // every 2 s: the last sample, and half of the one before
    let seldom = recorded(&[sample(6.0, 8.0, 1.0, Some((20, 20))), sample(8.0, 10.0, 0.25, Some((20, 0)))]);
    assert!(near(seldom.mean(at(10.0), 3.0), (0.25 * 2.0 + 1.0) / 3.0));
    assert!(near(seldom.throttled(at(10.0), 3.0), 10.0 / 30.0));
    assert!(near(seldom.throttled(at(10.0), 2.0), 0.0));
}

#[test]
fn a_sample_longer_than_the_time_says_nothing_of_it() {
    let recent = recorded(&[sample(0.0, 5.0, 1.0, Some((50, 50))), sample(5.0, 10.0, 1.0, Some((50, 50)))]);
    assert_eq!((recent.throttled(at(10.0), 3.0), recent.mean(at(10.0), 3.0)), (None, None));
}

#[test]
fn short_sweeps_give_the_same_numbers() {
    for period in [0.05, 0.1, 0.25, 0.5] {
        let samples = (0..(5.0 / period) as u32).map(|n| {
            let start = 10.0 + f64::from(n) * period;
            // throttled in every second period of the last second of five
            let throttled = if start > 14.0 - period / 2.0 { 10 } else { 0 };
            sample(start, start + period, if throttled > 0 { 1.5 } else { 0.5 }, Some((20, throttled)))
        });
        let recent = recorded(&samples.collect::<Vec<_>>());
        let now = at(15.0);
        for (value, expected) in [
            (recent.throttled(now, 2.0), 0.25),
            (recent.throttled(now, 3.0), 0.5 / 3.0),
            (recent.mean(now, 3.0), 2.5 / 3.0),
        ] {
            let value = value.unwrap();
            assert!((value - expected).abs() < 1e-6, "period {period}: {value}, not {expected}");
        }
    }
}

#[test]
fn a_gap_begins_the_time_anew() {
    let mut samples = vec![sample(10.0, 11.0, 1.0, Some((10, 10))), sample(11.0, 12.0, 1.0, Some((10, 10)))];
    samples.push(sample(13.0, 14.0, 0.5, Some((10, 0))));
    assert_eq!(recorded(&samples).throttled(at(14.0), 2.0), None);
    samples.push(sample(14.0, 15.0, 0.5, Some((10, 0))));
    let recent = recorded(&samples);
    assert_eq!((recent.throttled(at(15.0), 2.0), recent.throttled(at(15.0), 3.0)), (Some(0.0), None));
    samples.push(sample(15.0, 16.0, 0.8, Some((10, 1))));
    assert!(near(recorded(&samples).mean(at(16.0), 3.0), 0.6));
}

#[test]
fn periods_that_were_not_counted_make_throttling_unknown_and_not_the_use() {
    let recent = recorded(&[
        sample(10.0, 11.0, 0.3, None),
        sample(11.0, 12.0, 0.3, Some((10, 1))),
        sample(12.0, 13.0, 0.3, Some((10, 1))),
    ]);
    assert!(near(recent.throttled(at(13.0), 2.0), 0.1));
    assert_eq!(recent.throttled(at(13.0), 3.0), None);
    assert!(near(recent.mean(at(13.0), 3.0), 0.3));
}

#[test]
fn what_was_not_read_for_as_long_as_the_time_is_not_of_it() {
    let recent = recorded(&[sample(10.0, 12.0, 1.0, Some((20, 4))), sample(12.0, 13.0, 1.0, Some((10, 2)))]);
    assert!(near(recent.mean(at(15.5), 3.0), 1.0));
    assert_eq!((recent.mean(at(16.0), 3.0), recent.throttled(at(15.0), 2.0)), (None, None));
}

#[test]
fn the_smallest_memory_of_two_seconds_needs_two_seconds() {
    let mut recent = remembered(&[(10.0, 500), (11.0, 900)]);
    assert_eq!(recent.least_memory(at(11.0)), None);
    recent.record_memory(at(12.0), Some(Bytes(800)));
    assert_eq!(recent.least_memory(at(12.0)), Some(Bytes(500)));
    recent.record_memory(at(13.0), Some(Bytes(850)));
    assert_eq!(recent.least_memory(at(13.0)), Some(Bytes(800)), "500 was 3 s ago");
    recent.record_memory(at(14.0), None);
    assert_eq!(recent.least_memory(at(14.0)), None, "unknown, not the last one known");
    recent.record_memory(at(15.0), Some(Bytes(850)));
    recent.record_memory(at(16.0), Some(Bytes(850)));
    assert_eq!(recent.least_memory(at(16.0)), None, "what was before is not known to the second");
    recent.record_memory(at(17.01), Some(Bytes(860)));
    assert_eq!(recent.least_memory(at(17.01)), Some(Bytes(850)));
    assert_eq!(recent.least_memory(at(19.5)), None);
    let dip = remembered(
        &(0..12).map(|n| (10.0 + f64::from(n) * 0.25, if n == 6 { 7 } else { 90 })).collect::<Vec<_>>(),
    );
    assert_eq!(dip.least_memory(at(12.75)), Some(Bytes(7)), "also four times a second");
}

#[test]
fn growth_is_of_fifteen_seconds_signed_and_needs_ten() {
    let steps = |bytes: fn(u32) -> u64, seconds: u32| {
        remembered(&(0..=seconds).map(|n| (100.0 + f64::from(n), bytes(n))).collect::<Vec<_>>())
    };
    let growing = |n: u32| u64::from(n) * 1000;
    assert_eq!(steps(growing, 9).growth(at(109.0)), None);
    assert!(near(steps(growing, 10).growth(at(110.0)), 1000.0));
    assert!(near(steps(growing, 40).growth(at(140.0)), 1000.0));
    assert!(near(steps(|n| u64::from(100 - n) * 10, 20).growth(at(120.0)), -10.0));
    // still for 20 s, and then 300 in one step: spread over the last 15 s
    assert!(near(steps(|n| if n > 20 { 300 } else { 0 }, 21).growth(at(121.0)), 20.0));
    // and not at all 16 s later
    assert!(near(steps(|n| if n > 20 { 300 } else { 0 }, 37).growth(at(137.0)), 0.0));
    let short: Vec<_> = (0..80).map(|n| (100.0 + f64::from(n) * 0.25, u64::from(n as u32) * 100)).collect();
    assert!(near(remembered(&short).growth(at(119.75)), 400.0), "four times a second");
}

#[test]
fn growth_survives_a_reading_that_failed_and_is_unknown_while_there_is_none() {
    let mut recent = remembered(&(0..=14).map(|n| (f64::from(n), n as u64 * 50)).collect::<Vec<_>>());
    recent.record_memory(at(15.0), None);
    assert_eq!(recent.growth(at(15.0)), None);
    recent.record_memory(at(16.0), Some(Bytes(800)));
    assert!(near(recent.growth(at(16.0)), 50.0));
}

#[test]
fn throttling_under_another_quota_says_nothing_of_this_one() {
    let throttled = |second: u32| sample(f64::from(second), f64::from(second) + 1.0, 0.5, Some((10, 9)));
    let mut recent = recorded(&(10..14).map(throttled).collect::<Vec<_>>());
    recent.quota_since = Some(at(13.5));
    assert_eq!((recent.throttled(at(14.0), 2.0), recent.throttled(at(14.0), 3.0)), (None, None));
    assert!(near(recent.mean(at(14.0), 3.0), 0.5), "what was used was used");
    (14..16).for_each(|second| recent.record_cpu(&throttled(second)));
    assert_eq!((recent.throttled(at(16.0), 2.0), recent.throttled(at(16.0), 3.0)), (Some(0.9), None));
    recent.record_cpu(&throttled(16));
    assert!(near(recent.throttled(at(17.0), 3.0), 0.9));
}
