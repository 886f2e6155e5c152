use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn parse(cpu: &str) -> Script {
    Load::parse(&format!("{{\"cpu\":{cpu}}}")).unwrap().cpu
}

const EVERY_SHAPE: [&str; 5] = [
    r#"{"constant": "250m"}"#,
    r#"{"square": {"low": 0.1, "high": 0.2, "period": "5s", "duty": 0.3}}"#,
    r#"{"trace": {"points": [["1s", 0.1], ["5s", "300m"], ["6s", 0]], "repeat": "10s"}}"#,
    r#"{"trace": {"points": [[0, 0.1], [5, 0.3]]}}"#,
    r#"{"ramp": {"from": 1, "to": 0.2, "start": "3s", "over": "60s"}}"#,
];

/// The integral by brute force, 1 ms at a time.
fn by_hand(script: &Script, from: f64, to: f64) -> f64 {
    let steps = ((to - from) * 1000.0).round() as usize;
    (0..steps).map(|i| script.at(seconds(from + (i as f64 + 0.5) / 1000.0)) / 1000.0).sum()
}

#[test]
fn each_notation_parses_back() {
    for text in EVERY_SHAPE {
        let load = Load { cpu: parse(text), ..Load::default() };
        assert_eq!(Load::parse(&load.to_notation()).unwrap(), load, "{text}");
    }
}

#[test]
fn a_load_needs_no_field_and_is_then_idle() {
    let load = Load::parse("{}").unwrap();
    assert_eq!(load, Load::default());
    assert_eq!(load.cpu.at(Duration::ZERO), 0.0);
    assert_eq!(
        Load::parse(r#"{"memory":{"constant":"64Mi"}}"#).unwrap().memory.at(Duration::ZERO),
        f64::from(64 << 20)
    );
}

#[test]
fn an_invalid_load_is_rejected_with_the_name_of_the_field() {
    let table = [
        (r#"{"cpu":{"constant":-1}}"#, "constant"),
        (r#"{"cpu":{"square":{"low":0,"high":1,"period":"0s"}}}"#, "period"),
        (r#"{"cpu":{"square":{"low":0,"high":1,"period":"1s","duty":2}}}"#, "duty"),
        (r#"{"cpu":{"trace":{"points":[]}}}"#, "points"),
        (r#"{"cpu":{"trace":{"points":[["2s",1],["1s",1]]}}}"#, "points"),
        (r#"{"memory":{"ramp":{"from":0,"to":1,"over":0}}}"#, "memory"),
        (r#"{"cpu":{"wobble":1}}"#, "wobble"),
        (r#"{"disk":{"constant":1}}"#, "disk"),
        (r#"{"cpu":{"constant":"fast"}}"#, "notation"),
    ];
    for (text, named) in table {
        let error = format!("{:#}", Load::parse(text).unwrap_err());
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn a_value_at_an_edge_belongs_to_the_part_that_begins() {
    let square = parse(r#"{"square":{"low":0.1,"high":0.2,"period":"4s"}}"#);
    assert_eq!([0.0, 1.999, 2.0, 3.999, 4.0].map(|t| square.at(seconds(t))), [0.1, 0.1, 0.2, 0.2, 0.1]);
    let trace = parse(EVERY_SHAPE[2]);
    assert_eq!([0.0, 1.0, 5.0, 9.0, 15.5].map(|t| trace.at(seconds(t))), [0.1, 0.1, 0.3, 0.0, 0.3]);
}

#[test]
fn small_changes_are_not_published_and_large_ones_once() {
    let mut changes = ChangeFilter::default();
    let published: Vec<bool> = [0.2, 0.2, 0.205, 0.4, 0.4, 0.0, 0.0].map(|v| changes.accepts(v)).into();
    assert_eq!(published, [true, false, false, true, false, true, false]);
}

proptest! {
    #[test]
    fn the_parts_sum_to_the_whole(shape in 0..EVERY_SHAPE.len(), a in 0.0..100.0, b in 0.0..100.0, c in 0.0..100.0) {
        let script = parse(EVERY_SHAPE[shape]);
        let mut times = [a, b, c].map(seconds);
        times.sort();
        let [from, middle, to] = times;
        let whole = script.integral(from, to);
        let parts = script.integral(from, middle) + script.integral(middle, to);
        prop_assert!((whole - parts).abs() < 1e-6, "{whole} {parts}");
    }

    #[test]
    fn value_and_mean_do_not_exceed_the_maximum(shape in 0..EVERY_SHAPE.len(), a in 0.0..100.0, length in 0.001..50.0) {
        let script = parse(EVERY_SHAPE[shape]);
        let most = script.max();
        let value = script.at(seconds(a));
        prop_assert!((0.0..=most).contains(&value), "{value}");
        let mean = script.integral(seconds(a), seconds(a + length)) / length;
        prop_assert!(mean >= -1e-6 && mean <= most + 1e-6, "{mean}");
    }

    #[test]
    fn the_integral_is_that_of_the_values(shape in 0..EVERY_SHAPE.len(), a in 0.0..30.0, length in 0.1..10.0) {
        let script = parse(EVERY_SHAPE[shape]);
        let [from, to] = [a, a + length].map(|t: f64| (t * 1000.0).round() / 1000.0);
        let (exact, summed) = (script.integral(seconds(from), seconds(to)), by_hand(&script, from, to));
        prop_assert!((exact - summed).abs() < 0.02, "{exact} {summed}");
    }
}
