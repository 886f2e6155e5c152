//! Letting go of our keys on pods: an apply of nothing, a pod, some at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, Error};
use plimsoll_contract::keys;
use serde_json::json;
use tokio::time::sleep;

use super::survey::Found;
use crate::connect::{Failure, Question};

/// Requests at once: as many as the aggregator makes. Whoever watches pods gets every one of them.
pub(super) const AT_ONCE: usize = 4;
/// How often a server that is too busy is asked again, for one pod.
const AGAIN: usize = 5;
/// What is waited between, unless the server says more; and what is waited at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
/// So many requests in a row without any answer: the API server is away, and nothing more is tried.
const AWAY: usize = 4 * AT_ONCE;

const REMOVING: Question =
    Question { asked: "taking our keys off", whom: "API server", right: "patch pods", of_aggregator: false };

/// What became of one pod.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing here is ours to take off.
    Left,
    /// The API server did it.
    Done,
    /// The pod is gone, or another one has its name.
    Gone,
    /// It did not, or nobody knows.
    Failed(Failure),
}

/// Lets go of our keys on every pod; the outcomes are in the order of the pods.
pub(super) async fn all(client: &Client, pods: &[Found]) -> Vec<Outcome> {
    let unanswered = AtomicUsize::new(0);
    let mut outcomes = Vec::with_capacity(pods.len());
    let mut waiting = pods.iter();
    let mut running = FuturesOrdered::new();
    loop {
        let room = AT_ONCE - running.len();
        running.extend(waiting.by_ref().take(room).map(|pod| attempt(client, pod, &unanswered)));
        match running.next().await {
            Some(outcome) => outcomes.push(outcome),
            None => return outcomes,
        }
    }
}

async fn attempt(client: &Client, pod: &Found, unanswered: &AtomicUsize) -> Outcome {
    if !pod.is_held() {
        return Outcome::Left;
    }
    if unanswered.load(Ordering::Relaxed) >= AWAY {
        let said = "not tried: the API server answered nothing more".to_owned();
        return Outcome::Failed(Failure::Refused { asked: REMOVING.asked, said });
    }
    let outcome = one(client, pod).await;
    match outcome {
        Outcome::Failed(Failure::Unreachable { .. } | Failure::Late(_)) => {
            unanswered.fetch_add(1, Ordering::Relaxed);
        }
        _ => unanswered.store(0, Ordering::Relaxed),
    }
    outcome
}

async fn one(client: &Client, pod: &Found) -> Outcome {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams::apply(keys::FIELD_MANAGER);
    let nothing = Patch::Apply(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
    }));
    let mut tries = 0;
    loop {
        let sent = async { Ok(api.patch_metadata(&pod.name, &params, &nothing).await) };
        match REMOVING.answer(sent).await {
            Ok(Ok(_)) => return Outcome::Done,
            Ok(Err(Error::Api(status))) if is_gone(&status) => return Outcome::Gone,
            Ok(Err(Error::Api(status))) if status.code == 429 && tries < AGAIN => {
                tries += 1;
                sleep(pause(&status)).await;
            }
            Ok(Err(error)) => return Outcome::Failed(REMOVING.failure(&error)),
            Err(late) => return Outcome::Failed(late),
        }
    }
}

/// The pod is gone, or has another uid: the wordings are those of a real API server, which words it differently for an
/// apply to a pod that is gone, and for one that was made again.
fn is_gone(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    let about_uid = causes.any(|cause| cause.field == "metadata.uid")
        || ["uid mismatch", "UID in precondition", "metadata.uid: Invalid value"]
            .iter()
            .any(|words| status.message.contains(words));
    status.code == 404 || (matches!(status.code, 409 | 422) && about_uid)
}

fn pause(status: &Status) -> Duration {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).clamp(PAUSE, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_its_uid_is_gone_and_any_other_refusal_is_a_failure() {
        let status = |code, message: &str| Status::failure(message, "Reason").with_code(code);
        let table = [
            (404, "pods \"web\" not found", true),
            (
                409,
                "uid mismatch: the provided object specified uid a, and no existing object was found",
                true,
            ),
            (422, "Pod \"web\" is invalid: metadata.uid: Invalid value: \"a\": field is immutable", true),
            (409, "the object has been modified", false),
            (422, "Pod \"web\" is invalid: metadata.labels: Invalid value", false),
            (403, "metadata.uid: Invalid value", false),
        ];
        for (code, message, gone) in table {
            assert_eq!(is_gone(&status(code, message)), gone, "{code} {message}");
        }
    }
}
