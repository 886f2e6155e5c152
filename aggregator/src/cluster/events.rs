//! Publishes Events. They are for people: one that cannot be published is counted, not retried.
//!
//! Each is an Event of its own. kube's recorder would count a second one with the same reason on the same object as a repetition of
//! the first, whose note then stays; the core repeats none, and the notes differ.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::WRITE_DEADLINE;
use crate::action::{KubeEvent, Subject};
use crate::metrics::Metrics;

/// Bytes of a note that the API allows.
const MAX_NOTE: usize = 1024;

/// Publishes Events until the shutdown. `namespace` is that of the aggregator's Deployment.
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
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.triggered() => return Ok(()),
            next = events.recv() => next,
        };
        let Some(event) = next else { return Ok(()) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        let published = publish(&recorder, &namespace, event).await;
        metrics.event(published.is_ok());
        if let Err(error) = published {
            tracing::debug!(error, "an Event was not published");
        }
    }
}

async fn publish(recorder: &Recorder, namespace: &str, event: KubeEvent) -> Result<(), String> {
    let about = about(&event.about, namespace);
    let action = if event.reason.starts_with("Resize") { "Resize" } else { "Label" };
    let event = Event {
        type_: if event.warning { EventType::Warning } else { EventType::Normal },
        reason: event.reason,
        note: Some(shortened(event.note)),
        action: action.to_owned(),
        secondary: None,
    };
    match timeout(WRITE_DEADLINE, recorder.publish(&event, &about)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(format!("no response within {WRITE_DEADLINE:?}")),
    }
}

/// As much of a note as the API allows.
fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    note
}

/// A reference to the object. As client-go does it, one without a namespace is in none, and its Events are in `default`.
fn about(subject: &Subject, namespace: &str) -> ObjectReference {
    let (version, kind, namespace, name, uid) = match subject {
        Subject::Pod { pod, uid } => {
            ("v1", "Pod", Some(pod.namespace.as_ref()), pod.name.as_ref(), Some(uid))
        }
        Subject::Node { node, uid } => ("v1", "Node", None, node.as_str(), uid.as_ref()),
        Subject::Namespace { name, uid } => ("v1", "Namespace", None, name.as_str(), uid.as_ref()),
        Subject::Class { name, uid } => {
            ("plimsoll.dev/v1alpha1", "SLAClass", None, name.as_str(), uid.as_ref())
        }
        Subject::Aggregator => ("apps/v1", "Deployment", Some(namespace), keys::AGGREGATOR, None),
    };
    ObjectReference {
        api_version: Some(version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        uid: uid.filter(|uid| !uid.is_empty()).cloned(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_note_is_shortened_to_the_bytes_that_the_api_allows_at_a_character() {
        assert_eq!(shortened("x".repeat(1024)).len(), 1024);
        assert_eq!(shortened("x".repeat(2000)).len(), 1024);
        let odd = shortened(format!("x{}", "\u{e4}".repeat(1000)));
        assert_eq!((odd.len(), odd.chars().count()), (1023, 512));
    }
}
