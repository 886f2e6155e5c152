//! The state of the sandbox's cluster: the objects of every type, one version counter, and the log of changes that continued
//! lists and watches read.
//!
//! The log of a type contains every change after its version `oldest`. A continued list shows the objects as they were at its
//! first page, by undoing the later changes; a version that is no longer in the log is answered with 410.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::kinds::{Kind, Kinds, Resource};
use super::status::ApiError;

/// Changes kept per resource type; older ones are compacted.
const LOG_LENGTH: usize = 8192;

/// Namespace (empty for cluster-scoped) and name.
pub(super) type Key = (String, String);

/// What happened to an object, or to its match with a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// The state behind its lock, which is never held across an await. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct SharedState(Arc<Mutex<State>>);

impl SharedState {
    /// An empty state, without namespaces.
    pub(super) fn new(graceful_deletion: bool) -> SharedState {
        let (kinds, collections) = (Kinds::default(), BTreeMap::new());
        SharedState(Arc::new(Mutex::new(State { version: 1, kinds, collections, graceful_deletion })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) kinds: Kinds,
    /// By group and plural: all versions of a type share their objects.
    collections: BTreeMap<(String, String), Collection>,
    pub(super) graceful_deletion: bool,
}

impl State {
    /// The collection of a type, created on first use.
    pub(super) fn collection(&mut self, resource: &Resource) -> &mut Collection {
        let key = (resource.group.to_string(), resource.plural.to_string());
        let version = self.version;
        self.collections.entry(key).or_insert_with(|| Collection::new(version))
    }

    pub(super) fn object(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let key = (resource.group.to_string(), resource.plural.to_string());
        self.collections.get(&key)?.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Stores an object at the next version.
    pub(super) fn store(&mut self, kind: &Kind, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if kind.resource == Resource::DEFINITIONS {
            self.kinds.define(&object);
        }
        let (version, object) = (self.version, Arc::new(object));
        let collection = self.collection(&kind.resource);
        let previous = collection.objects.insert(key.clone(), object.clone());
        let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
        collection.append(Change { version, key, kind, object: object.clone(), previous });
        object
    }

    /// Removes an object at the next version; `last` is its last state.
    pub(super) fn remove(&mut self, kind: &Kind, key: Key, mut last: Value) -> Arc<Value> {
        self.version += 1;
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (version, object) = (self.version, Arc::new(last));
        let collection = self.collection(&kind.resource);
        let previous = collection.objects.remove(&key);
        collection.append(Change {
            version,
            key,
            kind: EventKind::Deleted,
            object: object.clone(),
            previous,
        });
        object
    }

    /// Drops the log of every type. The version increases, so that even the newest watch is from before.
    #[cfg(test)]
    pub(super) fn compact(&mut self) {
        self.version += 1;
        for collection in self.collections.values_mut() {
            collection.log.clear();
            collection.oldest = self.version;
            collection.newest.send_replace(self.version);
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    pub(super) kind: EventKind,
    /// The object after the change; of a deleted object its last state, at the version of the deletion.
    pub(super) object: Arc<Value>,
    pub(super) previous: Option<Arc<Value>>,
}

/// The objects of one resource type.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    oldest: u64,
    newest: watch::Sender<u64>,
}

impl Collection {
    fn new(version: u64) -> Self {
        let newest = watch::Sender::new(version);
        Self { objects: BTreeMap::new(), log: VecDeque::new(), oldest: version, newest }
    }

    /// Receives the version of each change.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn append(&mut self, change: Change) {
        let version = change.version;
        self.log.push_back(change);
        while self.log.len() > LOG_LENGTH {
            self.oldest = self.log.pop_front().map_or(version, |change| change.version);
        }
        self.newest.send_replace(version);
    }

    /// At most `limit` changes after a version, or a 410 when some of them are no longer in the log.
    pub(super) fn since(&self, version: u64, limit: usize) -> Result<Vec<Change>, ApiError> {
        if version < self.oldest {
            return Err(ApiError::too_old(version, self.oldest));
        }
        let from = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.iter().skip(from).take(limit).cloned().collect())
    }

    /// The objects as they were at a version, or a 410 when it is no longer in the log.
    pub(super) fn as_of(&self, version: u64) -> Result<BTreeMap<Key, Arc<Value>>, ApiError> {
        if version < self.oldest {
            return Err(ApiError::continue_expired());
        }
        let from = self.log.partition_point(|change| change.version <= version);
        let mut objects = self.objects.clone();
        for change in self.log.iter().skip(from).rev() {
            match &change.previous {
                Some(previous) => objects.insert(change.key.clone(), previous.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects)
    }
}
