//! The state of the sandbox's cluster: every object and one version counter. How lists age lies in `collection`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::collection::{Collection, Key};
use super::kinds::{Kind, Kinds, Resource};

/// The state behind its one lock, which is never held across an await. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Cell(Arc<Mutex<State>>);

impl Cell {
    /// Nothing in it, not even a namespace.
    pub(super) fn new(graceful_deletion: bool) -> Cell {
        let (kinds, collections) = (Kinds::default(), BTreeMap::new());
        Cell(Arc::new(Mutex::new(State { version: 1, kinds, collections, graceful_deletion })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) kinds: Kinds,
    collections: BTreeMap<(String, String), Collection>,
    pub(super) graceful_deletion: bool,
}

impl State {
    /// The collection of a type; made when it is first used.
    pub(super) fn collection(&mut self, resource: &Resource) -> &mut Collection {
        let key = (resource.group.to_string(), resource.plural.to_string());
        let version = self.version;
        self.collections.entry(key).or_insert_with(|| Collection::new(version))
    }

    pub(super) fn object(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let key = (resource.group.to_string(), resource.plural.to_string());
        self.collections.get(&key)?.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn collections(&mut self) -> impl Iterator<Item = (&(String, String), &mut Collection)> {
        self.collections.iter_mut()
    }

    /// Stores the object at the next version.
    pub(super) fn commit(&mut self, kind: &Kind, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if kind.resource == Resource::DEFINITIONS {
            self.kinds.define(&object);
        }
        let object = Arc::new(object);
        let version = self.version;
        self.collection(&kind.resource).commit(version, key, Some(object.clone()), None);
        object
    }
}
