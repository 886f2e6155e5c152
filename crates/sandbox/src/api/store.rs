//! The sandbox's cluster as its users see it: reads, subscriptions, deletions. The other writes are in `write`.
//!
//! Synchronous and in-process: the hollow kubelet and tests use it directly, and the HTTP side uses nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};

use serde_json::{Value, json};

use super::kinds::{Kind, Kinds, Resource};
use super::page::{self, List, ListOptions};
use super::remove;
use super::selector::Selector;
use super::state::{SharedState, State};
use super::status::ApiError;
use super::watch::Subscription;

/// The objects of the cluster. Clones share the state.
#[derive(Debug, Clone)]
pub struct Store {
    state: SharedState,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Store {
    /// A store with the namespaces of a new cluster. With `graceful_deletion`, deleting a pod that is bound to a node only
    /// marks it, and a kubelet must delete it again with a grace period of 0; without, the pod is removed immediately.
    pub fn new(graceful_deletion: bool) -> Self {
        let store = Self { state: SharedState::new(graceful_deletion) };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            // A new store has none of them.
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

    pub(super) fn kind(&self, resource: &Resource) -> Result<Kind, ApiError> {
        self.lock().kinds.find(resource).cloned()
    }

    pub(super) fn kinds(&self) -> Kinds {
        self.lock().kinds.clone()
    }

    /// One object; `namespace` is empty for cluster-scoped types.
    ///
    /// # Errors
    /// 404 for an unknown type or object.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, ApiError> {
        self.get_shared(resource, namespace, name).map(|object| (*object).clone())
    }

    /// One object, without a copy.
    pub(crate) fn get_shared(
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

    /// Every object that matches the selector, ordered by namespace and name; of all namespaces when `namespace` is `None`.
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

    /// One page of a list. 410 for a continue token or an exact version that is too old, 504 for a future version.
    pub(super) fn page(&self, resource: &Resource, options: &ListOptions<'_>) -> Result<List, ApiError> {
        let mut state = self.lock();
        state.kinds.find(resource)?;
        let version = state.version;
        page::page(state.collection(resource), version, options)
    }

    /// A list, and the changes after it.
    pub(crate) fn subscribe(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<(List, Subscription), ApiError> {
        let options = ListOptions { namespace, selector: selector.clone(), ..ListOptions::default() };
        let list = self.page(resource, &options)?;
        let subscription = self.subscribe_from(resource, namespace, selector, list.version)?;
        Ok((list, subscription))
    }

    /// The changes after a version. If that is too old, the first item is an error.
    pub(super) fn subscribe_from(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
        version: u64,
    ) -> Result<Subscription, ApiError> {
        let mut state = self.lock();
        state.kinds.find(resource)?;
        Ok(Subscription {
            state: self.state.clone(),
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            selector: selector.clone(),
            version,
            versions: state.collection(resource).versions(),
            ready: VecDeque::new(),
        })
    }

    /// Changes an object without any rule: a real server holds objects that the rules of this one do not make.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub fn edit_unchecked(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) -> Result<(), ApiError> {
        let mut state = self.lock();
        let kind = state.kinds.find(resource)?.clone();
        let found = state.object(resource, namespace, name).cloned();
        let mut object = found
            .map_or_else(|| Err(ApiError::not_found(&resource.qualified(), name)), |it| Ok((*it).clone()))?;
        edit(&mut object);
        state.store(&kind, (namespace.to_owned(), name.to_owned()), object);
        Ok(())
    }

    /// Deletes an object without a grace period. It remains while it has finalizers.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub fn delete(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, ApiError> {
        let options = json!({"gracePeriodSeconds": 0});
        self.delete_as(resource, namespace, name, &options, false).map(|object| (*object).clone())
    }

    /// Deletes an object with `DeleteOptions`: preconditions and a grace period.
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
