use proptest::prelude::*;

use super::trace::Problem;
use super::*;
use crate::policy::Policy;

const HOUR: u64 = 3600;

fn parse(text: &str) -> Result<Trace, TraceError> {
    Trace::parse(text, 60)
}

fn trace(seconds: u64, demand: impl Fn(u64) -> f64) -> Trace {
    Trace::of_seconds(&(0..seconds).map(demand).collect::<Vec<_>>()).unwrap()
}

fn compare(trace: &Trace, class: &str, excess: Excess) -> [Outcome; 4] {
    let setup = Setup::new(trace, None, None, excess);
    let class = Policy::builtin(class).unwrap();
    [
        run(trace, &setup, &mut Ours::new(&class, &setup)),
        run(trace, &setup, &mut StaticAtPeak::new(trace)),
        run(trace, &setup, &mut Vpa::new(&setup)),
        run(trace, &setup, &mut UsageOverTarget::new(&class, &setup)),
    ]
}

#[test]
fn values_are_held_until_the_next_and_both_forms_are_read() {
    let with_times = parse("ts,value\n1628640000,0.5\n1628640060,1.5\n1628640150,0\n").unwrap();
    assert_eq!(with_times.length_seconds(), 60 + 90 + 90, "the last is held as long as the one before");
    let seconds: Vec<f64> = with_times.seconds().collect();
    assert_eq!((seconds[59], seconds[60], seconds[149], seconds[150]), (0.5, 1.5, 1.5, 0.0));
    let single = Trace::parse("\u{feff}cores\r\n0.5\r\n\r\n 1.5 \r\n", 10).unwrap();
    assert_eq!((single.length_seconds(), single.peak()), (20, 1.5));
    assert_eq!(parse("0.25").unwrap().length_seconds(), 60);
}

#[test]
fn what_is_no_trace_is_refused_with_its_line_and_the_cure() {
    let cores = |line, text: &str| TraceError::Line { line, problem: Problem::Cores(text.into()) };
    let at = |line, problem| TraceError::Line { line, problem };
    for (text, expected) in [
        ("", TraceError::Empty),
        ("ts,value\n\n", TraceError::Empty),
        ("0\n0\n", TraceError::Idle),
        ("NaN\n1", cores(1, "NaN")),
        ("inf\n1", cores(1, "inf")),
        ("ts,value\n0,0.5\n60,nan", cores(3, "nan")),
        ("0,0.5\n60,-1", cores(2, "-1")),
        ("0,0.5\n60,", cores(2, "")),
        ("0,0.5\n60,1e9", cores(2, "1e9")),
        ("1\ntwo", cores(2, "two")),
        ("0,1\n60,1\n60,2", at(3, Problem::Unsorted(60, 60))),
        ("60,1\n0,1", at(2, Problem::Unsorted(0, 60))),
        ("0,1\n3601,1", at(2, Problem::Gap(3601))),
        ("0.5,1", at(1, Problem::Time("0.5".into()))),
        ("-60,1", at(1, Problem::Time("-60".into()))),
        ("0,1\n60", at(2, Problem::Columns(1))),
        ("0,1,2", at(1, Problem::Columns(3))),
    ] {
        assert_eq!(parse(text), Err(expected), "{text:?}");
    }
    let year = (0..=366 * 24).map(|hour| format!("{},1\n", hour * HOUR)).collect::<String>();
    assert_eq!(parse(&year), Err(at(366 * 24 + 1, Problem::Long(366 * 24 * HOUR))));
    let endless = format!("1\n{}", "x".repeat(1 << 20));
    let message = parse(&endless).unwrap_err().to_string();
    assert!(message.starts_with("line 2: `xxx") && message.len() < 200, "{message}");
    assert_eq!(
        parse("0,1\n60,NaN").unwrap_err().to_string(),
        "line 2: `NaN` is no usage; write cores as a decimal number from 0 to 100000, such as 0.25, or remove the line"
    );
    assert!(Trace::of_seconds(&[1.0, f64::NAN]).is_err());
}

#[test]
fn static_at_peak_reserves_the_peak_and_withholds_nothing() {
    let trace = trace(2 * HOUR, |now| if now < HOUR { 0.2 } else { 1.234 });
    let [_, fixed, ..] = compare(&trace, "gold", Excess::Queued);
    assert_eq!((fixed.least_request, fixed.most_request, fixed.resizes), (1240, 1240, 0));
    assert_eq!((fixed.withheld_core_seconds, fixed.throttled_seconds), (0.0, 0.0));
    assert!((fixed.reserved_core_hours - 2.48).abs() < 1e-9, "{fixed:?}");
    assert!((fixed.slack() - (1.0 - 1.434 / 2.48)).abs() < 1e-6);
}

#[test]
fn after_a_step_ours_withholds_less_than_usage_over_target_and_vpa_for_hours() {
    // 6 h of history, then ten times the load
    let trace = trace(9 * HOUR, |now| if now < 6 * HOUR { 0.2 } else { 2.0 });
    for class in ["gold", "silver", "bronze"] {
        let [ours, _, vpa, target] = compare(&trace, class, Excess::Lost);
        // bronze grows by half at most, and once a minute: no sooner than usage / target, but with the first step at once
        let most =
            if class == "bronze" { target.throttled_seconds + 60.0 } else { target.throttled_seconds / 2.0 };
        assert!(ours.throttled_seconds > 0.0 && ours.throttled_seconds < most, "{ours:?} {target:?}");
        assert!(target.throttled_seconds < vpa.throttled_seconds, "{target:?} {vpa:?}");
        // no pod younger than 12 h is resized inside its bounds
        assert!(vpa.throttled_seconds > 2.9 * HOUR as f64, "{vpa:?}");
        assert!(ours.withheld_core_seconds < target.withheld_core_seconds);
    }
}

#[test]
fn usage_over_target_resizes_every_minute_and_ours_settles_on_a_wave() {
    let wave = trace(24 * HOUR, |now| if now / 60 % 2 == 0 { 1.0 } else { 0.3 });
    let [ours, _, vpa, target] = compare(&wave, "silver", Excess::Queued);
    assert!(target.resizes_per_day() > 1400.0, "{target:?}");
    assert!(ours.resizes <= 10 && vpa.resizes <= 10, "{ours:?} {vpa:?}");
}

#[test]
fn the_least_headroom_is_what_the_largest_rise_in_a_minute_needs() {
    // after the first minute, each rise is one of four times: 4 x 0.40 of the limit
    let wave = trace(2 * HOUR, |now| if now / 600 % 2 == 0 { 0.25 } else { 1.0 });
    let setup = Setup::new(&wave, Some(1000), Some(1000), Excess::Lost);
    let gold = Policy::builtin("gold").unwrap();
    let rule = |headroom| UsageOverTarget::new(&gold, &setup).with_headroom(headroom);
    let (headroom, outcome) = least_headroom(&wave, &setup, 0.0, rule).unwrap();
    // sizes are rounded up to 10m: 1.584 x 0.25 / 0.40 is 990m, and anything more is 1000m
    assert!((1.584..1.584 * 1.03).contains(&headroom), "{headroom}");
    assert_eq!(outcome.throttled_seconds, 0.0);
    assert!(run(&wave, &setup, &mut rule(1.55)).throttled_seconds > 0.0);
    assert_eq!(least_headroom(&wave, &setup, f64::INFINITY, rule).unwrap().0, 1.0);
    // from the first second of load to the first sample no headroom helps
    let small = Setup::new(&wave, Some(10), Some(10), Excess::Lost);
    let vpa = |headroom| Vpa::new(&small).with_headroom(headroom);
    assert_eq!(least_headroom(&wave, &small, 0.0, vpa), None);
}

#[test]
fn a_given_size_counts_and_a_limit_is_never_below_its_request() {
    let trace = trace(HOUR, |_| 0.4);
    let setup = |request, limit| Setup::new(&trace, request, limit, Excess::Lost).original;
    let size = |request, limit| Size { request: Some(request), limit: Some(limit) };
    assert_eq!(setup(None, None), size(400, 600));
    assert_eq!(setup(Some(100), Some(500)), size(100, 500));
    assert_eq!(setup(Some(100), None), size(100, 150));
    assert_eq!(setup(Some(100), Some(50)), size(100, 100));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_demand_appears_or_disappears(values in proptest::collection::vec(0.0..4.0f64, 2..40), is_queued: bool) {
        let text: String = values.iter().map(|cores| format!("{cores}\n")).collect();
        let Ok(trace) = Trace::parse(&text, 60) else { return Ok(()) };
        let demanded: f64 = trace.seconds().sum();
        let excess = if is_queued { Excess::Queued } else { Excess::Lost };
        for outcome in compare(&trace, "bronze", excess) {
            let used = outcome.used_core_hours * 3600.0;
            let rest = if is_queued { outcome.backlog_core_seconds } else { outcome.withheld_core_seconds };
            prop_assert!((used + rest - demanded).abs() < 1e-3 * demanded.max(1.0), "{outcome:?} of {demanded}");
            prop_assert!(outcome.least_request <= outcome.most_request && outcome.least_request > 0);
            prop_assert!(outcome.throttled_seconds <= outcome.seconds as f64);
            if outcome.withheld_core_seconds == 0.0 {
                prop_assert!(outcome.backlog_core_seconds < 1e-3);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "[0-9a-zN,.\\-\n ]{0,80}") {
        let _ = Trace::parse(&text, 60);
    }
}
