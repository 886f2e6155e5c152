//! The objects of one resource type and the log of their changes: what lists, continued lists and watches read.
//!
//! The log holds every change newer than `oldest`. A continued list sees the collection as it was at its first page, by
//! undoing the newer changes; a version that left the log is a 410.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::status::ApiError;

/// Changes kept per resource type; older ones are compacted.
const LOG_LENGTH: usize = 8192;

/// Namespace (empty for cluster-scoped) and name.
pub(super) type Key = (String, String);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is new, or newly selected.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or no longer selected.
    Deleted,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    pub(super) kind: EventKind,
    /// The object after the change; for a deletion its last state, at the deletion's version.
    pub(super) object: Arc<Value>,
    pub(super) previous: Option<Arc<Value>>,
}

/// The objects of one resource type.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    oldest: u64,
    tick: watch::Sender<u64>,
}

impl Collection {
    pub(super) fn new(version: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            oldest: version,
            tick: watch::Sender::new(version),
        }
    }

    /// Wakes with the version of each change.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    /// Performs one change: `object` is `None` for a deletion, which then carries `last`.
    pub(super) fn commit(
        &mut self,
        version: u64,
        key: Key,
        object: Option<Arc<Value>>,
        last: Option<Arc<Value>>,
    ) {
        let previous = match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        let kind = match (&object, &previous) {
            (None, _) => EventKind::Deleted,
            (Some(_), None) => EventKind::Added,
            (Some(_), Some(_)) => EventKind::Modified,
        };
        if let Some(object) = object.or(last) {
            self.log.push_back(Change { version, key, kind, object, previous });
        }
        while self.log.len() > LOG_LENGTH {
            self.oldest = self.log.pop_front().map_or(version, |change| change.version);
        }
        self.tick.send_replace(version);
    }

    /// Forgets the log up to the given version.
    pub(super) fn compact(&mut self, version: u64) {
        self.log.clear();
        self.oldest = version;
        self.tick.send_replace(version);
    }

    /// At most `most` changes after a version.
    ///
    /// # Errors
    /// 410 when some of them left the log.
    pub(super) fn since(&self, version: u64, most: usize) -> Result<Vec<Change>, ApiError> {
        if version < self.oldest {
            return Err(ApiError::too_old(version, self.oldest));
        }
        let from = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.iter().skip(from).take(most).cloned().collect())
    }

    /// The objects as they were at a version, or `None` when that is how they are now.
    ///
    /// # Errors
    /// 410 when the version left the log.
    pub(super) fn as_of(&self, version: u64) -> Result<Option<BTreeMap<Key, Arc<Value>>>, ApiError> {
        if version < self.oldest {
            return Err(ApiError::continue_expired());
        }
        let from = self.log.partition_point(|change| change.version <= version);
        if from == self.log.len() {
            return Ok(None);
        }
        let mut objects = self.objects.clone();
        for change in self.log.iter().skip(from).rev() {
            match &change.previous {
                Some(previous) => objects.insert(change.key.clone(), previous.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(Some(objects))
    }
}
