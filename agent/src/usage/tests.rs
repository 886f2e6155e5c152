use super::*;

const LONGEST: Duration = Duration::from_secs(3);

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds))
}

/// Records CPU from `start` for `seconds`, one sample per `period`; returns the end.
fn record(
    usage: &mut UsageHistory,
    start: f64,
    seconds: f64,
    period: f64,
    cores: impl Fn(f64) -> f64,
) -> f64 {
    let samples = (seconds / period).round() as u32;
    for n in 0..samples {
        let from = start + f64::from(n) * period;
        usage.record_cpu(at(from), at(from + period), cores(from + period / 2.0), LONGEST);
    }
    start + seconds
}

#[test]
fn one_name_costs_less_than_a_kibibyte() {
    assert!(size_of::<UsageHistory>() < 1024, "{} bytes", size_of::<UsageHistory>());
}

#[test]
fn p95_is_of_the_last_thirty_seconds_at_any_period() {
    for period in [0.25, 0.5, 1.0, 2.0] {
        let mut usage = UsageHistory::default();
        // two busy seconds of thirty are more than five percent of them
        let end =
            record(
                &mut usage,
                1000.0,
                100.0,
                period,
                |t| {
                    if (1090.0..1092.0).contains(&t) { 2.0 } else { 0.5 }
                },
            );
        let p95 = usage.cpu_p95(at(end)).unwrap();
        assert!((p95 - 2.0).abs() < 1e-6, "period {period}: {p95}");
        let end = record(&mut usage, end, 30.0, period, |_| 0.5);
        let p95 = usage.cpu_p95(at(end)).unwrap();
        assert!((p95 - 0.5).abs() < 1e-6, "period {period}, later: {p95}");
    }
}

#[test]
fn one_busy_second_of_thirty_is_not_the_p95() {
    let mut usage = UsageHistory::default();
    let end =
        record(&mut usage, 1000.0, 60.0, 0.25, |t| if (1050.0..1051.0).contains(&t) { 4.0 } else { 0.5 });
    assert!((usage.cpu_p95(at(end)).unwrap() - 0.5).abs() < 1e-6);
}

#[test]
fn data_older_than_thirty_seconds_is_not_part_of_the_p95() {
    let mut usage = UsageHistory::default();
    let end = record(&mut usage, 1000.0, 60.0, 1.0, |_| 1.0);
    assert_eq!(usage.cpu_p95(at(end + 31.0)), None);
}

#[test]
fn the_peak_is_the_mean_of_a_minute_wherever_it_begins() {
    for offset in [0.0, 10.0, 30.0, 50.0] {
        let mut usage = UsageHistory::default();
        let burst = 7200.0 + offset;
        let end = record(&mut usage, 7000.0, 600.0, 1.0, |t| {
            if (burst..burst + 60.0).contains(&t) { 3.0 } else { 1.0 }
        });
        let peak = usage.cpu_peak(at(end)).unwrap();
        assert!((peak - 3.0).abs() < 1e-5, "offset {offset}: {peak}");
    }
}

#[test]
fn half_a_minute_has_no_minute_mean() {
    let mut usage = UsageHistory::default();
    let end = record(&mut usage, 1000.0, 35.0, 1.0, |_| 3.0);
    record(&mut usage, end + 60.0, 30.0, 1.0, |_| 3.0);
    assert_eq!(usage.cpu_peak(at(end + 90.0)), None);
}

#[test]
fn a_peak_is_forgotten_after_a_day_and_not_before() {
    let mut usage = UsageHistory::default();
    let day = 24.0 * 3600.0;
    let end = record(&mut usage, 3600.0, 120.0, 1.0, |_| 3.0);
    let quiet = record(&mut usage, end, day - 600.0, 2.0, |_| 0.5);
    assert!((usage.cpu_peak(at(quiet)).unwrap() - 3.0).abs() < 1e-5, "within a day");
    let quiet = record(&mut usage, quiet, 2.0 * 3600.0, 2.0, |_| 0.5);
    assert!((usage.cpu_peak(at(quiet)).unwrap() - 0.5).abs() < 1e-5, "after a day");
    assert_eq!(usage.cpu_peak(at(quiet + 2.0 * day)), None, "nothing seen for two days");
}

#[test]
fn a_gap_ends_the_window_and_a_missed_sweep_does_not() {
    let mut usage = UsageHistory::default();
    let end = record(&mut usage, 1000.0, 60.0, 1.0, |_| 1.0);
    let end = record(&mut usage, end + 2.0, 10.0, 1.0, |_| 1.0);
    assert_eq!(usage.window(at(end)), Some(Duration::from_secs(72)));
    let end = record(&mut usage, end + 3.5, 10.0, 1.0, |_| 1.0);
    assert_eq!(usage.window(at(end)), Some(Duration::from_secs(10)));
}

#[test]
fn the_window_is_that_of_the_resource_observed_for_less_time() {
    let mut usage = UsageHistory::default();
    let end = record(&mut usage, 1000.0, 60.0, 1.0, |_| 1.0);
    usage.record_memory(at(end - 5.0), at(end), 1e6, LONGEST);
    assert_eq!(usage.window(at(end)), Some(Duration::from_secs(5)));
    assert_eq!(UsageHistory::default().window(at(end)), None);
}

#[test]
fn history_continues_with_the_peaks_and_the_window_of_an_earlier_container() {
    let mut before = UsageHistory::default();
    let end = record(&mut before, 7000.0, 300.0, 1.0, |_| 2.0);
    before.record_memory(at(7000.0), at(end), 3e6, LONGEST);
    let mut after = UsageHistory::default();
    let end = record(&mut after, end + 5.0, 15.0, 1.0, |_| 0.1);
    after.record_memory(at(end - 15.0), at(end), 1e6, LONGEST);
    after.continue_from(&before);
    assert!((after.cpu_peak(at(end)).unwrap() - 2.0).abs() < 1e-5);
    assert_eq!(after.window(at(end)), Some(Duration::from_secs(320)));
    assert!((after.cpu_p95(at(end)).unwrap() - 2.0).abs() < 1e-5, "10 s of before are within the last 30 s");
}

#[test]
fn parts_of_a_minute_in_successive_containers_are_one_minute() {
    let (mut before, mut after) = (UsageHistory::default(), UsageHistory::default());
    let end = record(&mut before, 1200.0, 27.0, 1.0, |_| 1.0);
    let end = record(&mut after, end + 3.0, 40.0, 1.0, |_| 2.0);
    after.continue_from(&before);
    record(&mut after, end, 10.0, 1.0, |_| 0.0);
    // the highest minute observed: 17 s at 1, 40 s at 2
    let peak = after.cpu_peak(at(end + 10.0)).unwrap();
    assert!((peak - 97.0 / 57.0).abs() < 1e-5, "{peak}");
}
