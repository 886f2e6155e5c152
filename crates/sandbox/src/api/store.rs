//! The sandbox's cluster as others use it: reads, subscriptions, deletions.
//!
//! Synchronous and in-process: the hollow kubelet and tests use it directly, the HTTP side uses nothing else. The other writes
//! are in `write`.

use std::sync::{Arc, MutexGuard};

use serde_json::{Value, json};

use super::kinds::{Kind, Kinds, Resource};
use super::page::{self, List, ListOptions};
use super::remove;
use super::selector::Selector;
use super::state::{Cell, State};
use super::status::ApiError;
use super::watch::Subscription;

/// The cluster's objects. A cheap handle: clones share the state.
#[derive(Debug, Clone)]
pub struct Store {
    state: Cell,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Store {
    /// A store with the namespaces of a new cluster. With `graceful_deletion` a pod that is bound to a node is only marked
    /// when it is deleted, and a kubelet must delete it a second time, with a grace period of 0; without, it goes at once.
    pub fn new(graceful_deletion: bool) -> Self {
        let store = Self { state: Cell::new(graceful_deletion) };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            // a fresh store has none of them
            let _ = store.create(&Resource::NAMESPACES, json!({"metadata": {"name": name}}));
        }
        store
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// One resource type.
    ///
    /// # Errors
    /// 404 when the server does not know it.
    pub fn kind(&self, resource: &Resource) -> Result<Kind, ApiError> {
        self.lock().kinds.find(resource).cloned()
    }

    /// A copy of the table of resource types.
    pub fn kinds(&self) -> Kinds {
        self.lock().kinds.clone()
    }

    /// Adds a custom resource type without a definition object.
    pub fn register(&self, kind: Kind) {
        self.lock().kinds.register(kind);
    }

    /// One object; `namespace` is empty for cluster-scoped types.
    ///
    /// # Errors
    /// 404 for an unknown type or object.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, ApiError> {
        self.get_shared(resource, namespace, name).map(|object| (*object).clone())
    }

    /// One object without copying it.
    ///
    /// # Errors
    /// 404 for an unknown type or object.
    pub fn get_shared(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, ApiError> {
        let state = self.lock();
        state.kinds.find(resource)?;
        let found = state.object(resource, namespace, name).cloned();
        found.ok_or_else(|| ApiError::not_found(&resource.qualified(), name))
    }

    /// Every selected object, ordered by namespace and name; all namespaces when `namespace` is `None`.
    ///
    /// # Errors
    /// 404 for an unknown type.
    pub fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Vec<Arc<Value>>, ApiError> {
        let options = ListOptions { namespace, selector: selector.clone(), ..ListOptions::default() };
        self.page(resource, &options).map(|list| list.items)
    }

    /// One page of a list.
    ///
    /// # Errors
    /// 404 for an unknown type, 410 for a continue token or an exact version that is too old, 504 for a version of the future.
    pub fn page(&self, resource: &Resource, options: &ListOptions<'_>) -> Result<List, ApiError> {
        let mut state = self.lock();
        state.kinds.find(resource)?;
        let version = state.version;
        page::page(state.collection(resource), version, options)
    }

    /// A list and the stream of every change after it.
    ///
    /// # Errors
    /// 404 for an unknown type.
    pub fn subscribe(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<(Vec<Arc<Value>>, Subscription), ApiError> {
        let list = self.list_for_watch(resource, namespace, selector)?;
        let subscription = self.subscribe_from(resource, namespace, selector, list.version)?;
        Ok((list.items, subscription))
    }

    pub(super) fn list_for_watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<List, ApiError> {
        self.page(resource, &ListOptions { namespace, selector: selector.clone(), ..ListOptions::default() })
    }

    /// The stream of every change after a version. A version that is too old shows as the stream's first item.
    ///
    /// # Errors
    /// 404 for an unknown type.
    pub fn subscribe_from(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
        version: u64,
    ) -> Result<Subscription, ApiError> {
        let mut state = self.lock();
        state.kinds.find(resource)?;
        let ticks = state.collection(resource).ticks();
        let namespace = namespace.map(str::to_owned);
        Ok(Subscription::new(
            self.state.clone(),
            resource.clone(),
            namespace,
            selector.clone(),
            version,
            ticks,
        ))
    }

    /// Forgets the log of every type: watches and continue tokens from before are answered with 410. The version moves on, so
    /// that even the newest of them is from before.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        state.collections().for_each(|(_, collection)| collection.compact(version));
    }

    /// Deletes an object at once, unless finalizers hold it.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub fn delete(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, ApiError> {
        let options = json!({"gracePeriodSeconds": 0});
        self.delete_as(resource, namespace, name, &options, false).map(|object| (*object).clone())
    }

    /// Deletes an object with `DeleteOptions`: preconditions and the grace period count.
    ///
    /// # Errors
    /// 404 when it does not exist, 409 when a precondition does not hold.
    pub fn delete_as(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &Value,
        dry_run: bool,
    ) -> Result<Arc<Value>, ApiError> {
        let mut state = self.lock();
        let kind = state.kinds.find(resource)?.clone();
        remove::remove(&mut state, &kind, (namespace, name), options, dry_run)
    }
}
