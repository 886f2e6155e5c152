//! The answers to people, Prometheus and probes.

use std::time::Duration;

use plimsoll_contract::status::{AggregatorStatus, Decision, NodeStatus, PodStatus, Withheld};
use plimsoll_sandbox::api::{Fault, Matching, Patch, Resource, Write};
use serde_json::json;

use super::harness::{Harness, SYSTEM, cluster};
use super::wire;

#[tokio::test]
async fn every_path_answers_with_the_documents_of_the_contract() {
    let harness = Harness::start().await;
    harness.say("high").await;
    harness.labeled("high").await;
    let pods: Vec<PodStatus> = serde_json::from_str(&harness.get("/v1/pods").await.text).unwrap();
    assert!(pods.iter().any(|pod| pod.name == "web" && pod.cpu.band.as_str() == "high"));
    let pod: PodStatus = serde_json::from_str(&harness.get("/v1/pods/shop/web").await.text).unwrap();
    assert_eq!(pod.uid, harness.uid("shop", "web"));
    let nodes: Vec<NodeStatus> = serde_json::from_str(&harness.get("/v1/nodes").await.text).unwrap();
    assert_eq!(nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(nodes[0].report_age.is_some() && nodes[1].report_age.is_none());
    let _: Vec<Decision> = serde_json::from_str(&harness.get("/v1/decisions").await.text).unwrap();
    assert_eq!(harness.get("/livez").await.code, 200);
    assert_eq!(harness.get("/readyz").await.code, 200);
    assert_eq!(harness.get("/").await.code, 200);
    harness.stop().await;
}

#[tokio::test]
async fn nothing_can_be_changed_and_what_is_not_there_is_said_with_a_hint() {
    let harness = Harness::start().await;
    for path in ["/v1/pods", "/metrics", "/v1/reports", "/nowhere"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let reply = wire::plain(harness.plain, method, path).await;
            assert_eq!((reply.code, reply.header("allow")), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    for path in ["/nowhere", "/v1/pods/shop/none", "/v1/pods/shop"] {
        let reply = harness.get(path).await;
        assert_eq!(reply.code, 404, "{path}");
        assert!(reply.json()["hint"].as_str().unwrap().contains("/v1/pods"), "{path}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn the_metrics_count_what_happened_and_every_series_is_there_from_the_start() {
    let harness = Harness::start().await;
    assert_eq!(harness.metric("plimsoll_aggregator_writes_total{outcome=\"conflict\"}").await, 0.0);
    assert_eq!(harness.metric("plimsoll_aggregator_refusals_total{reason=\"quarantined\"}").await, 0.0);
    harness.say("high").await;
    harness.labeled("high").await;
    harness.decided("written").await;
    assert_eq!(harness.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await, 1.0);
    let high = "plimsoll_aggregator_pods{band=\"high\",resource=\"cpu\"}";
    harness.until("the count", async || harness.metric(high).await == 1.0).await;
    assert_eq!(harness.metric("plimsoll_aggregator_nodes{state=\"reporting\"}").await, 2.0);
    assert_eq!(harness.metric("plimsoll_aggregator_in_flight_writes").await, 0.0);
    assert_eq!(harness.metric("plimsoll_aggregator_write_seconds_count").await, 1.0);
    assert!(harness.get("/metrics").await.text.contains("plimsoll_build_info{"));
    harness.stop().await;
}

#[tokio::test]
async fn clients_that_poll_are_told_in_a_few_bytes_that_nothing_changed() {
    let harness = Harness::start().await;
    harness.say("high").await;
    harness.labeled("high").await;
    harness.decided("written").await;
    for path in ["/v1/pods", "/v1/decisions"] {
        let first = harness.get(path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let again = wire::plain_with(harness.plain, "GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!(
            (again.code, again.text.as_str(), again.header("etag")),
            (304, "", tag.as_str()),
            "{path}"
        );
    }
    let tag = harness.get("/v1/pods").await.header("etag").to_owned();
    harness.say("high").await;
    let changed = wire::plain_with(harness.plain, "GET", "/v1/pods", &[("if-none-match", &tag)]).await;
    assert_eq!(changed.code, 200, "a new report");
    harness.stop().await;
}

#[tokio::test]
async fn the_status_says_who_leads_and_why_nothing_is_written() {
    let harness = Harness::start().await;
    let status =
        async || -> AggregatorStatus { serde_json::from_str(&harness.get("/v1/status").await.text).unwrap() };
    let writing = status().await;
    assert!(writing.leading && writing.epoch.is_some(), "{writing:?}");
    assert_eq!((writing.leader.as_ref(), writing.withheld), (Some(&writing.replica), None));
    assert_eq!(
        (writing.paused, writing.nodes.reporting, writing.output.as_str()),
        (Some(false), 2, "labels")
    );

    let tag = harness.get("/v1/status").await.header("etag").to_owned();
    let unchanged = wire::plain_with(harness.plain, "GET", "/v1/status", &[("if-none-match", &tag)]).await;
    assert_eq!((unchanged.code, unchanged.text.as_str()), (304, ""));
    let pause = Patch::Merge(json!({"data": {"paused": "true"}}));
    let by = Write::by("kubectl");
    harness.api.store().patch(&Resource::CONFIG_MAPS, SYSTEM, "plimsoll-control", &pause, &by).unwrap();
    harness.until("the pause", async || status().await.paused == Some(true)).await;
    let changed = wire::plain_with(harness.plain, "GET", "/v1/status", &[("if-none-match", &tag)]).await;
    assert_eq!(changed.code, 200);
    let paused = status().await;
    assert_eq!((paused.withheld, paused.leading), (Some(Withheld::Paused), true));
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_node_and_an_invalid_label_are_events_on_their_objects() {
    let short = Duration::from_secs(2);
    let harness = Harness::around(cluster().await, |config| config.settings.silent_after = short).await;
    harness.ready().await;
    harness.say("high").await;
    let store = harness.api.store();
    let label = Patch::Merge(json!({"metadata": {"labels": {"plimsoll.dev/ignore": "yes"}}}));
    let by = Write::by("kubectl");
    store.patch(&Resource::NAMESPACES, "", "shop", &label, &by).unwrap();
    let uid =
        |resource: &Resource, name: &str| store.get(resource, "", name).unwrap()["metadata"]["uid"].clone();
    let expected = [
        ("AgentSilent", "Node", "n1", uid(&Resource::NODES, "n1")),
        ("InvalidIgnore", "Namespace", "shop", uid(&Resource::NAMESPACES, "shop")),
    ];
    for (reason, kind, name, uid) in expected {
        let about = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        let is = async || {
            let events = store.list(&Resource::EVENTS, Some("default"), &Default::default()).unwrap();
            let mut all = events.iter();
            all.any(|event| {
                event["reason"] == reason && event["involvedObject"] == about && event["type"] == "Warning"
            })
        };
        harness.until(reason, is).await;
    }
    harness.stop().await;
}

#[tokio::test]
async fn not_ready_says_what_is_missing_and_reports_are_told_to_come_again() {
    let api = cluster().await;
    api.faults()
        .always(Matching::any().resource("namespaces"), Fault::Answer { code: 403, retry_after: None });
    let harness = Harness::around(api, |_| {}).await;
    harness
        .until("the reason", async || {
            let reply = harness.get("/readyz").await;
            reply.code == 503 && reply.text.contains("namespaces: not yet") && reply.text.contains("RBAC")
        })
        .await;
    harness.until("a certificate", async || !harness.bundle().is_empty()).await;
    harness
        .until("TLS", async || {
            wire::shake(harness.agents, super::harness::SERVICE, &harness.bundle()).await.is_ok()
        })
        .await;
    let reply = harness.post(&harness.token("n1"), harness.report("n1", "high")).await;
    assert_eq!((reply.code, reply.header("retry-after")), (503, "2"), "{reply:?}");
    assert_eq!(reply.json()["reason"], "not_synced");
    harness.api.faults().clear();
    harness.ready().await;
    harness.say("high").await;
    harness.labeled("high").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_watch_that_breaks_is_taken_up_again_without_a_write() {
    let harness = Harness::start().await;
    harness.say("high").await;
    harness.labeled("high").await;
    let writes = harness.pod_writes().len();
    harness.api.faults().next(1, Matching::any().resource("pods"), Fault::Expire);
    harness
        .until("a list", async || {
            harness.metric("plimsoll_aggregator_watch_restarts_total{resource=\"pods\"}").await >= 1.0
        })
        .await;
    harness.say("high").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(harness.pod_writes().len(), writes, "a list alone writes nothing");
    harness.stop().await;
}
