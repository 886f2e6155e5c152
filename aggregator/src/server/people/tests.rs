//! Reports beside many clients of the port for people, in a large cluster.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use plimsoll_contract::report::{PodReport, VERSION};
use plimsoll_contract::{NodeName, PodUid, Report};
use plimsoll_process::metrics::registry;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::*;
use crate::core::Core;
use crate::decisions::KEPT;
use crate::engine::Outputs;
use crate::engine::tests::report;
use crate::facts::{NamespaceFacts, NodeFacts, PodFacts};
use crate::input::{Input, Outcome, WatchEvent, WriteResult};
use crate::readiness::Readiness;
use crate::settings::{BudgetSettings, Settings};

const NODES: usize = 400;
const PODS_PER_NODE: usize = 50;
const PATHS: [&str; 6] =
    ["/metrics", "/v1/status", "/v1/nodes", "/v1/pods", "/v1/pods/shop/pod-7", "/v1/decisions"];
/// As many as the port works on at the same time.
const CLIENTS: usize = 32;
/// Reports of which the mean is taken.
const REPORTS: usize = 40;
/// How much longer a report may take beside the clients: it waits for one answer, or page of a list, and for a thread.
const RATIO: u32 = 20;

fn uid(pod: usize) -> PodUid {
    PodUid::new(&format!("{pod:08x}-0000-4000-8000-000000000000")).unwrap()
}

fn node(number: usize) -> NodeName {
    NodeName::new(&format!("n{number}")).unwrap()
}

fn pod(number: usize) -> PodFacts {
    PodFacts {
        cgroup_uid: Some(uid(number)),
        node: Some(node(number / PODS_PER_NODE)),
        ..PodFacts::bare("shop", &format!("pod-{number}"), uid(number).as_str())
    }
}

/// A report of all pods of a node.
fn report_of(number: usize, seq: u64) -> Report {
    let load = &report().pods[0];
    let pods = (number * PODS_PER_NODE..(number + 1) * PODS_PER_NODE)
        .map(|pod| PodReport { uid: uid(pod), ..load.clone() });
    Report { version: VERSION, node: node(number), seq, pods: pods.collect(), ..report() }
}

/// A leader that knows 20,000 pods, and whose decision log is full.
fn large() -> (Engine, Outputs) {
    let quick = BudgetSettings {
        base_milli: 1 << 30,
        most_milli: 1 << 30,
        burst: 1 << 20,
        in_flight: 1 << 20,
        ..BudgetSettings::default()
    };
    let (engine, mut outputs) =
        Engine::new(Core::new(Settings { budget: quick, ..Settings::default() }), None);
    let inputs = [
        Input::Nodes(WatchEvent::Listed((0..NODES).map(|n| NodeFacts::bare(node(n).as_str())).collect())),
        Input::Namespaces(WatchEvent::Listed(vec![NamespaceFacts::bare("shop")])),
        Input::Pods(WatchEvent::Listed((0..NODES * PODS_PER_NODE).map(pod).collect())),
        Input::Paused(false),
        Input::Leading(Some(7)),
    ];
    inputs.into_iter().for_each(|input| engine.submit(input));
    for number in 0..=KEPT / PODS_PER_NODE {
        engine.report(format!("agent-{number}"), report_of(number, 1)).unwrap();
        while let Ok(write) = outputs.writes.try_recv() {
            let took = Duration::from_millis(5);
            engine.submit(Input::Outcome(Outcome { write: write.id, result: WriteResult::written(), took }));
        }
    }
    assert_eq!(engine.ask(|core, _| core.decisions().len()), KEPT);
    (engine, outputs)
}

fn port(engine: &Engine) -> PeoplePort {
    let registry = registry();
    PeoplePort {
        gauges: CoreGauges::register(&registry).unwrap(),
        engine: engine.clone(),
        registry,
        probes: Probes { engine: engine.clone(), readiness: Readiness::new() },
        replica: "replica".to_owned(),
        holder: watch::channel(None).1,
        answers_made: OneAtATime::default(),
    }
}

async fn get(router: &Router, path: &str) -> usize {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.into_body().collect().await.unwrap().to_bytes().len()
}

/// The mean time until a report is answered.
fn mean(runtime: &Runtime, engine: &Engine, seq: &mut u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..REPORTS {
        *seq += 1;
        let (engine, report) = (engine.clone(), report_of(0, *seq));
        let arrived = Instant::now();
        let answered = runtime.spawn(async move { engine.report("agent-0".to_owned(), report).map(|_| ()) });
        runtime.block_on(answered).unwrap().unwrap();
        spent += arrived.elapsed();
    }
    spent / REPORTS as u32
}

#[test]
fn reports_are_answered_beside_any_number_of_scrapes_and_lists_of_a_large_cluster() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (engine, _outputs) = runtime.block_on(async { large() });
    let router = router(port(&engine));
    let mut seq = 1;
    for path in PATHS {
        let idle = mean(&runtime, &engine, &mut seq);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let router = router.clone();
                runtime.spawn(async move {
                    loop {
                        get(&router, path).await;
                        // As a connection waits for its next request.
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let beside = mean(&runtime, &engine, &mut seq);
        assert!(clients.iter().all(|client| !client.is_finished()), "{path}: a client failed");
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        println!("{path}: {idle:?}, beside {CLIENTS} clients {beside:?}");
        assert!(beside <= idle * RATIO, "{path}: {beside:?} instead of {idle:?}");
    }
}
