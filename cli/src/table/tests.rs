//! The table as a person sees it.

use plimsoll_contract::roster::Bands;
use plimsoll_contract::{Basis, keys};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - seconds).unwrap()
}

fn resource(band: Band, basis: Basis, usage: f64, utilization: f64, since: i64) -> ResourceStatus {
    ResourceStatus {
        band,
        basis: Some(basis),
        usage: Some(usage),
        utilization: Some(utilization),
        since: Some(ago(since)),
        ..ResourceStatus::default()
    }
}

fn pod(namespace: &str, name: &str, cpu: ResourceStatus, memory: ResourceStatus) -> PodStatus {
    PodStatus {
        namespace: namespace.into(),
        name: name.into(),
        uid: "u".into(),
        node: None,
        class: None,
        cpu,
        memory,
        labeled: Bands::default(),
        left_alone: None,
        conflicts: Vec::new(),
        last: None,
    }
}

fn decision(outcome: &str, seconds: i64) -> Decision {
    Decision {
        at: ago(seconds),
        action: "label".into(),
        namespace: "shop".into(),
        pod: "web".into(),
        node: None,
        from: "cpu=low".into(),
        to: "cpu=high".into(),
        reason: "transition".into(),
        outcome: outcome.into(),
        took_ms: None,
    }
}

const MI: f64 = 1024.0 * 1024.0;

#[test]
fn the_table_looks_as_documented() {
    let mut web = pod(
        "shop",
        "web-7d9c",
        resource(Band::High, Basis::Limit, 0.412, 0.824, 12),
        resource(Band::Low, Basis::Limit, 120.0 * MI, 0.23, 4000),
    );
    web.class = Some("gold".into());
    web.last = Some(decision("written", 3));
    let batch = pod(
        "shop",
        "batch-0",
        resource(Band::High, Basis::Limit, 0.3, 1.0, 250),
        resource(Band::Low, Basis::Limit, 40.0 * MI, 0.16, 200_000),
    );
    let stress = pod(
        "lab",
        "stress",
        resource(Band::High, Basis::Request, 0.5, 5.0, 61),
        resource(Band::Low, Basis::Node, 64.0 * MI, 0.06, 61),
    );
    let warming = ResourceStatus { reason: Some(UnknownReason::WarmingUp), ..ResourceStatus::default() };
    let new = pod("lab", "new", warming.clone(), warming);
    let rows: Vec<_> = [web, batch, stress, new].iter().map(|pod| Row::new(pod, now())).collect();
    let expected = "\
POD            CPU                OF       BAND      MEMORY             OF     BAND     CLASS  LAST
shop/web-7d9c    412m ####   82%  limit    high 12s   120Mi #      23%  limit  low  1h  gold   label written 3s ago
shop/batch-0     300m ##### 100%  limit    high  4m    40Mi #      16%  limit  low  2d  -      -
lab/stress       500m ####> 500%  request  high  1m    64Mi         6%  node   low  1m  -      -
lab/new             -             -        unknown        -             -      unknown  -      too little data yet";
    assert_eq!(lines(&rows).join("\n"), expected);
}

#[test]
fn unknown_values_are_never_zero() {
    for invalid in [f64::NAN, f64::INFINITY, -1.0] {
        let broken =
            ResourceStatus { usage: Some(invalid), utilization: Some(invalid), ..ResourceStatus::default() };
        let row = Row::new(&pod("a", "b", broken.clone(), broken), now());
        let text = row.columns(true).join(" ");
        assert!(!text.contains(['0', '%', 'N']), "{text}");
    }
    let idle = Row::new(
        &pod("a", "b", resource(Band::Low, Basis::Limit, 0.0, 0.0, 1), ResourceStatus::default()),
        now(),
    );
    assert_eq!(idle.columns(true)[1].trim(), "0m         0%");
    assert_eq!(idle.columns(true)[4].trim(), "-");
}

#[test]
fn a_bar_grows_with_the_utilization_and_marks_more_than_the_basis() {
    let table = [
        (0.0, ""),
        (0.09, ""),
        (0.1, "#"),
        (0.3, "##"),
        (0.82, "####"),
        (1.0, "#####"),
        (1.05, "#####"),
        (1.1, "####>"),
        (50.0, "####>"),
    ];
    for (utilization, expected) in table {
        assert_eq!(bar(utilization), expected, "{utilization}");
    }
}

#[test]
fn ages_are_short_and_never_negative() {
    let table = [
        (-30, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86_399, "23h"),
        (172_800, "2d"),
    ];
    for (seconds, expected) in table {
        assert_eq!(age(ago(seconds), now()), expected, "{seconds}");
    }
}

#[test]
fn the_last_column_says_why_nothing_is_done() {
    let known = || resource(Band::Low, Basis::Limit, 0.1, 0.1, 5);
    let mut finished = pod("a", "b", known(), known());
    finished.left_alone = Some(LeftAlone::Finished);
    finished.last = Some(decision("written", 5));
    assert_eq!(Row::new(&finished, now()).last, "left alone: finished");
    let mut foreign = pod("a", "b", known(), known());
    foreign.conflicts = vec![keys::CPU_BAND.into()];
    assert_eq!(Row::new(&foreign, now()).last, "owned by others: plimsoll.dev/cpu-band");
}

#[test]
fn names_cannot_control_the_terminal_or_widen_the_table() {
    let mut hostile = pod("a", "\u{1b}[2Jb\n", ResourceStatus::default(), ResourceStatus::default());
    hostile.class = Some("x".repeat(500));
    let lines = lines(&[Row::new(&hostile, now())]);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("a/\\u{1b}[2Jb\\n ") && lines[1].len() < 250, "{}", lines[1]);
}
