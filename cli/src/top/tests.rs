//! Order, filter, polling and failures, against a server with a fixed response.

use std::sync::{Arc, Mutex};

use http::header::{ETAG, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, name: &str, cpu: Option<f64>) -> Value {
    let cpu = cpu
        .map_or_else(|| json!({"band": "unknown"}), |u| json!({"band": "low", "utilization": u, "usage": u}));
    json!({
        "namespace": namespace, "name": name, "uid": "u", "cpu": cpu, "memory": {"band": "unknown"}, "labeled": {},
    })
}

fn pods() -> Vec<PodStatus> {
    let pods = [
        pod("b", "warm", Some(0.5)),
        pod("a", "new", None),
        pod("a", "hot", Some(2.0)),
        pod("a", "cold", Some(0.0)),
    ];
    serde_json::from_value(Value::Array(pods.to_vec())).unwrap()
}

fn order(args: &TopArgs) -> Vec<String> {
    let snapshot = Snapshot { pods: Arc::new(pods()), status: None };
    table_of(&snapshot, args, Timestamp::UNIX_EPOCH).rows.into_iter().map(|row| row.pod).collect()
}

#[test]
fn rows_are_sorted_by_name_or_by_load_with_the_unknown_last() {
    assert_eq!(order(&TopArgs::default()), ["a/cold", "a/hot", "a/new", "b/warm"]);
    let by_load = TopArgs { sort: Sort::Cpu, ..TopArgs::default() };
    assert_eq!(order(&by_load), ["a/hot", "b/warm", "a/cold", "a/new"]);
}

#[test]
fn a_namespace_can_be_selected() {
    let only = TopArgs { namespace: Some("b".into()), ..TopArgs::default() };
    assert_eq!(order(&only), ["b/warm"]);
}

const BASE: &str = "/api/v1/namespaces/plimsoll-system/services/plimsoll-aggregator-http:9619/proxy";

/// Answers for the pods as told, and for the status as an aggregator that is too old to have one.
fn server(status: StatusCode, body: Value) -> Client {
    server_with(
        status,
        body,
        StatusCode::NOT_FOUND,
        json!({"error": "nothing at /v1/status", "hint": "GET /"}),
    )
}

fn server_with(pods_code: StatusCode, pods: Value, status_code: StatusCode, status: Value) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        assert_eq!(request.method().as_str(), "GET");
        let (code, body) = match request.uri().path().strip_prefix(BASE) {
            Some("/v1/pods") => (pods_code, pods.to_string()),
            Some("/v1/status") => (status_code, status.to_string()),
            other => panic!("{other:?}"),
        };
        async move { Response::builder().status(code).body(Body::from(body.into_bytes())) }
    });
    Client::new(service, "default")
}

fn status(output: &str, paused: bool) -> Value {
    json!({
        "version": "0.1.0", "replica": "one", "leading": true, "leader": "one", "epoch": 7, "output": output,
        "unknownWithheld": false, "paused": paused, "nodes": {"reporting": 1, "late": 0, "silent": 0},
    })
}

async fn printed(client: Client) -> anyhow::Result<String> {
    let mut out = Vec::new();
    run(&Source::proxied(client), &TopArgs { once: true, ..TopArgs::default() }, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn once_prints_plain_lines_through_the_service_proxy() {
    let text = printed(server(StatusCode::OK, json!([pod("a", "hot", Some(2.0))]))).await.unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.starts_with("POD ") && text.contains("a/hot") && text.contains("200%"), "{text}");
    assert!(text.lines().next_back().unwrap().starts_with("!: the label"), "{text}");
}

#[tokio::test]
async fn a_pause_is_said_above_the_table_and_a_removed_label_beside_its_pod() {
    let pods = json!([pod("a", "hot", Some(2.0))]);
    let text =
        printed(server_with(StatusCode::OK, pods, StatusCode::OK, status("labels", true))).await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("paused by ConfigMap plimsoll-control"), "{text}");
    assert!(lines[2].contains("low!") && lines[2].contains("cpu: no label"), "{text}");
}

#[tokio::test]
async fn where_no_labels_are_written_by_configuration_none_is_missed() {
    let pods = json!([pod("a", "hot", Some(2.0))]);
    let text =
        printed(server_with(StatusCode::OK, pods, StatusCode::OK, status("metrics", false))).await.unwrap();
    assert!(!text.contains('!') && !text.contains("no label"), "{text}");
    assert!(text.starts_with("bands are only in metrics (--output metrics)\nPOD "), "{text}");
}

#[tokio::test]
async fn a_status_of_another_version_is_treated_as_absent() {
    let pods = json!([pod("a", "hot", Some(2.0))]);
    let other = json!({"version": "9.0.0", "leading": "perhaps"});
    let text = printed(server_with(StatusCode::OK, pods, StatusCode::OK, other)).await.unwrap();
    assert!(text.starts_with("POD ") && text.contains("a/hot"), "{text}");
}

#[tokio::test]
async fn a_status_that_cannot_be_read_is_a_failure_and_not_an_empty_banner() {
    let busy = json!({"kind": "Status", "message": "try later", "code": 503});
    let client = server_with(StatusCode::OK, json!([]), StatusCode::SERVICE_UNAVAILABLE, busy);
    let failure = printed(client).await.unwrap_err().to_string();
    assert!(failure.contains("not ready"), "{failure}");
}

#[tokio::test]
async fn a_missing_aggregator_is_reported_with_the_remedy() {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "code": 404});
    let source = Source::proxied(server(StatusCode::NOT_FOUND, status));
    let failure = run(&source, &TopArgs::default(), &mut Vec::new()).await.unwrap_err().to_string();
    assert!(
        failure.contains("plimsoll-aggregator-http") && failure.contains("kubectl apply -k"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_response_of_another_shape_is_reported_as_invalid() {
    let source = Source::proxied(server(StatusCode::OK, json!({"pods": 3})));
    let failure = run(&source, &TopArgs::default(), &mut Vec::new()).await.unwrap_err().to_string();
    assert!(failure.contains("invalid response"), "{failure}");
}

#[tokio::test]
async fn a_poll_sends_the_last_etag_and_keeps_the_pods_when_nothing_changed() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let service = tower::service_fn(move |request: Request<Body>| {
        if request.uri().path().ends_with("/v1/status") {
            let missing = Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty());
            return std::future::ready(missing);
        }
        let known = request.headers().get(IF_NONE_MATCH).map(|etag| etag.to_str().unwrap().to_owned());
        let mut seen = seen.lock().unwrap();
        seen.push(known.clone());
        // The third poll finds another state.
        let etag = if seen.len() < 3 { "W/\"7-1\"" } else { "W/\"7-2\"" };
        let (status, body) = match known {
            Some(known) if known == etag => (StatusCode::NOT_MODIFIED, String::new()),
            _ => (StatusCode::OK, json!([pod("a", etag, Some(2.0))]).to_string()),
        };
        std::future::ready(
            Response::builder().status(status).header(ETAG, etag).body(Body::from(body.into_bytes())),
        )
    });
    let source = Source::proxied(Client::new(service, "default"));
    let mut names = Vec::new();
    for _ in 0..3 {
        names.extend(source.read().await.unwrap().pods.iter().map(|pod| pod.name.clone()));
    }
    assert_eq!(names, ["W/\"7-1\"", "W/\"7-1\"", "W/\"7-2\""]);
    let known = |etag: &str| Some(etag.to_owned());
    assert_eq!(*requests.lock().unwrap(), [None, known("W/\"7-1\""), known("W/\"7-1\"")]);
}
