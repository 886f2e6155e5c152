//! Performs writes and reports their outcome to the core. The only code that changes pods.
//!
//! A label write is a server-side apply of metadata alone, never forced, with the pod's uid in it: a pod that was recreated under the
//! same name is not changed, and one that is gone is not created. A resize is a strategic merge patch of the subresource `resize` with
//! the amounts that change and nothing else: containers merge by name there, and whatever is not named stays. Nothing is retried here:
//! whether to try again is the core's decision, which knows whether the write is still wanted.
//!
//! Tests: `apply/response.rs` (every response, as the API server words it) and `tests/edges/write.rs` (over HTTP).

pub(crate) mod response;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, RETRY_AFTER};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::WRITE_DEADLINE;
use crate::action::{Change, ResizePatch, Write};
use crate::engine::Engine;
use crate::input::{Input, Outcome, WriteResult};
use crate::metrics::Metrics;
use crate::resize::in_quantities;

/// Concurrent writes. The core's budget allows as many; this limit holds even if the core errs.
const MAX_CONCURRENT: usize = 4;
/// Bytes read of a response. It is the metadata of one pod, or a rejection.
const MAX_RESPONSE: usize = 1 << 20;
/// The metadata of the pod, from a server that can reduce it; else the pod.
const METADATA_OR_POD: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1,application/json";

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
    let response = client.send(request(write)?.map(Body::from)).await?;
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match Limited::new(response.into_body(), MAX_RESPONSE).collect().await {
        Ok(body) => body.to_bytes(),
        // The status line says the outcome.
        Err(_broken) => Bytes::new(),
    };
    let retry_after = retry_after.as_deref();
    Ok(match &write.change {
        Change::Labels { .. } => response::classify(status, retry_after, &body),
        Change::Resize(_) | Change::Probe(_) => response::classify_resize(status, retry_after, &body),
    })
}

/// The request of a write; of the response only the metadata is asked for.
pub(crate) fn request(write: &Write) -> anyhow::Result<http::Request<Vec<u8>>> {
    let pods = Request::new(Pod::url_path(&(), Some(&write.pod.namespace)));
    let name = &write.pod.name;
    let resize = |patch: &ResizePatch, dry_run: bool| {
        let field_manager = Some(keys::FIELD_MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager, ..PatchParams::default() };
        let body = Patch::Strategic(resize_body(write, patch));
        let mut request = pods.patch_subresource("resize", name, &params, &body)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_OR_POD));
        anyhow::Ok(request)
    };
    match &write.change {
        Change::Labels { labels, annotations } => {
            let params = PatchParams::apply(keys::FIELD_MANAGER);
            let body = Patch::Apply(labels_body(write, labels, annotations));
            Ok(pods.patch_metadata(name, &params, &body)?)
        }
        Change::Resize(patch) => resize(patch, false),
        Change::Probe(patch) => resize(patch, true),
    }
}

fn labels_body(
    write: &Write,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Value {
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

fn resize_body(write: &Write, patch: &ResizePatch) -> Value {
    let mut metadata = json!({
        "name": write.pod.name,
        "namespace": write.pod.namespace,
        "uid": write.uid,
    });
    if let Some(version) = &patch.resource_version {
        metadata["resourceVersion"] = json!(version);
    }
    let mut spec = Map::new();
    for (field, containers) in [("containers", &patch.containers), ("initContainers", &patch.init_containers)]
    {
        let containers = in_quantities(containers).into_iter();
        let containers: Vec<Value> =
            containers.map(|(name, resources)| json!({ "name": name, "resources": resources })).collect();
        if !containers.is_empty() {
            spec.insert(field.to_owned(), Value::Array(containers));
        }
    }
    json!({ "metadata": metadata, "spec": spec })
}

#[cfg(test)]
mod tests {
    use plimsoll_contract::PodName;
    use plimsoll_sizing::size::{Size, Sizes};

    use super::*;
    use crate::action::Reason;
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
        while engine.ask(|core, _| core.gauges().in_flight) > 0 {
            tokio::task::yield_now().await;
        }
        shutdown.trigger();
        task.await.unwrap().unwrap();
        let decisions = engine.ask(|core, _| core.decisions());
        assert_eq!((decisions.len(), decisions[0].outcome.as_str()), (1, "failed"));
    }

    fn resize(patch: ResizePatch) -> Write {
        Write {
            id: 1,
            pod: PodName::new("shop", "web"),
            uid: "u1".to_owned(),
            node: None,
            epoch: 7,
            reason: Reason::Grow,
            from: String::new(),
            to: String::new(),
            change: Change::Resize(patch),
        }
    }

    fn sent(write: &Write) -> (String, String, Value) {
        let request = request(write).unwrap();
        let kind = request.headers()[http::header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (request.uri().to_string(), kind, serde_json::from_slice(request.body()).unwrap())
    }

    #[test]
    fn a_resize_names_the_pod_its_version_and_the_amounts_that_change_and_nothing_else() {
        let cpu = Size { request: None, limit: Some(890) };
        let both = Sizes {
            cpu: Size { request: Some(2000), limit: Some(2000) },
            memory: Size { request: Some(256 << 20), limit: Some((256 << 20) + 1) },
        };
        let write = resize(ResizePatch {
            containers: BTreeMap::from([
                ("app".to_owned(), Sizes { cpu, ..Sizes::default() }),
                ("worker".to_owned(), both),
            ]),
            init_containers: BTreeMap::from([("proxy".to_owned(), Sizes { cpu, ..Sizes::default() })]),
            resource_version: Some("4711".to_owned()),
        });
        let (uri, kind, body) = sent(&write);
        assert_eq!(uri, "/api/v1/namespaces/shop/pods/web/resize?&fieldManager=plimsoll");
        assert_eq!(kind, "application/strategic-merge-patch+json");
        let only_cpu = json!({"limits": {"cpu": "890m"}});
        let expected = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "4711"},
            "spec": {
                "containers": [
                    {"name": "app", "resources": only_cpu},
                    {"name": "worker", "resources": {
                        "requests": {"cpu": "2", "memory": "256Mi"},
                        "limits": {"cpu": "2", "memory": "268435457"},
                    }},
                ],
                "initContainers": [{"name": "proxy", "resources": only_cpu}],
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_probe_is_the_same_as_a_dry_run_and_without_a_version() {
        let containers = BTreeMap::from([(
            "app".to_owned(),
            Sizes { cpu: Size { request: Some(10), limit: None }, ..Sizes::default() },
        )]);
        let patch = ResizePatch { containers, init_containers: BTreeMap::new(), resource_version: None };
        let write = Write { change: Change::Probe(patch.clone()), ..resize(patch) };
        let (uri, _, body) = sent(&write);
        assert_eq!(uri, "/api/v1/namespaces/shop/pods/web/resize?&dryRun=All&fieldManager=plimsoll");
        let container = json!({"name": "app", "resources": {"requests": {"cpu": "10m"}}});
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u1"});
        assert_eq!(body, json!({"metadata": metadata, "spec": {"containers": [container]}}));
    }
}
