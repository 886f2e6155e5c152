//! The stream of changes after a list, in-process; the HTTP side writes the same stream as JSON lines.
//!
//! A subscription is a position in the log, not a queue: a slow watcher costs no memory, and one whose position is no longer
//! in the log gets a 410.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::kinds::Resource;
use super::selector::Selector;
use super::state::{Change, EventKind, SharedState};
use super::status::ApiError;

/// Maximum number of changes copied from the log at once.
const BATCH: usize = 256;

/// One change, as a watcher with a selector sees it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The object after the change; of a deleted object its last state.
    pub(crate) object: Arc<Value>,
}

/// A position in the log of one resource type.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(super) state: SharedState,
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    pub(super) version: u64,
    pub(super) versions: watch::Receiver<u64>,
    pub(super) ready: VecDeque<Event>,
}

impl Subscription {
    /// Waits for the next change. Cancel-safe. 410 when the changes after this position are no longer in the log: start again
    /// with a list.
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            if self.versions.changed().await.is_err() {
                return Err(ApiError::too_old(self.version, self.version));
            }
        }
    }

    /// The next change, if there is one already; errors as [`next`](Self::next).
    pub(crate) fn try_next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            // Marked before reading: a change in between is received again.
            self.versions.mark_unchanged();
            let changes = self.state.lock().collection(&self.resource).since(self.version, BATCH)?;
            let Some(last) = changes.last() else {
                return Ok(None);
            };
            self.version = last.version;
            let events = changes
                .into_iter()
                .filter_map(|change| selected(&self.selector, self.namespace.as_deref(), change));
            self.ready.extend(events);
        }
    }

    /// The version up to which this watcher has seen everything, for a bookmark; `None` while changes are waiting.
    pub(super) fn bookmark(&mut self) -> Option<u64> {
        if !self.ready.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        let current = state.version;
        let waiting = state.collection(&self.resource).since(self.version, 1);
        waiting.is_ok_and(|changes| changes.is_empty()).then(|| {
            self.version = current;
            current
        })
    }
}

/// The change as a watcher with a selector sees it: an object that starts or stops to match is added or deleted.
fn selected(selector: &Selector, namespace: Option<&str>, change: Change) -> Option<Event> {
    if namespace.is_some_and(|namespace| namespace != change.key.0) {
        return None;
    }
    let matched = change.previous.as_ref().is_some_and(|previous| selector.matches(previous));
    let matches = selector.matches(&change.object) && change.kind != EventKind::Deleted;
    let kind = match (matched, matches) {
        (false, false) => return None,
        (false, true) => EventKind::Added,
        (true, true) => EventKind::Modified,
        (true, false) => EventKind::Deleted,
    };
    let object = match (kind, change.kind, change.previous) {
        // The object no longer matches: the watcher gets the last matching state, at the version of the change.
        (EventKind::Deleted, EventKind::Modified, Some(previous)) => {
            let mut known = (*previous).clone();
            known["metadata"]["resourceVersion"] = change.object["metadata"]["resourceVersion"].clone();
            Arc::new(known)
        }
        _ => change.object,
    };
    Some(Event { kind, object })
}
