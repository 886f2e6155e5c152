use std::panic::{AssertUnwindSafe, catch_unwind};

use plimsoll_contract::report::{Capacity, CpuLoad, MemoryLoad, PodReport, VERSION};
use plimsoll_contract::{Band, Basis, Bytes, Cores, NodeName, PodUid, Report};

use super::*;
use crate::input::{NamespaceFacts, PodFacts};
use crate::settings::Settings;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";

fn pod() -> PodFacts {
    PodFacts {
        cgroup_uid: PodUid::new(UID).ok(),
        node: NodeName::new("n1").ok(),
        ..PodFacts::bare("shop", "web", UID)
    }
}

fn report() -> Report {
    let cpu =
        CpuLoad { band: Band::High, basis: Some(Basis::Node), utilization: Some(0.8), ..CpuLoad::default() };
    let memory = MemoryLoad {
        band: Band::Low,
        basis: Some(Basis::Node),
        utilization: Some(0.1),
        ..MemoryLoad::default()
    };
    let load = PodReport { uid: PodUid::new(UID).unwrap(), cpu, memory, containers: Vec::new() };
    Report {
        version: VERSION,
        node: NodeName::new("n1").unwrap(),
        boot: "b".to_owned(),
        seq: 1,
        full: true,
        roster_version: 0,
        capacity: Capacity { cores: Cores(4.0), bytes: Bytes(1 << 30) },
        pods: vec![load],
    }
}

/// An engine that knows a pod, a node and a namespace, and leads.
fn leading() -> (Engine, Outlets) {
    let (engine, outlets) = Engine::new(Core::new(Settings::default()), None);
    let shop = NamespaceFacts { name: "shop".to_owned(), ignored: false, class: None };
    let node = NodeName::new("n1").unwrap();
    let inputs =
        [Input::NodesListed(vec![node]), Input::NamespacesListed(vec![shop]), Input::PodsListed(vec![pod()])];
    inputs.into_iter().chain([Input::Leading(Some(7))]).for_each(|input| engine.submit(input));
    (engine, outlets)
}

#[tokio::test]
async fn a_report_becomes_one_write_in_the_queue_and_wakes_whoever_waits() {
    let (engine, mut outlets) = leading();
    let mut changes = engine.changes();
    assert!(!changes.has_changed().unwrap());
    engine.submit(Input::Reported(Box::new(report())));
    let write = outlets.writes.try_recv().unwrap();
    assert_eq!((write.uid.as_str(), write.labels["plimsoll.dev/cpu-band"].as_str()), (UID, "high"));
    assert!(outlets.writes.try_recv().is_err(), "one write");
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(engine.ask(Core::gauges).in_flight, 1);
}

#[tokio::test]
async fn a_write_that_finds_no_place_is_a_failed_one_and_not_in_flight() {
    let (engine, outlets) = leading();
    drop(outlets);
    engine.submit(Input::Reported(Box::new(report())));
    assert_eq!(engine.ask(Core::gauges).in_flight, 0);
    let outcomes: Vec<_> =
        engine.ask(|core, _| core.decisions()).into_iter().map(|decision| decision.outcome).collect();
    assert_eq!(outcomes, ["failed"]);
}

#[tokio::test(start_paused = true)]
async fn ticks_touch_the_beat_until_the_shutdown() {
    let (engine, _outlets) = leading();
    let shutdown = Shutdown::new();
    let ticking = tokio::spawn(engine.clone().tick(shutdown.clone()));
    let mut changes = engine.changes();
    changes.mark_unchanged();
    for _ in 0..3 {
        changes.changed().await.unwrap();
    }
    shutdown.trigger();
    ticking.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_a_panic_under_the_lock_the_tick_ends_with_an_error() {
    let (engine, _outlets) = leading();
    let broken = catch_unwind(AssertUnwindSafe(|| engine.ask(|_, _| panic!("a defect"))));
    assert!(broken.is_err());
    let error = engine.tick(Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}
