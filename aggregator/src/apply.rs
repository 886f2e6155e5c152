//! The only writer of pods: does what the core decided, and tells it what became of it.
//!
//! A write is a server-side apply of metadata alone, never forced, with the pod's uid in it: a pod made again under
//! the same name is not touched, and one that is gone is not made. Nothing is retried here; whether to try again is
//! the core's decision, which knows whether it is still wanted. Without an answer in time the core is told just that.
//!
//! Proof: `apply/answer.rs` (every answer, as the API server words it) and `tests/edges/write.rs` (over HTTP).

pub mod answer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::action::{Announcement, LabelWrite};
use crate::engine::Engine;
use crate::input::{Input, Outcome, WriteResult};
use crate::metrics::Metrics;

/// A write without an answer by then may or may not have been done.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(3);
/// Writes at once. The core's budget allows as many; this holds even if it errs.
const CONCURRENT: usize = 4;
/// An answer is the metadata of one pod or a refusal: more is not read.
const MAX_ANSWER: usize = 1 << 20;

/// Writes labels until the shutdown, then lets the writes in flight end.
///
/// # Errors
/// Never before the shutdown, unless the engine is gone.
pub async fn write(
    client: Client,
    engine: Engine,
    metrics: Metrics,
    mut writes: mpsc::Receiver<LabelWrite>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONCURRENT));
    let mut running = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let next = tokio::select! {
            biased;
            () = shutdown.triggered() => break,
            next = writes.recv() => next,
        };
        let Some(write) = next else { break };
        while running.try_join_next().is_some() {}
        let (client, engine, metrics) = (client.clone(), engine.clone(), metrics.clone());
        running.spawn(async move {
            let outcome = label(&client, &write).await;
            metrics.write(outcome.result.as_str(), outcome.took);
            engine.submit(Input::Outcome(outcome));
            drop(place);
        });
    }
    // Each has its own deadline.
    while running.join_next().await.is_some() {}
    Ok(())
}

/// Publishes Events until the shutdown. They are for people: one that cannot be published is counted, not retried.
///
/// # Errors
/// Never.
pub async fn announce(
    client: Client,
    replica: String,
    namespace: String,
    metrics: Metrics,
    mut announcements: mpsc::Receiver<Announcement>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let reporter = Reporter { controller: keys::AGGREGATOR.to_owned(), instance: Some(replica) };
    let recorder = Recorder::new(client, reporter);
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.triggered() => return Ok(()),
            next = announcements.recv() => next,
        };
        let Some(announcement) = next else { return Ok(()) };
        let published = publish(&recorder, &namespace, announcement).await;
        metrics.event(published.is_ok());
        if let Err(error) = published {
            tracing::debug!(error, "an Event was not published");
        }
    }
}

async fn publish(recorder: &Recorder, namespace: &str, what: Announcement) -> Result<(), String> {
    let reference = reference(&what, namespace);
    let event = Event {
        type_: if what.warning { EventType::Warning } else { EventType::Normal },
        reason: what.reason,
        // The API allows 1 kB.
        note: Some(what.note.chars().take(1000).collect()),
        action: "Label".to_owned(),
        secondary: None,
    };
    match timeout(WRITE_DEADLINE, recorder.publish(&event, &reference)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(format!("no answer within {WRITE_DEADLINE:?}")),
    }
}

fn reference(what: &Announcement, namespace: &str) -> ObjectReference {
    let object = |version: &str, kind: &str, namespace: &str, name: &str| ObjectReference {
        api_version: Some(version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    };
    match &what.about {
        Some((pod, uid)) => {
            ObjectReference { uid: Some(uid.clone()), ..object("v1", "Pod", &pod.namespace, &pod.name) }
        }
        None => object("apps/v1", "Deployment", namespace, keys::AGGREGATOR),
    }
}

async fn label(client: &Client, write: &LabelWrite) -> Outcome {
    let sent = Instant::now();
    let result = match timeout(WRITE_DEADLINE, send(client, write)).await {
        Ok(result) => result.unwrap_or_else(|error| WriteResult::Failed(0, format!("{error:#}"))),
        Err(_late) => WriteResult::NoAnswer,
    };
    Outcome { action: write.action, result, took: sent.elapsed() }
}

/// One request, read by hand: kube's own calls lose the `Retry-After` of a server that is too busy to send a Status.
async fn send(client: &Client, write: &LabelWrite) -> anyhow::Result<WriteResult> {
    let path = Pod::url_path(&(), Some(&write.pod.namespace));
    let params = PatchParams::apply(keys::FIELD_MANAGER);
    let request = Request::new(path).patch_metadata(&write.pod.name, &params, &Patch::Apply(&body(write)))?;
    let response = client.send(request.map(Body::from)).await?;
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
        Ok(body) => body.to_bytes(),
        // The status line said what became of it.
        Err(_broken) => Bytes::new(),
    };
    Ok(answer::classify(status, retry_after.as_deref(), &body))
}

fn body(write: &LabelWrite) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": write.pod.name,
            "namespace": write.pod.namespace,
            "uid": write.uid,
            "labels": write.labels,
            "annotations": write.annotations,
        },
    })
}
