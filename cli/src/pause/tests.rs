//! The switch and the wait, against an API server that is one function from a request to an answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::standstill::{PATIENCE, wait};
use super::*;

type Journal = Arc<Mutex<Vec<String>>>;

/// A server whose answers depend on `METHOD path` and on how many requests came before.
fn server(answer: impl Fn(&str, usize) -> (u16, String) + Clone + Send + 'static) -> (Client, Journal) {
    let journal = Journal::default();
    let seen = Arc::clone(&journal);
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let mut seen = seen.lock().unwrap();
        let (code, body) = answer(&asked, seen.len());
        seen.push(asked);
        async move { Response::builder().status(code).body(Body::from(body.into_bytes())) }
    });
    (Client::new(service, "default"), journal)
}

fn refused(code: u16, message: &str, causes: &Value) -> (u16, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "R", "message": message,
        "code": code, "details": {"causes": causes}});
    (code, status.to_string())
}

fn map() -> (u16, String) {
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

async fn said(client: &Client, off: bool) -> Result<String, String> {
    let mut out = Vec::new();
    let done = run(client, &PauseArgs { off, url: None }, &mut out).await;
    done.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
}

const SWITCH: &str = "PATCH /api/v1/namespaces/plimsoll-system/configmaps/plimsoll-control";
const MAKE: &str = "POST /api/v1/namespaces/plimsoll-system/configmaps";
const PODS: &str = "GET /api/v1/namespaces/plimsoll-system/pods";

#[tokio::test(start_paused = true)]
async fn every_aggregator_is_waited_for_until_it_says_that_nothing_is_under_way() {
    let (client, journal) = server(|asked, before| match (asked, before) {
        (SWITCH, _) => map(),
        (PODS, _) => pods(&["a", "b"]),
        (_, 2) => metrics(0, 0), // a, first look: has not noticed
        (_, 5) => metrics(1, 3), // b, second look: writes still
        _ => metrics(1, 0),
    });
    let text = said(&client, false).await.unwrap();
    assert!(text.starts_with("paused: the aggregator says so"), "{text}");
    let proxy = |pod| format!("{PODS}/{pod}:9619/proxy/metrics");
    let (a, b) = (proxy("a"), proxy("b"));
    assert_eq!(*journal.lock().unwrap(), [SWITCH, PODS, &a, PODS, &a, &b, PODS, &a, &b]);
}

#[tokio::test(start_paused = true)]
async fn where_no_aggregator_runs_nothing_is_waited_for() {
    let (client, journal) = server(|asked, _| if asked == PODS { pods(&[]) } else { map() });
    let text = said(&client, false).await.unwrap();
    assert!(text.contains("no aggregator runs"), "{text}");
    assert_eq!(*journal.lock().unwrap(), [SWITCH, PODS]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_cannot_be_asked_is_given_its_time_and_the_reason_is_said() {
    let forbidden = || refused(403, "cannot get resource \"pods/proxy\"", &json!([]));
    let (client, _) = server(move |asked, _| match asked {
        SWITCH => map(),
        PODS => pods(&["a"]),
        _ => forbidden(),
    });
    let begun = Instant::now();
    let seen = wait(&Place::new(&client, None).unwrap()).await;
    let took = begun.elapsed();
    assert!(took > PATIENCE - Duration::from_secs(1) && took <= PATIENCE, "{took:?}");
    let Standstill::Unseen(why) = seen else { panic!("{seen:?}") };
    assert!(why.contains("pod a") && why.contains("get pods/proxy"), "{why}");
    let failure = said(&client, false).await.unwrap_err();
    assert!(failure.contains("switch is on") && failure.contains("get pods/proxy"), "{failure}");
}

#[tokio::test]
async fn a_missing_switch_is_made_and_without_a_namespace_there_is_nothing_to_pause() {
    let missing = || refused(404, "configmaps \"plimsoll-control\" not found", &json!([]));
    let (client, journal) = server(move |asked, _| if asked == SWITCH { missing() } else { map() });
    assert_eq!(turn(&client, true).await.unwrap(), Turned::Done);
    assert_eq!(*journal.lock().unwrap(), [SWITCH, MAKE]);

    let leaving = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]);
    for gone in [refused(404, "namespaces not found", &json!([])), refused(403, "being terminated", &leaving)]
    {
        let (client, _) = server(move |asked, _| if asked == SWITCH { missing() } else { gone.clone() });
        assert_eq!(turn(&client, true).await.unwrap(), Turned::NotInstalled);
        let failure = said(&client, false).await.unwrap_err();
        assert!(failure.contains("is Plimsoll installed here?"), "{failure}");
        assert!(said(&client, true).await.unwrap().contains("nothing is paused"));
    }
}

#[tokio::test]
async fn who_may_not_turn_the_switch_is_told_which_right_is_missing() {
    let forbidden = || refused(403, "User \"u\" cannot do that", &json!([]));
    let (client, journal) = server(move |_, _| forbidden());
    let failure = said(&client, false).await.unwrap_err();
    assert!(failure.contains("patch configmaps/plimsoll-control in namespace plimsoll-system"), "{failure}");
    assert_eq!(journal.lock().unwrap().len(), 1);

    let missing = || refused(404, "configmaps \"plimsoll-control\" not found", &json!([]));
    let (client, _) = server(move |asked, _| if asked == SWITCH { missing() } else { forbidden() });
    let failure = said(&client, false).await.unwrap_err();
    assert!(failure.contains("create configmaps in namespace plimsoll-system"), "{failure}");
}
