//! The stream of changes that lists are followed by, in-process; the HTTP side writes the same stream as JSON lines.
//!
//! A subscription keeps a place in the log, not a queue: a slow watcher costs no memory, and one that falls out of the log
//! gets a 410.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::collection::{Change, EventKind};
use super::kinds::Resource;
use super::selector::Selector;
use super::state::Cell;
use super::status::ApiError;

/// Changes copied from the log under one lock.
const BATCH: usize = 256;

/// One change as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened, from the point of view of the watcher's selector.
    pub kind: EventKind,
    /// The object after it; for a deletion its last state.
    pub object: Arc<Value>,
    /// The version of the change.
    pub version: u64,
}

/// A place in the log of one resource type.
#[derive(Debug)]
pub struct Subscription {
    state: Cell,
    resource: Resource,
    namespace: Option<String>,
    selector: Selector,
    version: u64,
    ticks: watch::Receiver<u64>,
    ready: VecDeque<Event>,
}

impl Subscription {
    pub(super) fn new(
        state: Cell,
        resource: Resource,
        namespace: Option<String>,
        selector: Selector,
        version: u64,
        ticks: watch::Receiver<u64>,
    ) -> Self {
        Self { state, resource, namespace, selector, version, ticks, ready: VecDeque::new() }
    }

    /// The next change; waits for one. Safe to drop in a `select!`: no change is lost.
    ///
    /// # Errors
    /// 410 when the changes after this place left the log; start again with a list.
    pub async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            if self.ticks.changed().await.is_err() {
                return Err(ApiError::too_old(self.version, self.version));
            }
        }
    }

    /// The next change if there is one already.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            // marked before reading: a change in between wakes us again
            self.ticks.mark_unchanged();
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

    /// The version up to which this watcher has seen everything, for a bookmark; `None` while changes wait.
    pub fn bookmark(&mut self) -> Option<u64> {
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

/// The change as seen through a selector: an object that starts or stops to match appears or disappears.
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
        // it left the selection: the watcher is shown what it knew, at the version of the change
        (EventKind::Deleted, EventKind::Modified, Some(previous)) => {
            let mut known = (*previous).clone();
            known["metadata"]["resourceVersion"] = change.object["metadata"]["resourceVersion"].clone();
            Arc::new(known)
        }
        _ => change.object,
    };
    Some(Event { kind, object, version: change.version })
}
