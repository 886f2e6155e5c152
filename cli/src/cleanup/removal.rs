//! Removes our keys from pods: one server-side apply without any key for each pod, several at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kube::api::{Api, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, Error};
use plimsoll_contract::api_status::is_pod_gone;
use plimsoll_contract::keys;
use plimsoll_objects::Object;
use serde_json::json;
use tokio::time::sleep;

use super::scan::{OwnedPod, PodKeys};
use crate::connect::{Failure, Operation};

/// Concurrent requests: as many as the aggregator sends. Every one of them reaches all watchers of pods.
pub(super) const CONCURRENCY: usize = 4;
/// Retries for one pod while the server answers 429.
const MAX_RETRIES: usize = 5;
/// Delay before a retry, unless the server asks for more; and the longest one.
const RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);
/// After this many unanswered requests in a row the API server is considered down, and nothing more is sent.
const MAX_UNANSWERED: usize = 4 * CONCURRENCY;

const REMOVE_KEYS: Operation = Operation::on_api_server("removing Plimsoll's keys", "patch pods");

/// The result for one pod.
#[derive(Debug)]
pub(super) enum RemovalResult {
    /// Our field manager owns nothing here, so nothing was sent.
    Skipped,
    Removed,
    /// The pod is gone, or another one has its name.
    Gone,
    /// Not removed, or the response was lost.
    Failed(Failure),
}

/// Removes our keys from every pod. The results are in the order of the pods.
pub(super) async fn remove_all(client: &Client, pods: &[PodKeys]) -> Vec<RemovalResult> {
    let unanswered = AtomicUsize::new(0);
    let mut results = Vec::with_capacity(pods.len());
    let mut waiting = pods.iter();
    let mut running = FuturesOrdered::new();
    loop {
        let free = CONCURRENCY - running.len();
        running.extend(waiting.by_ref().take(free).map(|pod| remove(client, pod, &unanswered)));
        match running.next().await {
            Some(result) => results.push(result),
            None => return results,
        }
    }
}

async fn remove(client: &Client, pod: &PodKeys, unanswered: &AtomicUsize) -> RemovalResult {
    if !pod.has_own_keys() {
        return RemovalResult::Skipped;
    }
    if unanswered.load(Ordering::Relaxed) >= MAX_UNANSWERED {
        let problem = "not tried: the API server stopped answering";
        return RemovalResult::Failed(Failure::other(REMOVE_KEYS.action, problem));
    }
    let result = apply_nothing(client, pod).await;
    match &result {
        RemovalResult::Failed(failure) if failure.is_unanswered() => {
            unanswered.fetch_add(1, Ordering::Relaxed);
        }
        _ => unanswered.store(0, Ordering::Relaxed),
    }
    result
}

async fn apply_nothing(client: &Client, pod: &PodKeys) -> RemovalResult {
    // A response that cannot be read is not a failure: the API server has done what it answers.
    let api: Api<Object<OwnedPod>> = Api::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams::apply(keys::FIELD_MANAGER);
    let nothing = Patch::Apply(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
    }));
    let mut retries = 0;
    loop {
        let request = async { Ok(api.patch(&pod.name, &params, &nothing).await) };
        match REMOVE_KEYS.run(request).await {
            Ok(Ok(_)) => return RemovalResult::Removed,
            Ok(Err(Error::Api(status))) if is_gone(&status) => return RemovalResult::Gone,
            Ok(Err(Error::Api(status))) if status.code == 429 && retries < MAX_RETRIES => {
                retries += 1;
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                sleep(Duration::from_secs(seconds.into()).clamp(RETRY_DELAY, MAX_RETRY_DELAY)).await;
            }
            Ok(Err(error)) => return RemovalResult::Failed(REMOVE_KEYS.failure(&error)),
            Err(timeout) => return RemovalResult::Failed(timeout),
        }
    }
}

fn is_gone(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    is_pod_gone(status.code, &status.message, causes.map(|cause| cause.field.as_str()))
}
