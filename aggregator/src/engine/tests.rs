use std::panic::{AssertUnwindSafe, catch_unwind};

use plimsoll_contract::load::{CpuLoad, MemoryLoad};
use plimsoll_contract::report::{Capacity, PodReport, VERSION};
use plimsoll_contract::{Band, Basis, Bytes, Cores, NodeName, PodUid, Report};
use plimsoll_sizing::policy::Policy;

use super::*;
use crate::facts::{ClassFacts, NamespaceFacts, NodeFacts, PodFacts};
use crate::input::WatchEvent;
use crate::settings::{ResizeSettings, Settings};

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";

fn pod() -> PodFacts {
    PodFacts {
        cgroup_uid: PodUid::new(UID).ok(),
        node: NodeName::new("n1").ok(),
        ..PodFacts::bare("shop", "web", UID)
    }
}

pub(crate) fn report() -> Report {
    let cpu =
        CpuLoad { band: Band::High, basis: Some(Basis::Node), utilization: Some(0.8), ..CpuLoad::default() };
    let memory = MemoryLoad {
        band: Band::Low,
        basis: Some(Basis::Node),
        utilization: Some(0.1),
        ..MemoryLoad::default()
    };
    let load =
        PodReport { uid: PodUid::new(UID).unwrap(), cpu, memory, containers: Vec::new(), cgroup: None };
    Report {
        version: VERSION,
        node: NodeName::new("n1").unwrap(),
        boot: "b".to_owned(),
        seq: 1,
        full: true,
        roster_version: 0,
        roster_process: None,
        capacity: Capacity { cores: Cores(4.0), bytes: Bytes(1 << 30), cpus: None, available_bytes: None },
        pods: vec![load],
    }
}

/// An engine that knows a pod, a node and a namespace, and leads.
pub(crate) fn leading() -> (Engine, Outputs) {
    let (engine, outputs) = Engine::new(Core::new(Settings::default()), None);
    let shop = NamespaceFacts::bare("shop");
    let inputs = [
        Input::Nodes(WatchEvent::Listed(vec![NodeFacts::bare("n1")])),
        Input::Namespaces(WatchEvent::Listed(vec![shop])),
        Input::Pods(WatchEvent::Listed(vec![pod()])),
        Input::Paused(false),
        Input::Leading(Some(7)),
    ];
    inputs.into_iter().for_each(|input| engine.submit(input));
    (engine, outputs)
}

#[tokio::test]
async fn a_report_is_answered_and_becomes_one_write_in_the_queue() {
    let (engine, mut outputs) = leading();
    let answer = engine.report("agent".to_owned(), report()).unwrap();
    assert_eq!(answer.roster.len(), 1);
    let write = outputs.writes.try_recv().unwrap();
    assert_eq!((write.uid.as_str(), write.labels()["plimsoll.dev/cpu-band"].as_str()), (UID, "high"));
    assert!(outputs.writes.try_recv().is_err(), "one write");
    assert_eq!(engine.ask(|core, _| core.gauges().in_flight), 1);
}

#[tokio::test]
async fn of_the_same_report_twice_the_second_is_rejected_and_the_first_alone_accepted() {
    let (engine, _outputs) = leading();
    let results = [engine.report("agent".to_owned(), report()), engine.report("agent".to_owned(), report())];
    assert!(results[0].is_ok());
    assert_eq!(
        results[1],
        Err(Rejection::OldSequence { node: NodeName::new("n1").unwrap(), got: 1, have: 1 })
    );
}

#[tokio::test(start_paused = true)]
async fn ticks_are_recorded_as_heartbeats_until_the_shutdown() {
    let (engine, _outputs) = leading();
    let shutdown = Shutdown::new();
    let ticking = tokio::spawn(engine.clone().tick(shutdown.clone()));
    for _ in 0..3 {
        tokio::time::sleep(TICK).await;
        assert!(engine.heartbeat().age(Instant::now().into_std()) <= TICK);
    }
    shutdown.trigger();
    ticking.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_a_panic_under_the_lock_the_tick_ends_with_an_error() {
    let (engine, _outputs) = leading();
    let broken = catch_unwind(AssertUnwindSafe(|| engine.ask(|_, _| panic!("a defect"))));
    assert!(broken.is_err());
    let error = engine.tick(Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[tokio::test]
async fn the_ledger_counts_every_pod_and_lets_reports_in_between() {
    let settings = Settings { resize: ResizeSettings::new(true), ..Settings::default() };
    let (engine, _outputs) = Engine::new(Core::new(settings), None);
    let policy = Ok(Policy::builtin("gold").unwrap());
    let gold = ClassFacts { name: "gold".into(), uid: None, generation: None, policy };
    let shop = NamespaceFacts { class: Some("gold".into()), ..NamespaceFacts::bare("shop") };
    let count = 5 * PAGE + 1;
    let pods = (0..count).map(|n| PodFacts::bare("shop", &format!("p{n}"), &format!("u{n}"))).collect();
    engine.submit(Input::Namespaces(WatchEvent::Listed(vec![shop])));
    engine.submit(Input::Classes(WatchEvent::Listed(vec![gold])));
    engine.submit(Input::Pods(WatchEvent::Listed(pods)));
    let counting = tokio::spawn(async move { engine.ledger().await });
    let mut turns = 0;
    while !counting.is_finished() {
        turns += 1;
        yield_now().await;
    }
    assert_eq!(counting.await.unwrap()[0].counts.pods, i64::try_from(count).unwrap());
    assert!(turns > 5, "one page at a time: {turns}");
}
