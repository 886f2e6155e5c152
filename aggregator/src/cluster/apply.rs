//! Performs writes and reports their outcome to the core. The only code that changes pods.
//!
//! A label write is a server-side apply of metadata alone, never forced, with the pod's uid in it: a pod that was recreated under the
//! same name is not changed, and one that is gone is not created. Nothing is retried here: whether to try again is the core's
//! decision, which knows whether the write is still wanted.
//!
//! Tests: `apply/response.rs` (every response, as the API server words it) and `tests/edges/write.rs` (over HTTP).

pub(crate) mod response;

use std::sync::Arc;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::WRITE_DEADLINE;
use crate::action::{Change, Write};
use crate::engine::Engine;
use crate::input::{Input, Outcome, WriteResult};
use crate::metrics::Metrics;

/// Concurrent writes. The core's budget allows as many; this limit holds even if the core errs.
const MAX_CONCURRENT: usize = 4;
/// Bytes read of a response. It is the metadata of one pod, or a rejection.
const MAX_RESPONSE: usize = 1 << 20;

/// Performs writes until the shutdown, then lets the writes in flight finish. `epoch` is that of this replica's leadership: a write
/// that was decided in another epoch is not sent.
///
/// # Errors
/// Never before the shutdown, unless the engine is gone.
pub(crate) async fn run(
    client: Client,
    engine: Engine,
    metrics: Metrics,
    mut writes: mpsc::UnboundedReceiver<Write>,
    epoch: watch::Receiver<Option<u64>>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut running = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let next = tokio::select! {
            biased;
            () = shutdown.triggered() => break,
            next = writes.recv() => next,
        };
        let Some(write) = next else { break };
        while running.try_join_next().is_some() {}
        let (client, engine, metrics, leads) =
            (client.clone(), engine.clone(), metrics.clone(), epoch.clone());
        running.spawn(async move {
            let sent = Instant::now();
            let leads = *leads.borrow() == Some(write.epoch);
            let result = match leads {
                true => perform(&client, &write).await,
                false => WriteResult::Failed(0, "this replica no longer leads".to_owned()),
            };
            let outcome = Outcome { write: write.id, result, took: sent.elapsed() };
            metrics.write(outcome.result.as_str(), outcome.took);
            engine.submit(Input::Outcome(outcome));
            drop(permit);
        });
    }
    // Each has its own deadline.
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn perform(client: &Client, write: &Write) -> WriteResult {
    match timeout(WRITE_DEADLINE, send(client, write)).await {
        Ok(result) => result.unwrap_or_else(|error| WriteResult::Failed(0, format!("{error:#}"))),
        Err(_late) => WriteResult::NoAnswer,
    }
}

/// One request, whose response is read here: kube's own calls lose the `Retry-After` of a server that is too busy to send a Status.
async fn send(client: &Client, write: &Write) -> anyhow::Result<WriteResult> {
    let path = Pod::url_path(&(), Some(&write.pod.namespace));
    let params = PatchParams::apply(keys::FIELD_MANAGER);
    let request = Request::new(path).patch_metadata(&write.pod.name, &params, &Patch::Apply(&body(write)))?;
    let response = client.send(request.map(Body::from)).await?;
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match Limited::new(response.into_body(), MAX_RESPONSE).collect().await {
        Ok(body) => body.to_bytes(),
        // The status line says the outcome.
        Err(_broken) => Bytes::new(),
    };
    Ok(response::classify(status, retry_after.as_deref(), &body))
}

fn body(write: &Write) -> Value {
    let Change::Labels { labels, annotations } = &write.change;
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": write.pod.name,
            "namespace": write.pod.namespace,
            "uid": write.uid,
            "labels": labels,
            "annotations": annotations,
        },
    })
}
