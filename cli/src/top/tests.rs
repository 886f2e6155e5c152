//! Order, filter, polling and failures, against a server with a fixed response.

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
fn a_namespace_can_be_selected() {
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
        let known = request.headers().get(IF_NONE_MATCH).map(|etag| etag.to_str().unwrap().to_owned());
        let mut seen = seen.lock().unwrap();
        seen.push(known.clone());
        // The third poll finds another state.
        let etag = if seen.len() < 3 { "W/\"7-1\"" } else { "W/\"7-2\"" };
        let (status, body) = match known {
            Some(known) if known == etag => (StatusCode::NOT_MODIFIED, String::new()),
            _ => (StatusCode::OK, json!([pod("a", etag, Some(2.0))]).to_string()),
        };
        async move { Response::builder().status(status).header(ETAG, etag).body(Body::from(body.into_bytes())) }
    });
    let source = Source::proxied(Client::new(service, "default"));
    let mut names = Vec::new();
    for _ in 0..3 {
        names.extend(source.pods().await.unwrap().iter().map(|pod| pod.name.clone()));
    }
    assert_eq!(names, ["W/\"7-1\"", "W/\"7-1\"", "W/\"7-2\""]);
    let known = |etag: &str| Some(etag.to_owned());
    assert_eq!(*requests.lock().unwrap(), [None, known("W/\"7-1\""), known("W/\"7-1\"")]);
}
