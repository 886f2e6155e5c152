//! Order, filter, and the two ways to the aggregator, against a server of one answer.

use http::{Request, Response, StatusCode};
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
    rows(&pods(), args, Timestamp::UNIX_EPOCH).into_iter().map(|row| row.pod).collect()
}

#[test]
fn rows_are_sorted_by_name_or_by_load_with_the_unknown_last() {
    assert_eq!(order(&TopArgs::default()), ["a/cold", "a/hot", "a/new", "b/warm"]);
    let by_load = TopArgs { sort: Sort::Cpu, ..TopArgs::default() };
    assert_eq!(order(&by_load), ["a/hot", "b/warm", "a/cold", "a/new"]);
}

#[test]
fn a_namespace_can_be_picked() {
    let only = TopArgs { namespace: Some("b".into()), ..TopArgs::default() };
    assert_eq!(order(&only), ["b/warm"]);
}

fn server(status: StatusCode, body: Value) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let expected =
            "/api/v1/namespaces/plimsoll-system/services/plimsoll-aggregator-http:9619/proxy/v1/pods";
        assert_eq!((request.method().as_str(), request.uri().path()), ("GET", expected));
        let body = Body::from(body.to_string().into_bytes());
        async move { Response::builder().status(status).body(body) }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn once_prints_plain_lines_through_the_service_proxy() {
    let source = Source::proxied(server(StatusCode::OK, json!([pod("a", "hot", Some(2.0))])));
    let mut out = Vec::new();
    run(&source, &TopArgs { once: true, ..TopArgs::default() }, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("POD ") && text.contains("a/hot") && text.contains("200%"), "{text}");
}

#[tokio::test]
async fn a_missing_aggregator_is_said_with_the_cure() {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "code": 404});
    let source = Source::proxied(server(StatusCode::NOT_FOUND, status));
    let failure = run(&source, &TopArgs::default(), &mut Vec::new()).await.unwrap_err().to_string();
    assert!(
        failure.contains("plimsoll-aggregator-http") && failure.contains("kubectl apply -k"),
        "{failure}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_one_is_said_to_be_nonsense() {
    let source = Source::proxied(server(StatusCode::OK, json!({"pods": 3})));
    let failure = run(&source, &TopArgs::default(), &mut Vec::new()).await.unwrap_err().to_string();
    assert!(failure.contains("nonsense"), "{failure}");
}
