mod traces;

use std::time::Duration;

use super::*;
use crate::load::{Burst, Window};
use crate::profile::FlapLimit;

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(1000.0 + seconds))
}

fn observation(signals: &[Signal]) -> Observation<'_> {
    Observation { signals, data_since: Some(at(0.0)), missing: None, restarting: false, conclusive: true }
}

/// One candidate with one sample a second, and its band. Second `t` is the sample that ends at `t + 1`.
struct Single {
    profile: Profile,
    classifier: Classifier,
    window: Window,
    bursts: [Burst; 2],
    second: u64,
}

impl Single {
    fn new() -> Single {
        Single {
            profile: Profile::standard(),
            classifier: Classifier::default(),
            window: Window::default(),
            bursts: [Burst::default(); 2],
            second: 0,
        }
    }

    /// Adds one second of this utilization. Returns the change of the band.
    fn add(&mut self, utilization: f64) -> Option<BandChange> {
        let (start, end) = (at(self.second as f64), at(self.second as f64 + 1.0));
        let factor = self.classifier.factor(end, &self.profile);
        let window = self.profile.window * factor;
        self.window.add(start, end, utilization);
        self.window.trim(window * 2);
        let mean = self.window.mean(window).unwrap();
        let enough = self.profile.burst * f64::from(factor);
        let mut bursts = [None; 2];
        for (k, burst) in self.bursts.iter_mut().enumerate() {
            bursts[k] = burst.add(end, 1.0, utilization, self.profile.thresholds[k], enough);
        }
        let signal = Signal {
            mean: mean.usage,
            seconds: mean.seconds,
            complete: mean.complete,
            bursts,
            last_bursts: self.bursts.map(|burst| burst.last()),
            settled: true,
            margin: 0.0,
        };
        self.second += 1;
        self.classifier.update(&observation(&[signal]), end, Timestamp::UNIX_EPOCH, window, &self.profile)
    }

    /// Adds this utilization for so many seconds. Returns the changes, by second.
    fn feed(&mut self, utilization: f64, seconds: u64) -> Vec<(u64, Band)> {
        let changes = (0..seconds).filter_map(|_| Some((self.second, self.add(utilization)?.to)));
        changes.collect()
    }
}

#[test]
fn a_burst_switches_on_after_its_area_and_a_load_at_the_threshold_after_a_minute() {
    // 2.4 utilization-seconds above 0.66: at full load 7.06 s, at 0.8 17.1 s
    for (load, seconds) in [(1.0, 8), (5.0, 8), (0.8, 18)] {
        let mut single = Single::new();
        single.feed(0.0, 100);
        let changes = single.feed(load, 60);
        assert_eq!(changes.last(), Some(&(100 + seconds - 1, Band::High)), "{load}: {changes:?}");
    }
    let mut single = Single::new();
    assert_eq!(single.feed(0.5, 60), [(9, Band::Moderate)]);
    assert_eq!(single.feed(0.6601, 120), [(119, Band::High)]);
}

#[test]
fn a_band_falls_after_a_minute_without_a_burst_and_only_below_the_margin() {
    let mut single = Single::new();
    assert_eq!(single.feed(1.0, 60), [(9, Band::High)]);
    assert_eq!(single.feed(0.63, 300), [], "not below 0.62");
    assert_eq!(single.feed(0.60, 300), [(379, Band::Moderate)], "once the mean is below 0.62");
    assert_eq!(single.feed(0.30, 300), [], "not below 0.29");
    let low = single.feed(0.28, 300);
    assert_eq!(low.len(), 1, "{low:?}");
    assert_eq!(low[0].1, Band::Low);
}

#[test]
fn a_load_that_ends_is_one_change_whenever_its_last_bursts_were() {
    for load in [1.0, 0.9, 0.8] {
        for seconds in 100..120 {
            let mut single = Single::new();
            single.feed(load, seconds);
            let changes = single.feed(0.0, 100);
            assert_eq!(changes.len(), 1, "{load} for {seconds} s: {changes:?}");
            let (second, band) = changes[0];
            assert_eq!(band, Band::Low);
            assert!((seconds + 52..=seconds + 60).contains(&second), "{load} for {seconds} s: {changes:?}");
        }
    }
}

#[test]
fn what_made_the_band_is_a_burst_or_a_mean_with_its_numbers() {
    let mut single = Single::new();
    single.feed(0.0, 100);
    let high = (0..20).filter_map(|_| single.add(1.2)).last().and_then(|change| change.origin).unwrap();
    assert_eq!((high.rule, high.seconds), (Rule::Burst, 8.0));
    assert!((high.utilization - 1.2).abs() < 1e-6, "{high:?}");
    let low = (0..200).find_map(|_| single.add(0.1)).and_then(|change| change.origin).unwrap();
    assert_eq!((low.rule, low.seconds), (Rule::Mean, 60.0));
    assert!((low.utilization - 0.1).abs() < 1e-6, "{low:?}");
    let mut single = Single::new();
    let first = (0..20).find_map(|_| single.add(0.5)).and_then(|change| change.origin).unwrap();
    assert_eq!((first.rule, first.seconds), (Rule::Mean, 10.0));
}

#[test]
fn what_made_the_band_never_contradicts_it() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut single = Single::new();
    let mut changes = 0;
    for _ in 0..400 {
        let (load, seconds) = (rng.f64() * 1.3, rng.u64(1..90));
        for _ in 0..seconds {
            let Some(change) = single.add(load) else { continue };
            let origin = change.origin.unwrap();
            let [moderate, high] = single.profile.thresholds;
            let valid = match change.to {
                Band::High => origin.utilization >= high,
                Band::Moderate => origin.utilization >= moderate - single.profile.margin,
                Band::Low | Band::Unknown => origin.utilization < moderate,
            };
            assert!(valid, "{change:?}");
            changes += 1;
        }
    }
    assert!(changes > 20, "only {changes}");
}

#[test]
fn since_is_the_time_of_the_change_and_while_unknown_the_start_of_the_data() {
    let profile = Profile::standard();
    let mut classifier = Classifier::default();
    let wall = |second: u64| Timestamp::from_second(1_000_000 + i64::try_from(second).unwrap()).unwrap();
    let signal = Signal {
        mean: 0.9,
        seconds: 10.0,
        complete: false,
        bursts: [None; 2],
        last_bursts: [None; 2],
        settled: true,
        margin: 0.0,
    };
    for second in 0..20 {
        classifier.update(&observation(&[signal]), at(second as f64), wall(second), profile.window, &profile);
        let since = if second < 10 { wall(0) } else { wall(10) };
        assert_eq!(classifier.since(), Some(since), "second {second}");
    }
}

#[test]
fn six_changes_double_the_times_six_more_double_them_again_and_calm_halves_them() {
    let limit = Profile::standard().flaps;
    let mut flaps = FlapCount::default();
    let mut factors = Vec::new();
    for n in 0..30 {
        flaps.record(at(100.0 * f64::from(n)), &limit);
        factors.push(flaps.factor(at(100.0 * f64::from(n)), &limit));
    }
    let expected: Vec<u32> = (1..=30).map(|n| 1 << (n / 6).min(3)).collect();
    assert_eq!(factors, expected, "at most 8");
    let last = 2900.0;
    let calm = limit.calm.as_secs_f64();
    for (after, factor) in [(calm - 1.0, 8), (calm, 4), (2.0 * calm, 2), (3.0 * calm - 1.0, 2), (9e9, 1)] {
        assert_eq!(flaps.factor(at(last + after), &limit), factor, "{after} s later");
    }
}

#[test]
fn six_changes_in_longer_than_the_window_are_no_flapping() {
    let limit = FlapLimit { changes: 6, ..Profile::standard().flaps };
    let mut flaps = FlapCount::default();
    for n in 0..50 {
        flaps.record(at(400.0 * f64::from(n)), &limit);
        assert_eq!(flaps.factor(at(400.0 * f64::from(n)), &limit), 1, "change {n}");
    }
}

#[test]
fn after_a_time_without_data_a_band_has_the_origin_that_still_holds_it() {
    let mut single = Single::new();
    single.feed(0.0, 100);
    single.feed(1.0, 9);
    single.feed(0.0, 11);
    let nothing = Observation { missing: Some(UnknownReason::Failed), ..observation(&[]) };
    let (window, profile) = (single.profile.window, single.profile.clone());
    for _ in 0..10 {
        single.second += 1;
        let now = at(single.second as f64);
        single.classifier.update(&nothing, now, Timestamp::UNIX_EPOCH, window, &profile);
    }
    assert_eq!(single.classifier.band(), Band::Unknown);
    let change = single.add(0.0).unwrap();
    assert_eq!((change.from, change.to), (Band::Unknown, Band::High));
    assert_eq!(change.origin.map(|origin| origin.rule), Some(Rule::Burst), "{change:?}");
}
