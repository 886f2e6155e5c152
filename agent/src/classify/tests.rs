use std::time::Duration;

use super::*;
use crate::profile::FlapLimit;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn observation(paths: &[Path]) -> Observation<'_> {
    Observation { paths, data_since: Some(at(0)), missing: None, restarting: false }
}

/// Feeds one utilization per second, of which only the last value is known; returns the transitions.
fn feed(classifier: &mut Classifier, from: u64, to: u64, utilization: f64) -> Vec<(u64, Band)> {
    let profile = Profile::standard();
    let update = |second: u64| {
        let paths = [Path::jump(utilization, at(second))];
        let change = classifier.update(&observation(&paths), at(second), Timestamp::UNIX_EPOCH, &profile)?;
        Some((second, change.to))
    };
    (from..to).filter_map(update).collect()
}

#[test]
fn each_threshold_has_its_hysteresis_and_its_dwell() {
    let mut classifier = Classifier::default();
    assert_eq!(feed(&mut classifier, 0, 20, 0.5), [(10, Band::Moderate)]);
    assert_eq!(feed(&mut classifier, 20, 40, 0.66), [(30, Band::High)]);
    assert_eq!(feed(&mut classifier, 40, 200, 0.63), [], "not below the lower edge");
    assert_eq!(feed(&mut classifier, 200, 300, 0.629), [(260, Band::Moderate)]);
    assert_eq!(feed(&mut classifier, 300, 400, 0.659), [], "not at the upper edge");
    assert_eq!(feed(&mut classifier, 400, 500, 0.30), []);
    assert_eq!(feed(&mut classifier, 500, 600, 0.29), [(560, Band::Low)]);
    assert_eq!(feed(&mut classifier, 600, 700, 0.32), []);
}

#[test]
fn a_load_that_crosses_back_restarts_the_dwell() {
    let mut classifier = Classifier::default();
    feed(&mut classifier, 0, 20, 0.5);
    assert_eq!(feed(&mut classifier, 20, 29, 0.7), []);
    assert_eq!(feed(&mut classifier, 29, 30, 0.65), []);
    assert_eq!(feed(&mut classifier, 30, 60, 0.7), [(40, Band::High)]);
    assert_eq!(feed(&mut classifier, 60, 119, 0.5), []);
    assert_eq!(feed(&mut classifier, 119, 120, 0.63), []);
    assert_eq!(feed(&mut classifier, 120, 200, 0.5), [(180, Band::Moderate)]);
}

#[test]
fn since_is_the_time_of_the_transition_and_while_unknown_the_start_of_the_data() {
    let profile = Profile::standard();
    let mut classifier = Classifier::default();
    let wall = |second: u64| Timestamp::from_second(1_000_000 + i64::try_from(second).unwrap()).unwrap();
    for second in 0..20 {
        let paths = [Path::jump(0.9, at(second))];
        classifier.update(&observation(&paths), at(second), wall(second), &profile);
        let since = if second < 10 { wall(0) } else { wall(10) };
        assert_eq!(classifier.since(), Some(since), "second {second}");
    }
}

#[test]
fn six_switches_double_the_dwell_six_more_double_it_again_and_calm_halves_it() {
    let limit =
        FlapLimit { transitions: 6, window: Duration::from_secs(1800), max_dwell: Duration::from_secs(600) };
    let mut flaps = FlapCount::default();
    let mut levels = Vec::new();
    for n in 0..13 {
        flaps.record(at(100 * n), &limit);
        levels.push(flaps.doublings(at(100 * n), &limit));
    }
    assert_eq!(levels, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]);
    let last = 1200;
    for (after, level) in [(1799, 2), (1800, 1), (3599, 1), (3600, 0), (9000, 0)] {
        assert_eq!(flaps.doublings(at(last + after), &limit), level, "{after} s later");
    }
}

#[test]
fn six_switches_in_longer_than_the_window_are_no_flapping() {
    let limit = Profile::standard().flaps;
    let mut flaps = FlapCount::default();
    for n in 0..50 {
        flaps.record(at(400 * n), &limit);
        assert_eq!(flaps.doublings(at(400 * n), &limit), 0, "switch {n}");
    }
}

#[test]
fn the_dwell_never_grows_beyond_ten_minutes() {
    let mut classifier = Classifier::default();
    feed(&mut classifier, 0, 20, 0.5);
    let mut now = 20;
    for _ in 0..100 {
        // as long as it takes, in either direction
        for utilization in [0.9, 0.5] {
            let changes = feed(&mut classifier, now, now + 700, utilization);
            assert!(!changes.is_empty(), "no change within 700 s at {now}");
            let changed = changes[0].0;
            assert!(changed - now <= 600, "{changed} - {now}");
            now = changed + 1;
        }
    }
}
