//! Performs writes and reports their outcome to the core. The only code that changes pods.
//!
//! A label write is a server-side apply of metadata alone, never forced, with the pod's uid in it: a pod that was recreated under the
//! same name is not changed, and one that is gone is not created. Nothing is retried here: whether to try again is the core's
//! decision, which knows whether the write is still wanted.
//!
//! Tests: `apply/response.rs` (every response, as the API server words it) and `tests/edges/write.rs` (over HTTP).

pub(crate) mod response;

use std::sync::Arc;
use std::time::Duration;

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
        if *epoch.borrow() != Some(write.epoch) {
            let result = WriteResult::Failed(0, "not sent: this replica no longer leads".to_owned());
            engine.submit(Input::Outcome(Outcome { write: write.id, result, took: Duration::ZERO }));
            continue;
        }
        let (client, engine, metrics) = (client.clone(), engine.clone(), metrics.clone());
        running.spawn(async move {
            let sent = Instant::now();
            let result = perform(&client, &write).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Core;
    use crate::engine::tests::{leading, report};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_write_of_another_epoch_is_not_sent_and_its_outcome_says_why() {
        plimsoll_process::crypto::install_crypto_provider();
        let (engine, outputs) = leading();
        engine.report("agent".to_owned(), report()).unwrap();
        // Nobody listens there: a write that is sent would have another outcome.
        let client =
            Client::try_from(kube::Config::new(http::Uri::from_static("http://127.0.0.1:1"))).unwrap();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let (epoch, shutdown) = (watch::channel(Some(8)).1, Shutdown::new());
        let task =
            tokio::spawn(run(client, engine.clone(), metrics, outputs.writes, epoch, shutdown.clone()));
        while engine.ask(Core::gauges).in_flight > 0 {
            tokio::task::yield_now().await;
        }
        shutdown.trigger();
        task.await.unwrap().unwrap();
        let decisions = engine.ask(|core, _| core.decisions());
        assert_eq!((decisions.len(), decisions[0].outcome.as_str()), (1, "failed"));
    }
}
