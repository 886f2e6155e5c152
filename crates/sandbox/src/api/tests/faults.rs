//! Scripted faults as a client sees them, and the journal of the requests.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::client::{Client, MERGE};
use super::{pod, server};
use crate::api::{ApiServer, Fault, Matching, Resource, Verb};

const POD: &str = "/api/v1/namespaces/default/pods/web";

async fn with_pod() -> (ApiServer, Client) {
    let server = server().await;
    server.store().create(&Resource::PODS, pod("web", &json!({}))).unwrap();
    let client = Client::admin(&server);
    (server, client)
}

fn label(value: &str) -> serde_json::Value {
    json!({"metadata": {"labels": {"x": value}}})
}

#[tokio::test]
async fn the_next_n_matching_requests_are_answered_with_a_status_and_retry_after() {
    let (server, client) = with_pod().await;
    let fault = Fault::Answer { code: 429, retry_after: Some(7) };
    let id = server.faults().next(2, Matching::writes().resource("pods"), fault);
    assert_eq!(client.get(POD).await.code, 200);
    for _ in 0..2 {
        let reply = client.patch(POD, MERGE, &label("1")).await;
        assert_eq!((reply.code, reply.headers["retry-after"].to_str().unwrap()), (429, "7"));
    }
    assert_eq!(client.patch(POD, MERGE, &label("1")).await.code, 200);
    assert_eq!(server.faults().fired(id), 2);
}

#[tokio::test]
async fn a_lost_answer_was_applied_and_a_dropped_request_was_not() {
    let (server, client) = with_pod().await;
    let value =
        || server.store().get(&Resource::PODS, "default", "web").unwrap()["metadata"]["labels"]["x"].clone();
    server.faults().next(1, Matching::any().verb(Verb::Patch), Fault::Drop);
    server.faults().next(1, Matching::any().verb(Verb::Patch), Fault::LoseAnswer);
    assert!(client.try_send("PATCH", POD, MERGE, Some(&label("1"))).await.is_err());
    assert_eq!(value(), json!(null));
    assert!(client.try_send("PATCH", POD, MERGE, Some(&label("2"))).await.is_err());
    assert_eq!(value(), json!("2"));
    let codes: Vec<_> = server.journal().writes().iter().map(|entry| (entry.code, entry.answered)).collect();
    assert_eq!(codes, [(None, false), (Some(200), false)]);
}

#[tokio::test]
async fn a_delay_and_a_hang_last_as_long_as_scripted() {
    let (server, client) = with_pod().await;
    let wait = Duration::from_millis(200);
    server.faults().next(1, Matching::any().name("web"), Fault::Delay(wait));
    let start = Instant::now();
    assert_eq!(client.get(POD).await.code, 200);
    assert!(start.elapsed() >= wait);
    server.faults().next(1, Matching::any().name("web"), Fault::Hang(wait));
    let start = Instant::now();
    assert!(client.try_send("GET", POD, "", None).await.is_err());
    assert!(start.elapsed() >= wait);
}

#[tokio::test]
async fn a_silenced_watch_stays_open_and_sends_nothing_while_others_continue() {
    let (server, client) = with_pod().await;
    let version = server.store().version();
    let path = |plural: &str| format!("/api/v1/{plural}?watch=true&resourceVersion={version}");
    let (mut pods, mut namespaces) =
        (client.watch(&path("pods")).await, client.watch(&path("namespaces")).await);
    server.faults().always(Matching::any().resource("pods"), Fault::Silence);
    client.patch(POD, MERGE, &label("1")).await;
    server.store().create(&Resource::NAMESPACES, json!({"metadata": {"name": "new"}})).unwrap();
    assert_eq!(namespaces.next().await.unwrap()["type"], "ADDED");
    assert!(pods.is_silent().await);
    server.faults().clear();
    client.patch(POD, MERGE, &label("2")).await;
    assert!(pods.is_silent().await, "a silenced watch remains silent");
}

#[tokio::test]
async fn open_watches_can_be_expired_or_closed() {
    let (server, client) = with_pod().await;
    let version = server.store().version();
    let path = format!("/api/v1/pods?watch=true&resourceVersion={version}");
    let mut watch = client.watch(&path).await;
    server.faults().next(1, Matching::any().resource("pods"), Fault::Expire);
    assert_eq!(watch.next().await.unwrap()["object"]["code"], 410);
    assert_eq!(watch.next().await, None);
    let mut watch = client.watch(&path).await;
    server.faults().next(1, Matching::any().resource("pods"), Fault::Close);
    assert_eq!(watch.next().await, None);
}
