//! The table as a person sees it.

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::resize::ResizeStatus;
use plimsoll_contract::roster::Bands;
use plimsoll_contract::status::{KeyConflict, NodeCounts};
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

fn row(pod: &PodStatus) -> Row {
    Row::new(pod, true, now())
}

fn lines(rows: Vec<Row>) -> Vec<String> {
    PodTable { banner: Vec::new(), rows }.lines()
}

/// A pod whose labels say what its load is.
fn pod(namespace: &str, name: &str, cpu: ResourceStatus, memory: ResourceStatus) -> PodStatus {
    PodStatus {
        namespace: namespace.into(),
        name: name.into(),
        uid: "u".into(),
        node: None,
        class: None,
        labeled: Bands { cpu: Some(cpu.band), memory: Some(memory.band) },
        not_bands: Vec::new(),
        terminating: false,
        cpu,
        memory,
        left_alone: None,
        conflicts: Vec::new(),
        last: None,
        resize: None,
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
    let rows: Vec<_> = [web, batch, stress, new].iter().map(row).collect();
    let expected = "\
POD            CPU                OF       BAND      MEMORY             OF     BAND     CLASS  LAST
shop/web-7d9c    412m ####   82%  limit    high 12s   120Mi #      23%  limit  low  1h  gold   label written 3s ago
shop/batch-0     300m ##### 100%  limit    high  4m    40Mi #      16%  limit  low  2d  -      -
lab/stress       500m ####> 500%  request  high  1m    64Mi         6%  node   low  1m  -      -
lab/new             -             -        unknown        -             -      unknown  -      too little data yet";
    assert_eq!(lines(rows).join("\n"), expected);
}

#[test]
fn unknown_values_are_never_zero() {
    for invalid in [f64::NAN, f64::INFINITY, -1.0] {
        let broken =
            ResourceStatus { usage: Some(invalid), utilization: Some(invalid), ..ResourceStatus::default() };
        let row = row(&pod("a", "b", broken.clone(), broken));
        let text = row.columns(true).join(" ");
        assert!(!text.contains(['0', '%', 'N']), "{text}");
    }
    let idle = resource(Band::Low, Basis::Limit, 0.0, 0.0, 1);
    let idle = row(&pod("a", "b", idle, ResourceStatus::default()));
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

fn low() -> ResourceStatus {
    resource(Band::Low, Basis::Limit, 0.1, 0.1, 5)
}

fn high() -> ResourceStatus {
    resource(Band::High, Basis::Limit, 0.5, 1.0, 12)
}

fn unknown_because(reason: Option<UnknownReason>) -> ResourceStatus {
    ResourceStatus { reason, ..ResourceStatus::default() }
}

#[test]
fn the_last_column_says_why_nothing_is_done() {
    let mut finished = pod("a", "b", low(), low());
    finished.left_alone = Some(LeftAlone::Finished);
    finished.last = Some(decision("written", 5));
    assert_eq!(row(&finished).last, "left alone: finished");
    let mut foreign = pod("a", "b", low(), low());
    foreign.conflicts = vec![KeyConflict { key: keys::CPU_BAND.into(), manager: Some("helm".into()) }];
    assert_eq!(row(&foreign).last, "owned by others: plimsoll.dev/cpu-band (helm)");
    foreign.last = Some(decision("written", 3));
    foreign.memory = unknown_because(Some(UnknownReason::NoController));
    let expected = "memory: label says low; owned by others: plimsoll.dev/cpu-band (helm); memory: the node does not account for it";
    assert_eq!(row(&foreign).last, expected, "everything that is to be said");
    foreign.memory = low();
    assert_eq!(row(&foreign).last, "owned by others: plimsoll.dev/cpu-band (helm); label written 3s ago");
}

#[test]
fn a_label_of_another_value_is_called_that_and_not_missing() {
    let mut foreign = pod("a", "b", high(), low());
    (foreign.labeled.cpu, foreign.not_bands) = (None, vec![keys::CPU_BAND.into()]);
    foreign.conflicts = vec![KeyConflict { key: keys::CPU_BAND.into(), manager: Some("helm".into()) }];
    let shown = row(&foreign);
    assert!(shown.cpu.differs && !shown.memory.differs);
    assert_eq!(shown.last, "cpu: label is not a band; owned by others: plimsoll.dev/cpu-band (helm)");
    foreign.cpu = unknown_because(None);
    assert!(row(&foreign).cpu.differs, "it does not say that the load is unknown");
}

#[test]
fn a_pod_that_is_being_deleted_is_not_marked() {
    let mut going = pod("a", "b", high(), low());
    (going.labeled.cpu, going.terminating) = (Some(Band::Low), true);
    going.last = Some(decision("written", 3));
    let shown = row(&going);
    assert!(!shown.cpu.differs, "its labels are not written any more");
    assert_eq!(shown.last, "label written 3s ago");
}

/// The table in docs/inspecting.md and in the module's own documentation.
#[test]
fn the_sample_tables_are_as_they_are_printed() {
    let mut web = pod("shop", "web-7d9c", high(), low());
    web.cpu = resource(Band::High, Basis::Limit, 0.412, 0.824, 12);
    web.memory = resource(Band::Low, Basis::Limit, 120.0 * MI, 0.23, 4000);
    web.labeled.cpu = Some(Band::Low);
    web.last = Some(decision("failed", 3));
    let mut batch = pod("shop", "batch-0", high(), low());
    batch.cpu = resource(Band::High, Basis::Limit, 0.3, 1.0, 250);
    batch.memory = resource(Band::Low, Basis::Limit, 40.0 * MI, 0.16, 200_000);
    batch.labeled = Bands::default();
    let paused = AggregatorStatus { paused: Some(true), withheld: Some(Withheld::Paused), ..writing() };
    let table = PodTable { banner: banner(&paused), rows: vec![row(&web), row(&batch)] };
    let sample =
        |indent: &str| -> String { table.lines().iter().map(|line| format!("{indent}{line}\n")).collect() };
    let documents = [
        (include_str!("../../../docs/inspecting.md"), sample("    ")),
        (include_str!("../table.rs"), sample("//! ")),
    ];
    for (document, sample) in documents {
        assert!(document.contains(&sample), "{sample}");
    }
}

#[test]
fn a_band_whose_label_says_something_else_is_marked_and_the_last_column_says_what() {
    let bands = |row: &Row| [row.columns(true)[3].clone(), row.columns(true)[6].clone()];
    let mut web = pod("shop", "web", high(), low());
    web.last = Some(decision("failed", 3));
    web.labeled.cpu = Some(Band::Low);
    let shown = row(&web);
    assert_eq!(bands(&shown), ["high! 12s", "low  5s"]);
    assert_eq!(shown.last, "cpu: label says low; label failed 3s ago");
    assert_eq!(lines(vec![shown]).last().unwrap(), "!: the label on the pod differs from the band; see LAST");

    let mut cleaned = pod("shop", "web", high(), low());
    cleaned.labeled = Bands::default();
    assert_eq!(bands(&row(&cleaned)), ["high! 12s", "low!  5s"]);
    assert_eq!(row(&cleaned).last, "no label");
    cleaned.labeled.memory = Some(Band::Moderate);
    assert_eq!(row(&cleaned).last, "cpu: no label, memory: label says moderate");

    let mut ignored = cleaned.clone();
    ignored.left_alone = Some(LeftAlone::PodIgnored);
    for unmarked in [row(&ignored), Row::new(&cleaned, false, now())] {
        assert_eq!(bands(&unmarked), ["high 12s", "low  5s"], "no label is expected there");
    }
}

#[test]
fn an_unknown_load_is_explained_in_words_and_the_other_resource_is_shown() {
    let mut half = pod("shop", "web", high(), unknown_because(Some(UnknownReason::NoController)));
    half.last = Some(decision("written", 3));
    let columns = row(&half).columns(false);
    assert_eq!((columns[1].as_str(), columns[3].as_str()), ("  500m 100%", "high 12s"));
    assert_eq!((columns[4].trim(), columns[6].as_str()), ("-", "unknown"));
    assert_eq!(columns[10], "memory: the node does not account for it");

    for reason in UnknownReason::ALL {
        let nothing = || unknown_because(Some(reason));
        assert_eq!(row(&pod("shop", "web", nothing(), nothing())).last, reason.words());
    }
    let mut never_labeled = pod("shop", "web", unknown_because(None), unknown_because(None));
    never_labeled.labeled = Bands::default();
    assert_eq!(row(&never_labeled).last, "no report");
    assert!(!row(&never_labeled).cpu.differs, "a pod without a label claims nothing");
    let mut silent = never_labeled;
    silent.labeled = Bands { cpu: Some(Band::Low), memory: Some(Band::Low) };
    assert_eq!(row(&silent).columns(false)[3], "unknown!");
    assert_eq!(row(&silent).last, "label says low; no report");
}

fn writing() -> AggregatorStatus {
    AggregatorStatus {
        version: "0.1.0".into(),
        replica: "one".into(),
        leading: true,
        leader: Some("one".into()),
        last_leader: None,
        epoch: Some(7),
        output: "labels".into(),
        withheld: None,
        unknown_withheld: false,
        paused: Some(false),
        nodes: NodeCounts { reporting: 6, late: 1, silent: 3 },
        unreadable: Vec::new(),
    }
}

#[test]
fn the_banner_says_why_labels_are_not_written_and_nothing_where_they_are() {
    assert_eq!(banner(&writing()), Vec::<String>::new());
    let paused = AggregatorStatus { paused: Some(true), withheld: Some(Withheld::Paused), ..writing() };
    let by = "paused by ConfigMap plimsoll-control: no label is written; `plimsoll pause --off` ends it";
    assert_eq!(banner(&paused), [by]);
    let standby = AggregatorStatus { leading: false, leader: Some("two".into()), ..paused };
    assert_eq!(banner(&standby), [by], "who leads makes no difference");
    let many = AggregatorStatus { unknown_withheld: true, ..writing() };
    let expected = "many nodes are, or were just, silent: labels of their pods do not change to unknown yet";
    assert_eq!(banner(&many), [expected]);
    let odd: Vec<String> =
        (0..4).map(|n| format!("pod shop/p{n}: metadata.uid: \u{1b}{}", "x".repeat(300))).collect();
    let lines = banner(&AggregatorStatus { unreadable: odd, ..writing() });
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with("cannot be read, and is not shown: pod shop/p0: metadata.uid: \\u{1b}xxx"),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 160), "{lines:?}");
    let not_synced = AggregatorStatus { withheld: Some(Withheld::NotSynced), ..writing() };
    assert_eq!(
        banner(&not_synced),
        ["replica one has not listed all pods yet: this table may be incomplete"]
    );
    let unsure = AggregatorStatus { paused: None, withheld: Some(Withheld::NotLeading), ..writing() };
    let expected = "replica one does not know yet whether it is paused: no label is written";
    assert_eq!(banner(&unsure), [expected]);
}

#[test]
fn a_replica_that_does_not_lead_does_not_claim_that_nothing_is_written() {
    let standby = AggregatorStatus {
        leading: false,
        leader: Some("two".into()),
        epoch: None,
        withheld: Some(Withheld::NotLeading),
        ..writing()
    };
    assert_eq!(banner(&standby), ["this replica (one) does not lead; two writes the labels"]);
    let alone = AggregatorStatus { leader: None, ..standby };
    let expected = "this replica (one) does not lead, and knows of none that does; see Lease plimsoll-aggregator in namespace \
                    plimsoll-system";
    assert_eq!(banner(&alone), [expected]);
    let expired = AggregatorStatus { last_leader: Some("two".into()), ..alone };
    let expected = "this replica (one) does not lead; Lease plimsoll-aggregator in namespace plimsoll-system has expired, last held by \
                    two";
    assert_eq!(banner(&expired), [expected]);
}

#[test]
fn where_bands_are_only_in_metrics_the_banner_says_that_and_nothing_about_labels() {
    let metrics = AggregatorStatus {
        output: "metrics".into(),
        leading: false,
        leader: None,
        paused: Some(true),
        withheld: Some(Withheld::NotSynced),
        unknown_withheld: true,
        ..writing()
    };
    let incomplete = "replica one has not listed all pods yet: this table may be incomplete";
    assert_eq!(banner(&metrics), [incomplete, "bands are only in metrics (--output metrics)"]);
}

#[test]
fn the_banner_stands_above_the_table() {
    let table = PodTable { banner: vec!["paused".into()], rows: vec![row(&pod("a", "b", low(), low()))] };
    let lines = table.lines();
    assert_eq!((lines.len(), lines[0].as_str(), &lines[1][..3]), (3, "paused", "POD"));
}

#[test]
fn names_cannot_control_the_terminal_or_widen_the_table() {
    let mut hostile = pod("a", "\u{1b}[2Jb\n", ResourceStatus::default(), ResourceStatus::default());
    hostile.class = Some("x".repeat(500));
    let lines = lines(vec![row(&hostile)]);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("a/\\u{1b}[2Jb\\n ") && lines[1].len() < 250, "{}", lines[1]);
}

#[test]
fn a_request_that_is_too_small_is_said_with_what_it_counts_as() {
    let cpu = |basis, request| {
        let cpu = resource(Band::Moderate, basis, 0.017, 0.34, 5);
        let memory = resource(Band::Low, Basis::Node, 1024.0, 0.0, 5);
        row(&pod("shop", "web", ResourceStatus { of: Some(0.05), request, ..cpu }, memory)).columns(false)[2]
            .clone()
    };
    assert_eq!(cpu(Basis::Request, Some(0.01)), "request as 50m");
    assert_eq!(cpu(Basis::Request, None), "request");
    assert_eq!(cpu(Basis::Limit, Some(0.01)), "limit");
}

fn resize(fields: serde_json::Value) -> Option<Box<ResizeStatus>> {
    let mut resize = serde_json::json!({"mode": "Apply", "state": "idle", "containers": [
        {"name": "app", "spec": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}},
        {"name": "proxy", "spec": {"requests": {"cpu": "50m"}, "limits": {"cpu": "0.1"}}},
    ]});
    let serde_json::Value::Object(fields) = fields else { panic!("{fields}") };
    resize.as_object_mut().unwrap().extend(fields);
    Some(Box::new(serde_json::from_value(resize).unwrap()))
}

#[test]
fn the_size_is_that_of_all_containers_with_what_is_wanted_and_columns_appear_only_with_it() {
    let mut web = pod("shop", "web", high(), low());
    web.class = Some("gold".into());
    web.resize = resize(serde_json::json!({"wanted": {"app": {"limits": {"cpu": "890m"}}}}));
    let sized = row(&web);
    assert_eq!(
        sized.sizes,
        ["300m/600m -> 300m/990m", "-"],
        "one container has no memory request and no limit"
    );
    let plain = row(&pod("shop", "plain", high(), low()));
    let table = lines(vec![sized, plain.clone()]);
    assert!(table[0].contains("CLASS  CPU SIZE                MEMORY SIZE  LAST"), "{table:?}");
    assert!(lines(vec![plain])[0].ends_with("CLASS  LAST"));
}

#[test]
fn the_last_column_says_what_was_done_to_the_size_last_or_what_keeps_it() {
    let last = |fields| {
        let mut web = pod("shop", "web", high(), low());
        (web.resize, web.last) = (resize(fields), Some(decision("written", 3)));
        row(&web).last
    };
    let grown = serde_json::json!({"at": ago(180).to_string(), "reason": "grow", "class": "gold", "from": {}, "to": {}, "why": ""});
    assert_eq!(last(serde_json::json!({})), "label written 3s ago");
    assert_eq!(last(serde_json::json!({"last": grown})), "grow 3m ago; label written 3s ago");
    let deferred = serde_json::json!({"last": grown, "state": "deferred"});
    assert_eq!(last(deferred), "resize deferred, grow 3m ago; label written 3s ago");
    let refused = serde_json::json!({"refused": "an HPA scales on its CPU", "state": "idle"});
    assert_eq!(last(refused), "not resized: an HPA scales on its CPU; label written 3s ago");
}
