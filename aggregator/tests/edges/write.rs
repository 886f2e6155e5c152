//! What is written on pods, and what becomes of it when the API server says something else than yes.

use std::time::Duration;

use plimsoll_sandbox::api::{Fault, FaultId, Matching, Patch, Resource, Verb, Write};
use serde_json::json;
use tokio::time::sleep;

use super::harness::{Harness, SYSTEM, is_apply, pod};

fn go_wrong(harness: &Harness, fault: Fault) -> FaultId {
    harness.api.faults().next(1, Matching::writes().verb(Verb::Apply).resource("pods"), fault)
}

/// Says `high`; the apply that follows is at the server when this returns, and stays there for a while.
async fn with_an_apply_under_way(harness: &Harness) {
    let id = go_wrong(harness, Fault::Delay(Duration::from_secs(2)));
    harness.say("high").await;
    harness.until("the apply", async || harness.api.faults().fired(id) == 1).await;
}

#[tokio::test]
async fn a_report_becomes_labels_by_one_apply_with_the_pods_uid_and_no_more_comes() {
    let harness = Harness::start().await;
    harness.say("high").await;
    harness.labeled("high").await;
    for _ in 0..3 {
        harness.say("high").await;
    }
    harness.decided("written").await;
    sleep(Duration::from_millis(300)).await;
    let writes = harness.pod_writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(is_apply(&writes[0]), "{writes:?}");
    let body = &writes[0].body;
    assert_eq!(body["metadata"]["uid"], json!(harness.uid("shop", "web")));
    assert!(body.get("spec").is_none() && body.get("status").is_none(), "{body}");
    let labels = harness.labels("shop", "web");
    assert_eq!(labels["plimsoll.dev/cpu-band"], "high");
    assert_eq!(labels["plimsoll.dev/cpu-basis"], "limit");
    assert_eq!(labels["plimsoll.dev/memory-band"], "low");
    assert_eq!(labels["app"], "web", "the labels of others stay");
    let pod = harness.api.store().get(&Resource::PODS, "shop", "web").unwrap();
    let epoch: u64 = pod["metadata"]["annotations"]["plimsoll.dev/epoch"].as_str().unwrap().parse().unwrap();
    assert!(epoch > 0);
    assert_eq!(harness.metric("plimsoll_aggregator_writes_total{outcome=\"written\"}").await, 1.0);
    harness.stop().await;
}

#[tokio::test]
async fn a_change_of_band_is_a_second_write_and_the_decisions_tell_both() {
    let harness = Harness::start().await;
    harness.say("high").await;
    harness.labeled("high").await;
    harness.say("low").await;
    harness.labeled("low").await;
    harness.decided("written").await;
    let decisions = harness.get("/v1/decisions").await.json();
    assert_eq!(decisions.as_array().unwrap().len(), 2, "{decisions}");
    assert_eq!(decisions[0]["reason"], "transition", "{decisions}");
    assert_eq!(decisions[1]["reason"], "first", "{decisions}");
    assert!(decisions[0]["tookMs"].is_u64(), "{decisions}");
    harness.stop().await;
}

#[tokio::test]
async fn a_key_that_somebody_else_owns_is_left_to_them_and_the_rest_is_written() {
    let harness = Harness::start().await;
    let theirs =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"plimsoll.dev/cpu-band": "mine"}}});
    let apply = Patch::Apply(theirs);
    harness.api.store().patch(&Resource::PODS, "shop", "web", &apply, &Write::by("helm")).unwrap();
    harness.say("high").await;
    harness
        .until("the other keys", async || harness.labels("shop", "web")["plimsoll.dev/memory-band"] == "low")
        .await;
    assert_eq!(harness.cpu_band(), "mine");
    let status = harness.get("/v1/pods/shop/web").await.json();
    let conflict = json!({"key": "plimsoll.dev/cpu-band", "manager": "helm"});
    assert_eq!(status["conflicts"], json!([conflict]), "{status}");
    assert!(harness.pod_writes().iter().all(is_apply), "never forced, never another verb");
    harness
        .until("an Event", async || {
            harness.api.journal().find(|entry| entry.resource == "events" && entry.succeeded()).len() == 1
        })
        .await;
    harness.stop().await;
}

#[tokio::test]
async fn a_server_that_says_no_or_nothing_is_tried_again_and_the_label_is_right_in_the_end() {
    let faults = [
        (Fault::Answer { code: 429, retry_after: Some(1) }, "throttled"),
        (Fault::Answer { code: 500, retry_after: None }, "failed"),
        (Fault::Drop, "failed"),
        (Fault::Hang(Duration::from_secs(8)), "timeout"),
        (Fault::LoseAnswer, "failed"),
    ];
    for (fault, outcome) in faults {
        let harness = Harness::start().await;
        let id = go_wrong(&harness, fault.clone());
        harness.say("high").await;
        let series = format!("plimsoll_aggregator_writes_total{{outcome=\"{outcome}\"}}");
        harness.until(&format!("outcome {outcome}"), async || harness.metric(&series).await == 1.0).await;
        assert_eq!(harness.api.faults().fired(id), 1, "{fault:?}");
        harness.labeled("high").await;
        // No hidden layer repeats a write: the applies are those that the core decided on.
        assert!(harness.pod_writes().len() <= 2, "{fault:?}: {:?}", harness.pod_writes());
        harness.stop().await;
    }
}

#[tokio::test]
async fn a_pod_made_again_under_the_same_name_is_not_touched_by_what_was_meant_for_the_old_one() {
    let harness = Harness::start().await;
    with_an_apply_under_way(&harness).await;
    harness.api.store().delete(&Resource::PODS, "shop", "web").unwrap();
    harness.api.store().create(&Resource::PODS, pod("shop", "web", "n1")).unwrap();
    harness.decided("gone").await;
    assert_eq!(harness.cpu_band(), "");
    harness.say("low").await;
    harness.labeled("low").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_gone_is_not_made() {
    let harness = Harness::start().await;
    with_an_apply_under_way(&harness).await;
    harness.api.store().delete(&Resource::PODS, "shop", "web").unwrap();
    harness.decided("gone").await;
    assert!(harness.api.store().get(&Resource::PODS, "shop", "web").is_err());
    harness.stop().await;
}

#[tokio::test]
async fn while_paused_nothing_is_written_and_afterwards_it_is() {
    let harness = Harness::start().await;
    let pause = |paused: &str| {
        let map = json!({"data": {"paused": paused}});
        let patch = Patch::Merge(map);
        let store = harness.api.store();
        store
            .patch(&Resource::CONFIG_MAPS, SYSTEM, "plimsoll-control", &patch, &Write::by("kubectl"))
            .unwrap();
    };
    pause("true");
    harness
        .until("the pause", async || harness.get("/readyz").await.text.contains("withheld (paused)"))
        .await;
    assert_eq!(harness.metric("plimsoll_aggregator_withheld{reason=\"paused\"}").await, 1.0);
    harness.say("high").await;
    harness.assert_silent().await;
    pause("false");
    harness.labeled("high").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_stop_lets_the_write_in_flight_end() {
    let harness = Harness::start().await;
    with_an_apply_under_way(&harness).await;
    let api = harness.stop().await;
    let pod = api.store().get(&Resource::PODS, "shop", "web").unwrap();
    assert_eq!(pod["metadata"]["labels"]["plimsoll.dev/cpu-band"], "high");
}
