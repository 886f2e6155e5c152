//! The switch and the confirmation, against an API server that is a function from request to response.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::confirm::{TIMEOUT, wait};
use super::*;

type Requests = Arc<Mutex<Vec<String>>>;

/// A server whose responses depend on `METHOD path` and on the number of earlier requests.
fn server(respond: impl Fn(&str, usize) -> (u16, String) + Clone + Send + 'static) -> (Client, Requests) {
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let service = tower::service_fn(move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri().path());
        let mut seen = seen.lock().unwrap();
        let (code, body) = respond(&line, seen.len());
        seen.push(line);
        async move { Response::builder().status(code).body(Body::from(body.into_bytes())) }
    });
    (Client::new(service, "default"), requests)
}

fn failure(code: u16, message: &str, causes: &Value) -> (u16, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "R", "message": message,
        "code": code, "details": {"causes": causes}});
    (code, status.to_string())
}

fn config_map() -> (u16, String) {
    (
        200,
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "plimsoll-control"}})
            .to_string(),
    )
}

fn pods(names: &[&str]) -> (u16, String) {
    let items: Vec<_> = names
        .iter()
        .map(|name| json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": name}}))
        .collect();
    let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items});
    (200, list.to_string())
}

fn metrics(paused: u8, in_flight: u8) -> (u16, String) {
    let paused = format!("plimsoll_aggregator_withheld{{reason=\"paused\"}} {paused}");
    (200, format!("{paused}\nplimsoll_aggregator_in_flight_writes {in_flight}\n"))
}

async fn pause(client: &Client, off: bool) -> Result<String, String> {
    let mut out = Vec::new();
    let done = run(client, &PauseArgs { off, url: None }, &mut out).await;
    done.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
}

const SWITCH: &str = "PATCH /api/v1/namespaces/plimsoll-system/configmaps/plimsoll-control";
const CREATE: &str = "POST /api/v1/namespaces/plimsoll-system/configmaps";
const PODS: &str = "GET /api/v1/namespaces/plimsoll-system/pods";

#[tokio::test(start_paused = true)]
async fn it_waits_until_every_aggregator_says_that_no_write_is_in_flight() {
    let (client, requests) = server(|line, before| match (line, before) {
        (SWITCH, _) => config_map(),
        (PODS, _) => pods(&["a", "b"]),
        (_, 2) => metrics(0, 0), // a, first poll: has not noticed
        (_, 5) => metrics(1, 3), // b, second poll: still writes
        _ => metrics(1, 0),
    });
    let text = pause(&client, false).await.unwrap();
    assert!(text.starts_with("paused: the aggregator confirmed it"), "{text}");
    let proxy = |pod| format!("{PODS}/{pod}:9619/proxy/metrics");
    let (a, b) = (proxy("a"), proxy("b"));
    assert_eq!(*requests.lock().unwrap(), [SWITCH, PODS, &a, PODS, &a, &b, PODS, &a, &b]);
}

#[tokio::test(start_paused = true)]
async fn without_an_aggregator_it_does_not_wait() {
    let (client, requests) = server(|line, _| if line == PODS { pods(&[]) } else { config_map() });
    let text = pause(&client, false).await.unwrap();
    assert!(text.contains("no aggregator runs"), "{text}");
    assert_eq!(*requests.lock().unwrap(), [SWITCH, PODS]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_cannot_be_asked_is_waited_for_and_the_reason_is_printed() {
    let forbidden = || failure(403, "cannot get resource \"pods/proxy\"", &json!([]));
    let (client, _) = server(move |line, _| match line {
        SWITCH => config_map(),
        PODS => pods(&["a"]),
        _ => forbidden(),
    });
    let start = Instant::now();
    let state = wait(&Aggregator::new(&client, None).unwrap()).await;
    let took = start.elapsed();
    assert!(took > TIMEOUT - Duration::from_secs(1) && took <= TIMEOUT, "{took:?}");
    let PauseState::Unconfirmed(why) = state else { panic!("{state:?}") };
    assert!(why.contains("pod a") && why.contains("get pods/proxy"), "{why}");
    let error = pause(&client, false).await.unwrap_err();
    assert!(error.contains("switch is on") && error.contains("get pods/proxy"), "{error}");
}

#[tokio::test]
async fn a_missing_switch_is_created_and_without_a_namespace_there_is_nothing_to_pause() {
    let missing = || failure(404, "configmaps \"plimsoll-control\" not found", &json!([]));
    let (client, requests) = server(move |line, _| if line == SWITCH { missing() } else { config_map() });
    assert_eq!(set(&client, true).await.unwrap(), Switch::Set);
    assert_eq!(*requests.lock().unwrap(), [SWITCH, CREATE]);

    let terminating = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]);
    for gone in
        [failure(404, "namespaces not found", &json!([])), failure(403, "being terminated", &terminating)]
    {
        let (client, _) = server(move |line, _| if line == SWITCH { missing() } else { gone.clone() });
        assert_eq!(set(&client, true).await.unwrap(), Switch::NotInstalled);
        let error = pause(&client, false).await.unwrap_err();
        assert!(error.contains("is Plimsoll installed here?"), "{error}");
        assert!(pause(&client, true).await.unwrap().contains("nothing is paused"));
    }
}

#[tokio::test]
async fn a_missing_right_to_set_the_switch_is_named() {
    let forbidden = || failure(403, "User \"u\" cannot do that", &json!([]));
    let (client, requests) = server(move |_, _| forbidden());
    let error = pause(&client, false).await.unwrap_err();
    assert!(error.contains("patch configmaps/plimsoll-control in namespace plimsoll-system"), "{error}");
    assert_eq!(requests.lock().unwrap().len(), 1);

    let missing = || failure(404, "configmaps \"plimsoll-control\" not found", &json!([]));
    let (client, _) = server(move |line, _| if line == SWITCH { missing() } else { forbidden() });
    let error = pause(&client, false).await.unwrap_err();
    assert!(error.contains("create configmaps in namespace plimsoll-system"), "{error}");
}
