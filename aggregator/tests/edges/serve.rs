//! What people, Prometheus and probes are told.

use std::time::Duration;

use http_body_util::BodyExt;
use plimsoll_contract::status::{Decision, NodeStatus, PodStatus};
use plimsoll_sandbox::api::{Fault, Matching};
use tokio::time::timeout;

use super::wire;
use super::world::{World, cluster};

#[tokio::test]
async fn every_path_answers_with_the_documents_of_the_contract() {
    let world = World::start().await;
    world.say("high").await;
    world.labeled("high").await;
    let pods: Vec<PodStatus> = serde_json::from_str(&world.get("/v1/pods").await.text).unwrap();
    assert!(pods.iter().any(|pod| pod.name == "web" && pod.cpu.band.as_str() == "high"));
    let pod: PodStatus = serde_json::from_str(&world.get("/v1/pods/shop/web").await.text).unwrap();
    assert_eq!(pod.uid, world.uid("shop", "web"));
    let nodes: Vec<NodeStatus> = serde_json::from_str(&world.get("/v1/nodes").await.text).unwrap();
    assert_eq!(nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(nodes[0].report_age.is_some() && nodes[1].report_age.is_none());
    let _: Vec<Decision> = serde_json::from_str(&world.get("/v1/decisions").await.text).unwrap();
    assert_eq!(world.get("/livez").await.code, 200);
    assert_eq!(world.get("/readyz").await.code, 200);
    assert_eq!(world.get("/").await.code, 200);
    world.stop().await;
}

#[tokio::test]
async fn nothing_can_be_changed_and_what_is_not_there_is_said_with_a_hint() {
    let world = World::start().await;
    for path in ["/v1/pods", "/metrics", "/v1/reports", "/nowhere"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let reply = wire::plain(world.plain, method, path).await;
            assert_eq!((reply.code, reply.header("allow")), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    for path in ["/nowhere", "/v1/pods/shop/none", "/v1/pods/shop"] {
        let reply = world.get(path).await;
        assert_eq!(reply.code, 404, "{path}");
        assert!(reply.json()["hint"].as_str().unwrap().contains("/v1/pods"), "{path}");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_metrics_count_what_happened_and_every_series_is_there_from_the_start() {
    let world = World::start().await;
    assert_eq!(world.metric("plimsoll_aggregator_writes_total{outcome=\"conflict\"}").await, 0.0);
    assert_eq!(world.metric("plimsoll_aggregator_refusals_total{reason=\"quarantined\"}").await, 0.0);
    world.say("high").await;
    world.labeled("high").await;
    world.decided("written").await;
    assert_eq!(world.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await, 1.0);
    assert_eq!(world.metric("plimsoll_aggregator_pods{band=\"high\",resource=\"cpu\"}").await, 1.0);
    assert_eq!(world.metric("plimsoll_aggregator_nodes{state=\"reporting\"}").await, 2.0);
    assert_eq!(world.metric("plimsoll_aggregator_in_flight_writes").await, 0.0);
    assert_eq!(world.metric("plimsoll_aggregator_write_seconds_count").await, 1.0);
    assert!(world.get("/metrics").await.text.contains("plimsoll_build_info{"));
    world.stop().await;
}

#[tokio::test]
async fn the_stream_tells_what_is_and_then_what_changes() {
    let world = World::start().await;
    let response = wire::open(world.plain, "/v1/stream").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let frame = timeout(Duration::from_secs(10), body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("no {wanted} in {text}")).unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        text.clear();
    };
    read_until("\"name\":\"web\"").await;
    assert_eq!(world.metric("plimsoll_aggregator_streams").await, 1.0);
    world.say("high").await;
    read_until("event: decision").await;
    world.say("low").await;
    read_until("\"band\":\"low\",\"basis\":\"limit\"").await;
    world.stop().await;
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more_until_one_ends() {
    let world = World::start().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let response = wire::open(world.plain, "/v1/stream").await;
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let refused = world.get("/v1/stream").await;
    assert_eq!((refused.code, refused.header("retry-after")), (503, "10"));
    assert_eq!(world.metric("plimsoll_aggregator_streams_refused_total").await, 1.0);
    open.clear();
    world.until("the places", async || world.metric("plimsoll_aggregator_streams").await == 0.0).await;
    assert_eq!(wire::open(world.plain, "/v1/stream").await.status(), 200);
    world.stop().await;
}

#[tokio::test]
async fn not_ready_says_what_is_missing_and_reports_are_told_to_come_again() {
    let api = cluster().await;
    api.faults()
        .always(Matching::any().resource("namespaces"), Fault::Answer { code: 403, retry_after: None });
    let world = World::around(api, |_| {}).await;
    world
        .until("the reason", async || {
            let reply = world.get("/readyz").await;
            reply.code == 503 && reply.text.contains("namespaces: not yet") && reply.text.contains("RBAC")
        })
        .await;
    world.until("a certificate", async || !world.bundle().is_empty()).await;
    world
        .until("TLS", async || {
            wire::shake(world.agents, super::world::SERVICE, &world.bundle()).await.is_ok()
        })
        .await;
    let reply = world.post(&world.token("n1"), world.report("n1", "high")).await;
    assert_eq!((reply.code, reply.header("retry-after")), (503, "2"), "{reply:?}");
    assert_eq!(reply.json()["reason"], "not_synced");
    world.api.faults().clear();
    world.ready().await;
    world.say("high").await;
    world.labeled("high").await;
    world.stop().await;
}

#[tokio::test]
async fn a_watch_that_breaks_is_taken_up_again_without_a_write() {
    let world = World::start().await;
    world.say("high").await;
    world.labeled("high").await;
    let writes = world.pod_writes().len();
    world.api.faults().next(1, Matching::any().resource("pods"), Fault::Expire);
    world
        .until("a list", async || {
            world.metric("plimsoll_aggregator_watch_restarts_total{resource=\"pods\"}").await >= 1.0
        })
        .await;
    world.say("high").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.pod_writes().len(), writes, "a list alone writes nothing");
    world.stop().await;
}
