//! Publishes Events. They are for people: one that cannot be published is counted, not retried.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::WRITE_DEADLINE;
use crate::action::KubeEvent;
use crate::metrics::Metrics;

/// Characters of a note. The API allows 1 kB.
const MAX_NOTE: usize = 1000;

/// Publishes Events until the shutdown. Those without a pod are about the aggregator's Deployment in `namespace`.
///
/// # Errors
/// Never.
pub(crate) async fn run(
    client: Client,
    replica: String,
    namespace: String,
    metrics: Metrics,
    mut events: mpsc::Receiver<KubeEvent>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let reporter = Reporter { controller: keys::AGGREGATOR.to_owned(), instance: Some(replica) };
    let recorder = Recorder::new(client, reporter);
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.triggered() => return Ok(()),
            next = events.recv() => next,
        };
        let Some(event) = next else { return Ok(()) };
        let published = publish(&recorder, &namespace, event).await;
        metrics.event(published.is_ok());
        if let Err(error) = published {
            tracing::debug!(error, "an Event was not published");
        }
    }
}

async fn publish(recorder: &Recorder, namespace: &str, event: KubeEvent) -> Result<(), String> {
    let about = about(&event, namespace);
    let event = Event {
        type_: if event.warning { EventType::Warning } else { EventType::Normal },
        reason: event.reason,
        note: Some(event.note.chars().take(MAX_NOTE).collect()),
        action: "Label".to_owned(),
        secondary: None,
    };
    match timeout(WRITE_DEADLINE, recorder.publish(&event, &about)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(format!("no response within {WRITE_DEADLINE:?}")),
    }
}

fn about(event: &KubeEvent, namespace: &str) -> ObjectReference {
    let object = |version: &str, kind: &str, namespace: &str, name: &str| ObjectReference {
        api_version: Some(version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    };
    match &event.about {
        Some((pod, uid)) => {
            ObjectReference { uid: Some(uid.clone()), ..object("v1", "Pod", &pod.namespace, &pod.name) }
        }
        None => object("apps/v1", "Deployment", namespace, keys::AGGREGATOR),
    }
}
