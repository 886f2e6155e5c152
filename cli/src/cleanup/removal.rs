//! Gives resized pods their original resources back, and removes our keys from pods: one server-side apply without any key for each pod,
//! several at once.

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::Status;
use plimsoll_contract::api_status::is_pod_gone;
use plimsoll_contract::keys;
use plimsoll_objects::Object;
use serde_json::{Value, json};

use super::scan::{OwnedPod, PodKeys};
use crate::connect::{Failure, Operation};
use crate::live::PodId;
use crate::requests::{self, Requests};
use crate::restore::{Restored, restore};
use crate::size::Change;

const REMOVE_KEYS: Operation = Operation::on_api_server("removing Plimsoll's keys", "patch pods");

/// The result for one pod.
#[derive(Debug)]
pub(super) struct PodResult {
    pub(super) removal: RemovalResult,
    /// What was given back of its original resources.
    pub(super) restored: Vec<Change>,
    /// Why its original resources could not be restored: the annotation that names them stays.
    pub(super) not_restored: Option<String>,
}

/// What became of the keys of one pod.
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

impl From<RemovalResult> for PodResult {
    fn from(removal: RemovalResult) -> PodResult {
        PodResult { removal, restored: Vec::new(), not_restored: None }
    }
}

/// Restores and cleans every pod. The results are in the order of the pods.
pub(super) async fn remove_all(client: &Client, pods: &[PodKeys]) -> Vec<PodResult> {
    let requests = Requests::default();
    requests::all(pods.iter().map(|pod| restore_and_remove(client, pod, &requests))).await
}

async fn restore_and_remove(client: &Client, pod: &PodKeys, requests: &Requests) -> PodResult {
    if !pod.has_own_keys() {
        return RemovalResult::Skipped.into();
    }
    if !pod.is_resized() {
        return apply_nothing(client, pod, requests, None).await.into();
    }
    let id = PodId { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() };
    match restore(client, &id, requests, false).await {
        Restored::Gone => RemovalResult::Gone.into(),
        Restored::Done(restored) => {
            let removal = apply_nothing(client, pod, requests, None).await;
            PodResult { removal, restored, not_restored: None }
        }
        Restored::Already | Restored::Never | Restored::Finishing => {
            apply_nothing(client, pod, requests, None).await.into()
        }
        // The record of the original resources is all that is left of them, so it stays; and so does all else if it is not known.
        Restored::Failed { why, original } => {
            let removal = match &original {
                Some(original) => apply_nothing(client, pod, requests, Some(original)).await,
                None => RemovalResult::Skipped,
            };
            PodResult { removal, restored: Vec::new(), not_restored: Some(why) }
        }
    }
}

/// Gives up all our keys but, where it is given, `original-resources`.
async fn apply_nothing(
    client: &Client,
    pod: &PodKeys,
    requests: &Requests,
    original: Option<&String>,
) -> RemovalResult {
    // A response that cannot be read is not a failure: the API server has done what it answers.
    let api: Api<Object<OwnedPod>> = Api::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams::apply(keys::FIELD_MANAGER);
    let mut metadata = json!({"name": pod.name, "namespace": pod.namespace, "uid": pod.uid});
    if let Some(original) = original {
        metadata["annotations"] = json!({keys::ORIGINAL_RESOURCES: original});
    }
    let patch: Patch<Value> = Patch::Apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}));
    match requests.send(REMOVE_KEYS, || api.patch(&pod.name, &params, &patch)).await {
        Ok(Ok(_)) => RemovalResult::Removed,
        Ok(Err(status)) if is_gone(&status) => RemovalResult::Gone,
        Ok(Err(status)) => RemovalResult::Failed(REMOVE_KEYS.failure(&kube::Error::Api(status))),
        Err(failure) => RemovalResult::Failed(failure),
    }
}

fn is_gone(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    is_pod_gone(status.code, &status.message, causes.map(|cause| cause.field.as_str()))
}
