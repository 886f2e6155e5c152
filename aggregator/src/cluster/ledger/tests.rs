//! The task against an API server that keeps one class, on a paused clock.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use plimsoll_sizing::policy::Policy;
use serde_json::Value;
use tokio::time::sleep;

use super::*;
use crate::core::Core;
use crate::facts::{ClassFacts, NamespaceFacts, PodFacts};
use crate::input::{Input, WatchEvent};
use crate::settings::{ResizeSettings, Settings};

/// The object, and the status of each patch.
#[derive(Default)]
struct Server {
    object: Value,
    patches: Vec<Value>,
    /// The code of the answers to patches, if it is not 200.
    refuses: Option<u16>,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        match (method, path) {
            (&Method::GET, "/apis/plimsoll.dev/v1alpha1/slaclasses/gold") => (200, self.object.clone()),
            (&Method::PATCH, "/apis/plimsoll.dev/v1alpha1/slaclasses/gold/status") => {
                self.patches.push(body["status"].clone());
                assert_eq!(body["metadata"]["uid"], "u", "another class of that name is not written to");
                match self.refuses {
                    Some(code) => (
                        code,
                        json!({"kind": "Status", "code": code, "reason": "Forbidden", "message": "no", "status": "Failure"}),
                    ),
                    None => {
                        self.object["status"] = body["status"].clone();
                        (200, self.object.clone())
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

struct Harness {
    server: Arc<Mutex<Server>>,
    engine: Engine,
    epoch: watch::Sender<Option<u64>>,
    shutdown: Shutdown,
}

impl Harness {
    /// A task that does not lead yet, and a server whose class has this status.
    fn start(status: &Value) -> Harness {
        let object =
            json!({"metadata": {"name": "gold", "uid": "u"}, "spec": {"rank": "odd"}, "status": status});
        let server = Arc::new(Mutex::new(Server { object, ..Server::default() }));
        let shared = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&shared);
            async move {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.lock().unwrap().answer(&method, &path, &body);
                let answer = Full::new(bytes::Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        let settings = Settings { resize: ResizeSettings::new(true), ..Settings::default() };
        let (engine, _outputs) = Engine::new(Core::new(settings), None);
        let shop = NamespaceFacts { class: Some("gold".into()), ..NamespaceFacts::bare("shop") };
        engine.submit(Input::Namespaces(WatchEvent::Listed(vec![shop])));
        let (epoch, receiver) = watch::channel(None);
        let shutdown = Shutdown::new();
        let client = Client::new(service, "default");
        tokio::spawn(run(client, engine.clone(), receiver, shutdown.clone()));
        Harness { server, engine, epoch, shutdown }
    }

    fn class(&self, policy: Result<Policy, &str>) {
        let policy = policy.map_err(str::to_owned);
        let facts = ClassFacts { name: "gold".into(), uid: Some("u".into()), generation: Some(4), policy };
        self.engine.submit(Input::Classes(WatchEvent::Changed(Box::new(facts))));
    }

    fn pods(&self, count: usize) {
        let pods = (0..count).map(|n| PodFacts::bare("shop", &format!("p{n}"), &format!("u{n}")));
        self.engine.submit(Input::Pods(WatchEvent::Listed(pods.collect())));
    }

    /// What was written within so many seconds.
    async fn patches(&self, seconds: u64) -> Vec<Value> {
        sleep(Duration::from_secs(seconds)).await;
        std::mem::take(&mut self.server.lock().unwrap().patches)
    }
}

fn gold() -> Result<Policy, &'static str> {
    Ok(Policy::builtin("gold").unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_status_is_written_by_the_leader_when_it_changed_and_at_most_every_30_s() {
    let harness = Harness::start(&Value::Null);
    harness.class(gold());
    harness.pods(2);
    assert_eq!(harness.patches(300).await, Vec::<Value>::new(), "it does not lead");
    harness.epoch.send_replace(Some(1));
    let first = harness.patches(1).await;
    assert_eq!(first.len(), 1);
    assert_eq!(
        (&first[0]["pods"], &first[0]["freed"], &first[0]["observedGeneration"]),
        (&json!(2), &json!("0m 0"), &json!(4))
    );
    assert_eq!(first[0]["conditions"][0]["status"], "True");
    for pods in [3, 4, 5] {
        harness.pods(pods);
        assert_eq!(harness.patches(8).await, Vec::<Value>::new());
    }
    let second = harness.patches(30).await;
    assert_eq!(second.iter().map(|status| &status["pods"]).collect::<Vec<_>>(), [&json!(5)]);
    assert_eq!(second[0]["conditions"], first[0]["conditions"], "valid since then");
    assert_eq!(harness.patches(300).await, Vec::<Value>::new(), "nothing changed");
    harness.epoch.send_replace(None);
    harness.pods(1);
    assert_eq!(harness.patches(300).await, Vec::<Value>::new(), "it leads no longer");
    harness.shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn counts_continue_from_those_that_the_class_carries_and_odd_ones_harm_nothing() {
    for (status, grown) in [
        (json!({"grown": 17, "oom": 2}), 17),
        (json!({"grown": -5}), 0),
        (json!({"grown": i64::MAX}), i64::MAX / 2),
        (json!({"grown": "x"}), 0),
    ] {
        let harness = Harness::start(&status);
        harness.class(gold());
        harness.epoch.send_replace(Some(1));
        let written = harness.patches(1).await;
        assert_eq!(written[0]["grown"], json!(grown), "{status}");
        harness.shutdown.trigger();
    }
}

#[tokio::test(start_paused = true)]
async fn the_condition_says_whether_the_class_applies_and_what_stays_in_force() {
    let harness = Harness::start(&Value::Null);
    harness.class(Err("spec.rank: below 0"));
    harness.epoch.send_replace(Some(1));
    let said = |status: &Value| {
        let condition = &status["conditions"][0];
        ["status", "reason", "message"].map(|field| condition[field].as_str().unwrap().to_owned())
    };
    let written = harness.patches(1).await;
    let [status, reason, message] = said(&written[0]);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Invalid"));
    assert!(message.starts_with("spec.rank: below 0. No pod is sized"), "{message}");
    harness.class(gold());
    assert_eq!(said(&harness.patches(30).await[0])[0], "True");
    harness.class(Err("spec.rank: below 0"));
    let [status, reason, message] = said(&harness.patches(30).await[0]);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Held"));
    assert!(message.contains("What the class said before stays in force"), "{message}");
    harness.shutdown.trigger();
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_is_tried_again_and_never_more_often() {
    let harness = Harness::start(&Value::Null);
    harness.server.lock().unwrap().refuses = Some(403);
    harness.class(gold());
    harness.epoch.send_replace(Some(1));
    assert_eq!(harness.patches(301).await.len(), 11);
    harness.server.lock().unwrap().refuses = None;
    assert_eq!(harness.patches(60).await.len(), 1);
    harness.shutdown.trigger();
}
