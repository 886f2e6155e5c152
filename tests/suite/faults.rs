//! Faults of the API server. Afterwards all labels are correct, and none was ever wrong.

use std::time::Duration;

use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Entry, Fault, Matching, Resource, Verb, Write};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{HIGH, Harness, LOW, MODERATE, NAMESPACE, aggregator, applies, pod};

fn our_writes() -> Matching {
    Matching::writes().resource("pods").user(&aggregator())
}

fn answer(code: u16, retry_after: Option<u64>) -> Fault {
    Fault::Answer { code, retry_after }
}

fn codes(writes: &[Entry]) -> Vec<Option<u16>> {
    writes.iter().map(|write| write.code).collect()
}

#[tokio::test]
async fn an_internal_error_is_retried_with_increasing_pauses() {
    let harness = Harness::start().await;
    harness.cluster.api().faults().next(2, our_writes(), answer(500, None));
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    harness.quiet().await;
    let writes = harness.writes();
    assert_eq!(codes(&writes), [Some(500), Some(500), Some(200)]);
    let pauses = [writes[1].at - writes[0].at, writes[2].at - writes[1].at];
    assert!(
        pauses[0] >= Duration::from_millis(900) && pauses[1] >= Duration::from_millis(1800),
        "{pauses:?}"
    );
    assert_eq!(harness.metric("plimsoll_aggregator_writes_total{outcome=\"failed\"}").await, 2.0);
    harness.shutdown().await;
}

#[tokio::test]
async fn a_write_is_retried_after_the_retry_after_of_a_busy_server() {
    let harness = Harness::start().await;
    harness.cluster.api().faults().next(1, our_writes(), answer(429, Some(3)));
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let writes = harness.writes();
    assert_eq!(codes(&writes), [Some(429), Some(200)]);
    let pause = writes[1].at - writes[0].at;
    assert!(pause >= Duration::from_millis(2900), "{pause:?}");
    assert_eq!(harness.metric("plimsoll_aggregator_writes_total{outcome=\"throttled\"}").await, 1.0);
    harness.shutdown().await;
}

#[tokio::test]
async fn a_key_that_a_user_owns_remains_and_the_others_are_written() {
    let harness = Harness::start().await;
    let mut web = pod("web", HIGH);
    web["metadata"]["labels"] = json!({keys::CPU_BAND: "mine"});
    harness.cluster.api().store().create_as(&Resource::PODS, web, &Write::by("kubectl-create")).unwrap();
    harness.until("the memory band", async || harness.keys("web").contains_key(keys::MEMORY_BAND)).await;
    harness.set_load("web", LOW);
    harness.quiet().await;

    let keys = harness.keys("web");
    assert_eq!(keys[keys::CPU_BAND], "mine");
    assert_eq!((keys[keys::MEMORY_BAND].as_str(), keys[keys::MEMORY_BASIS].as_str()), ("low", "limit"));
    assert!(keys.contains_key(keys::EVIDENCE) && keys.contains_key(keys::EPOCH), "{keys:?}");
    assert!(!keys.contains_key(keys::CPU_BASIS), "a basis without its band is meaningless: {keys:?}");
    assert_eq!(codes(&harness.writes()), [Some(409), Some(200)]);
    let conflicts = harness.status("web").await.conflicts;
    assert_eq!(conflicts[0].to_string(), "plimsoll.dev/cpu-band (kubectl-create)");
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    harness.until("the count", async || harness.metric("plimsoll_aggregator_conflicts").await == 1.0).await;
    let recorded = async || {
        let events =
            harness.cluster.api().store().list(&Resource::EVENTS, Some(NAMESPACE), &Default::default());
        events.unwrap().iter().any(|event| {
            let conflict = event["involvedObject"]["name"] == "web" && event["reason"] == "LabelConflict";
            let message = event["message"].as_str().unwrap();
            conflict
                && message.contains("plimsoll.dev/cpu-band (kubectl-create)")
                && message.contains("kubectl label pod web -n demo plimsoll.dev/cpu-band-")
        })
    };
    harness.until("an Event that names the key, its manager and the cure", recorded).await;
    harness.shutdown().await;
}

#[tokio::test]
async fn a_write_without_an_answer_is_retried() {
    let harness = Harness::start().await;
    harness.cluster.api().faults().next(1, our_writes(), Fault::Hang(Duration::from_secs(30)));
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    harness.quiet().await;
    assert_eq!(codes(&harness.writes()), [None, Some(200)]);
    assert_eq!(harness.metric("plimsoll_aggregator_writes_total{outcome=\"timeout\"}").await, 1.0);
    harness.shutdown().await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_has_no_second_effect() {
    let harness = Harness::start().await;
    harness.cluster.api().faults().next(1, our_writes(), Fault::LoseAnswer);
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let version = harness.version("web");
    sleep(Duration::from_secs(2)).await;
    harness.quiet().await;
    let writes = harness.writes();
    assert!(!writes[0].answered && writes[0].succeeded(), "{:?}", writes[0]);
    assert_eq!(harness.version("web"), version, "a retry does not change the pod");
    harness.set_load("web", MODERATE);
    harness.labeled("web", "moderate").await;
    harness.shutdown().await;
}

#[tokio::test]
async fn an_expired_or_silent_watch_causes_no_write_and_loses_no_label() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    let watch = || Matching::any().verb(Verb::Watch).resource("pods").user(&aggregator());
    harness.cluster.api().faults().next(1, watch(), Fault::Expire);
    let restarts = "plimsoll_aggregator_watch_restarts_total{resource=\"pods\"}";
    harness.until("a new list", async || harness.metric(restarts).await >= 1.0).await;
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 1, "a list alone causes no write");

    harness.cluster.api().faults().always(watch(), Fault::Silence);
    harness.set_load("web", MODERATE);
    harness.labeled("web", "moderate").await;
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 2, "the result of a write is used before a watch shows it");
    harness.shutdown().await;
}

#[tokio::test]
async fn after_ten_seconds_without_an_api_server_every_label_is_correct() {
    let harness = Harness::start().await;
    harness.create_pod("falls", HIGH);
    harness.create_pod("rises", LOW);
    harness.create_pod("stays", MODERATE);
    for (name, band) in [("falls", "high"), ("rises", "low"), ("stays", "moderate")] {
        harness.labeled(name, band).await;
    }
    let ours = || Matching::any().user(&aggregator());
    let faults = harness.cluster.api().faults();
    faults.always(ours(), Fault::Drop);
    faults.always(ours().verb(Verb::Watch), Fault::Close);
    harness.set_load("falls", LOW);
    harness.set_load("rises", HIGH);
    sleep(Duration::from_secs(10)).await;
    assert!(harness.writes().iter().skip(3).all(|write| !write.succeeded()));
    faults.clear();
    harness.labeled("falls", "low").await;
    harness.labeled("rises", "high").await;
    harness.quiet().await;

    let wrote = |name: &str, band: &str| {
        let writes = harness.writes_on(name);
        writes.iter().filter(|write| write.succeeded() && applies(write, band)).count()
    };
    assert_eq!((wrote("falls", "high"), wrote("falls", "low")), (1, 1));
    assert_eq!((wrote("rises", "low"), wrote("rises", "high")), (1, 1));
    assert_eq!(harness.writes_on("stays").len(), 1);
    let done = harness.writes().iter().filter(|write| write.succeeded()).count();
    assert_eq!(done, 5, "nothing else was written");
    assert!(
        harness.writes().len() <= 5 + 2 * 5,
        "retries with increasing pauses: {}",
        harness.writes().len()
    );
    harness.shutdown().await;
}
