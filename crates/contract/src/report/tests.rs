//! The documents on the wire: what is absent stays absent, what is new is ignored, what cannot be is refused by name.

use proptest::prelude::*;
use serde_json::{Value, json};

use jiff::Timestamp;

use super::*;
use crate::load::{Cause, Rule, UnknownReason};
use crate::rejection::{PodRejection, RejectedPod};
use crate::roster::{Answer, Bands, ContainerKind, RosterContainer, RosterPod};
use crate::{Band, Basis};

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";

fn smallest() -> Value {
    json!({
        "version": 2, "node": "n1", "boot": "b", "seq": 1, "full": true, "rosterVersion": 0,
        "capacity": {"cores": 4.0, "bytes": 1024},
        "pods": [{"uid": UID, "cpu": {"band": "unknown"}, "memory": {"band": "unknown"}, "containers": []}],
    })
}

fn report(document: &Value) -> Report {
    serde_json::from_value(document.clone()).unwrap()
}

#[test]
fn absent_fields_are_unknown_and_stay_absent() {
    let read = report(&smallest());
    assert_eq!(read.pods[0].cpu, CpuLoad::default());
    assert_eq!(serde_json::to_value(&read).unwrap(), smallest());

    let container = json!({"id": "ab".repeat(32), "cpu": {}, "memory": {}});
    let read: ContainerReport = serde_json::from_value(container.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), container);
}

#[test]
fn fields_of_a_later_schema_are_ignored() {
    let mut document = smallest();
    document["weather"] = json!("fair");
    document["pods"][0]["cpu"]["color"] = json!({"nested": [1]});
    assert_eq!(report(&document), report(&smallest()));
}

#[test]
fn another_schema_version_is_refused_naming_both() {
    for version in [VERSION, VERSION - 1] {
        Report { version, ..report(&smallest()) }.check().unwrap();
    }
    for version in [0, VERSION - 2, VERSION + 1, u32::MAX] {
        let refusal = Report { version, ..report(&smallest()) }.check().unwrap_err();
        assert_eq!(refusal, ReportRejection::Version(version));
        let text = refusal.to_string();
        assert!(text.contains(&version.to_string()) && text.contains(&VERSION.to_string()), "{text}");
    }
}

/// One field changed in an honest report.
type Spoil = fn(&mut Report, f64);

#[test]
fn numbers_that_cannot_be_are_refused_by_the_fields_name() {
    let fields: [(&str, Spoil); 17] = [
        ("capacity.cores", |r, v| r.capacity.cores = Cores(v)),
        ("cpu.cores", |r, v| r.pods[0].cpu.usage = Some(Cores(v))),
        ("cpu.of", |r, v| r.pods[0].cpu.of = Some(Cores(v))),
        ("cpu.utilization", |r, v| r.pods[0].cpu.utilization = Some(v)),
        ("memory.utilization", |r, v| {
            r.pods[0].memory.utilization = Some(v);
        }),
        ("containers.cpu.cores", |r, v| {
            r.pods[0].containers[0].cpu.cores = Some(Cores(v));
        }),
        ("containers.cpu.p95", |r, v| {
            r.pods[0].containers[0].cpu.p95 = Some(Cores(v));
        }),
        ("containers.cpu.limitCores", |r, v| {
            r.pods[0].containers[0].cpu.limit_cores = Some(Limit::Of(Cores(v)));
        }),
        ("containers.cpu.throttled", |r, v| {
            r.pods[0].containers[0].cpu.throttled = Some(v);
        }),
        ("containers.cpu.throttled2", |r, v| {
            r.pods[0].containers[0].cpu.throttled2 = Some(v);
        }),
        ("containers.cpu.throttled3", |r, v| {
            r.pods[0].containers[0].cpu.throttled3 = Some(v);
        }),
        ("containers.cpu.mean3", |r, v| {
            r.pods[0].containers[0].cpu.mean3 = Some(Cores(v));
        }),
        ("containers.cpu.utilization3", |r, v| {
            r.pods[0].containers[0].cpu.utilization3 = Some(v);
        }),
        ("cgroup.limitCores", |r, v| {
            let limit_cores = Some(Limit::Of(Cores(v)));
            r.pods[0].cgroup = Some(PodCgroup { limit_cores, limit_bytes: None });
        }),
        ("containers.memory.pressure", |r, v| {
            r.pods[0].containers[0].memory.pressure = Some(v);
        }),
        ("containers.limitsAge", |r, v| {
            r.pods[0].containers[0].limits_age = Some(v);
        }),
        ("containers.window", |r, v| {
            r.pods[0].containers[0].window = Some(v);
        }),
    ];
    let mut honest = report(&smallest());
    honest.pods[0].containers = vec![serde_json::from_value(json!({"id": "ab".repeat(32)})).unwrap()];
    for (name, spoil) in fields {
        for value in [f64::NAN, f64::INFINITY, -0.1] {
            let mut spoiled = honest.clone();
            spoil(&mut spoiled, value);
            let refusal = spoiled.check().unwrap_err();
            assert!(
                matches!(&refusal, ReportRejection::Value { field, .. } if *field == name),
                "{name} {value}: {refusal}"
            );
        }
        let mut fine = honest.clone();
        spoil(&mut fine, 0.5);
        assert_eq!(fine.check(), Ok(()), "{name}");
    }
}

#[test]
fn more_than_the_node_has_is_refused_but_measuring_noise_is_not() {
    let mut at_full_load = report(&smallest());
    at_full_load.pods[0].cpu.usage = Some(Cores(4.0 * 1.1));
    at_full_load.pods[0].memory.usage = Some(Bytes(1100));
    assert_eq!(at_full_load.check(), Ok(()));
    let mut lie = at_full_load.clone();
    lie.pods[0].cpu.usage = Some(Cores(4.0 * 1.3));
    let refusal = lie.check().unwrap_err().to_string();
    assert!(refusal.contains("cpu.cores") && refusal.contains(UID), "{refusal}");
    at_full_load.pods[0].memory.usage = Some(Bytes(1300));
    assert!(at_full_load.check().unwrap_err().to_string().contains("memory.bytes"));
}

fn with_container(container: &Value) -> Report {
    let mut document = smallest();
    document["pods"][0]["containers"] = json!([container]);
    report(&document)
}

fn refused_field(report: &Report) -> &'static str {
    match report.check() {
        Err(ReportRejection::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_may_shrink_as_fast_as_it_may_grow_but_no_faster() {
    let growing = |growth: f64| {
        let mut report = with_container(&json!({"id": "ab".repeat(32)}));
        report.pods[0].containers[0].memory.growth = Some(growth);
        report
    };
    for growth in [-1024.0, -0.5, 0.0, 1024.0] {
        assert_eq!(growing(growth).check(), Ok(()), "{growth}");
    }
    for growth in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1300.0, -1300.0] {
        assert_eq!(refused_field(&growing(growth)), "containers.memory.growth", "{growth}");
    }
}

#[test]
fn the_numbers_of_the_last_seconds_are_within_what_there_is() {
    let id = "ab".repeat(32);
    for (field, cpu, memory) in [
        ("containers.cpu.throttled2", json!({"throttled2": 1.1}), json!({})),
        ("containers.cpu.throttled3", json!({"throttled3": 1.1}), json!({})),
        ("containers.cpu.mean3", json!({"mean3": 5.0}), json!({})),
        ("containers.memory.unreclaimable2", json!({}), json!({"unreclaimable2": 1300})),
    ] {
        let report = with_container(&json!({"id": id, "cpu": cpu, "memory": memory}));
        assert_eq!(refused_field(&report), field);
    }
    let mut available = report(&smallest());
    available.capacity.available_bytes = Some(Bytes(1024));
    assert_eq!(available.check(), Ok(()));
    available.capacity.available_bytes = Some(Bytes(1025));
    assert_eq!(refused_field(&available), "capacity.availableBytes");
}

#[test]
fn the_numbers_for_sizing_have_these_names() {
    let mut document = smallest();
    document["capacity"]["availableBytes"] = json!(512);
    document["pods"][0]["cgroup"] = json!({"limitCores": 0.5, "limitBytes": "max"});
    document["pods"][0]["containers"] = json!([{
        "id": "ab".repeat(32),
        "cpu": {"throttled2": 0.25, "throttled3": 0.125, "mean3": 0.5, "utilization3": 1.0},
        "memory": {"unreclaimable2": 512, "growth": -10.5, "eventsDelta": {"max": 2, "oomKill": 1}},
    }]);
    let read = report(&document);
    let container = &read.pods[0].containers[0];
    assert_eq!(
        container.memory.events_delta,
        Some(MemoryEvents { high: None, max: Some(2), oom_kill: Some(1) })
    );
    assert_eq!(read.pods[0].cgroup.unwrap().limit_bytes, Some(Limit::Unlimited));
    assert_eq!(serde_json::to_value(&read).unwrap(), document);
}

#[test]
fn more_pods_containers_or_boot_id_than_there_can_be_is_refused() {
    let mut crowd = report(&smallest());
    crowd.pods = vec![crowd.pods[0].clone(); MAX_PODS + 1];
    assert_eq!(crowd.check(), Err(ReportRejection::TooMany(MAX_PODS + 1, "pods", MAX_PODS)));
    let mut crowd = report(&smallest());
    crowd.pods[0].containers =
        vec![serde_json::from_value(json!({"id": "ab".repeat(32)})).unwrap(); MAX_CONTAINERS + 1];
    assert_eq!(
        crowd.check(),
        Err(ReportRejection::TooMany(MAX_CONTAINERS + 1, "containers", MAX_CONTAINERS))
    );
    assert_eq!(
        Report { boot: "b".repeat(65), ..report(&smallest()) }.check(),
        Err(ReportRejection::Boot(65))
    );
    Report { seq: MAX_SEQ, ..report(&smallest()) }.check().unwrap();
    assert_eq!(
        Report { seq: MAX_SEQ + 1, ..report(&smallest()) }.check(),
        Err(ReportRejection::Seq(MAX_SEQ + 1))
    );
}

/// Numbers that survive decimal text: serde_json reads others to the nearest neighbor only.
fn finite() -> impl Strategy<Value = f64> {
    (0_u16..4096).prop_map(|n| f64::from(n) / 1024.0)
}

prop_compose! {
    fn cause()(
        rule in proptest::sample::select(vec![Rule::Burst, Rule::Mean]),
        basis in proptest::sample::select(Basis::ALL.to_vec()),
        (seconds, usage, of) in (finite(), finite(), finite()),
        container in proptest::option::of("[0-9a-f]{64}"),
        bound_by in proptest::option::of(proptest::sample::select(vec![BoundBy::Limit, BoundBy::Node, BoundBy::None])),
        request in proptest::option::of(finite()),
    ) -> Cause<Cores> {
        let container = container.map(|id| ContainerId::new(&id).unwrap());
        let (usage, of, request) = (Cores(usage), Cores(of), request.map(Cores));
        Cause { rule, seconds, usage, basis, of, container, bound_by, request, working_set: None }
    }
}

prop_compose! {
    fn cpu_load()(
        band in proptest::sample::select(Band::ALL.to_vec()),
        basis in proptest::option::of(proptest::sample::select(Basis::ALL.to_vec())),
        utilization in proptest::option::of(finite()),
        cores in proptest::option::of(finite()),
        since in proptest::option::of(0_i64..4_000_000_000),
        reason in proptest::option::of(proptest::sample::select(UnknownReason::ALL.to_vec())),
        cause in proptest::option::of(cause()),
    ) -> CpuLoad {
        let since = since.map(|s| Timestamp::from_second(s).unwrap());
        CpuLoad { band, basis, utilization, usage: cores.map(Cores), since, reason, cause, ..CpuLoad::default() }
    }
}

prop_compose! {
    fn container()(
        id in "[0-9a-f]{64}",
        limit in proptest::option::of(prop_oneof![Just(Limit::Unlimited), finite().prop_map(|v| Limit::Of(Cores(v)))]),
        throttled in proptest::option::of(finite()),
        working_set in proptest::option::of(any::<u64>()),
        memory_limit in proptest::option::of(prop_oneof![Just(Limit::Unlimited), any::<u64>().prop_map(|v| Limit::Of(Bytes(v)))]),
        events in proptest::option::of((any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>())),
        window in proptest::option::of(finite()),
    ) -> ContainerReport {
        ContainerReport {
            id: ContainerId::new(&id).unwrap(),
            cpu: ContainerCpu { limit_cores: limit, throttled, ..ContainerCpu::default() },
            memory: ContainerMemory {
                working_set: working_set.map(Bytes),
                limit: memory_limit,
                events: events.map(|(high, max, oom_kill)| MemoryEvents { high, max, oom_kill }),
                ..ContainerMemory::default()
            },
            limits_age: None,
            window,
        }
    }
}

prop_compose! {
    fn reports()(
        seq: u64, full: bool, roster_version: u64, roster_process in proptest::option::of("[0-9a-f]{16}"),
        pods in proptest::collection::vec((cpu_load(), proptest::collection::vec(container(), 0..3)), 0..4),
    ) -> Report {
        let pods = pods.into_iter().map(|(cpu, containers)| {
            let (uid, memory) = (PodUid::new(UID).unwrap(), MemoryLoad::default());
            PodReport { uid, cpu, memory, containers, cgroup: None }
        });
        Report { seq, full, roster_version, roster_process, pods: pods.collect(), ..report(&smallest()) }
    }
}

prop_compose! {
    fn answers()(
        roster_version: u64, roster_process in proptest::option::of("[0-9a-f]{16}"), managed: bool, running: bool, generation: u32, id in "[0-9a-f]{64}",
        cpu in proptest::option::of(proptest::sample::select(Band::ALL.to_vec())),
        request in proptest::option::of(finite()),
        kind in proptest::sample::select(vec![
            ContainerKind::App, ContainerKind::Sidecar, ContainerKind::Init, ContainerKind::Ephemeral,
        ]),
        reason in proptest::sample::select(PodRejection::ALL.to_vec()),
    ) -> Answer {
        let container = RosterContainer {
            id: ContainerId::new(&id).unwrap(), name: "app".into(), kind, running, generation,
            cpu_request: request.map(Cores), memory_request: None,
        };
        let uid = PodUid::new(UID).unwrap();
        let pod = RosterPod {
            uid: uid.clone(), namespace: "shop".into(), name: "web".into(), managed,
            bands: Bands { cpu, memory: None }, containers: vec![container],
        };
        Answer { roster_version, roster_process, roster: vec![pod], rejected: vec![RejectedPod { uid, reason }] }
    }
}

proptest! {
    #[test]
    fn a_report_reads_back_as_it_was_written(report in reports()) {
        let text = serde_json::to_string(&report).unwrap();
        prop_assert!(!text.contains("null"), "absent is left out, never null: {text}");
        prop_assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn an_answer_reads_back_as_it_was_written(answer in answers()) {
        let text = serde_json::to_string(&answer).unwrap();
        prop_assert!(!text.contains("null"), "{text}");
        prop_assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
    }

    #[test]
    fn no_body_makes_reading_panic(body in "\\PC{0,200}") {
        let _ = serde_json::from_str::<Report>(&body);
    }
}
