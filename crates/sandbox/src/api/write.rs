//! Writes: creation, replacement, patch and status edit, in this order: shape, identity, the part of the object that the
//! subresource may change, field ownership, generation, no change if nothing differs, commit.
//!
//! The state is locked for the whole write, so that a compare-and-swap is atomic. The rules of each type are in `rules`, `pod`,
//! `resize`, `secret`, `lease` and `events`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{Kind, Resource};
use super::patch::apply::apply;
use super::patch::managers::{Manager, Managers};
use super::patch::schema::Schema;
use super::patch::strategic::strategic;
use super::patch::{Patch, apply_json};
use super::state::State;
use super::status::ApiError;
use super::store::Store;
use super::{pod, remove, resize, rules, shape};

/// The part of an object that a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subresource {
    /// The object itself, without its status.
    #[default]
    Main,
    /// `status`.
    Status,
    /// `pods/resize`.
    Resize,
}

/// Options of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The field manager.
    pub manager: String,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// For an apply: take fields from other managers.
    pub force: bool,
    /// The part of the object.
    pub subresource: Subresource,
}

impl Write {
    /// A write of the object itself by this field manager.
    pub fn by(manager: &str) -> Self {
        Self { manager: manager.to_owned(), dry_run: false, force: false, subresource: Subresource::Main }
    }

    /// The same write through a subresource.
    pub fn through(mut self, subresource: Subresource) -> Self {
        self.subresource = subresource;
        self
    }

    fn manager(&self, resource: &Resource, apply: bool) -> Manager {
        let subresource = match self.subresource {
            Subresource::Main => None,
            Subresource::Status => Some("status".to_owned()),
            Subresource::Resize => Some("resize".to_owned()),
        };
        Manager { name: self.manager.clone(), apply, api_version: resource.api_version(), subresource }
    }
}

impl Default for Write {
    fn default() -> Self {
        Self::by("sandbox")
    }
}

/// The result of a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object after the write.
    pub object: Arc<Value>,
    /// Whether the write created it.
    pub created: bool,
}

/// The kind of a write. A real server answers each with another code when a part of the object has the wrong type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Replacement,
    Patch,
    Apply,
}

impl Operation {
    fn type_error(self, error: ApiError) -> ApiError {
        match self {
            _ if error.code != 400 => error,
            Self::Replacement => error,
            Self::Patch => ApiError::invalid("", "", "patch", "Invalid value: \"...\"", &error.message),
            Self::Apply => {
                ApiError::internal(format!("failed to create typed patch object: {}", error.message))
            }
        }
    }
}

impl Store {
    /// Creates an object; namespace and name (or generateName) are in its metadata.
    ///
    /// # Errors
    /// 404 for an unknown type or namespace, 409 when it exists, 422 when it violates a rule of the type.
    pub fn create(&self, resource: &Resource, object: Value) -> Result<Value, ApiError> {
        self.create_as(resource, object, &Write::default()).map(|object| (*object).clone())
    }

    /// Creates an object as a field manager, or as a dry run.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_as(
        &self,
        resource: &Resource,
        mut object: Value,
        write: &Write,
    ) -> Result<Arc<Value>, ApiError> {
        let mut state = self.lock();
        let kind = state.kinds.find(resource)?.clone();
        shape::check(&kind, &object)?;
        if kind.resource == Resource::PODS {
            pod::canonicalize_resources(&mut object);
        }
        if !object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
            return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
        }
        rules::prepare_create(&kind, &mut object)?;
        record(&kind, write, &json!({}), &mut object);
        insert(&mut state, &kind, object, write)
    }

    /// Replaces an object. With a resourceVersion in its metadata the write is a compare-and-swap. 404 when it does not exist, 409 for
    /// another version or uid, 422 when it violates a rule of the type.
    pub(crate) fn update(
        &self,
        resource: &Resource,
        object: Value,
        write: &Write,
    ) -> Result<Written, ApiError> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        self.write(resource, (&namespace, &name), write, Operation::Replacement, |kind, old| {
            match old {
                Some(old) => rules::check_replacement(kind, old, &object)?,
                // of our types the only one that a PUT creates
                None if kind.resource == Resource::LEASES => {
                    rules::check_creating_replacement(kind, &object)?;
                }
                None => return Err(ApiError::not_found(&resource.qualified(), &name)),
            }
            Ok(object)
        })
    }

    /// Patches an object; an apply creates one that does not exist.
    ///
    /// # Errors
    /// 404 when it does not exist, 409 for another version, a field of another manager, or a uid that no object has, 422 when
    /// the uid differs or the result violates a rule of the type.
    pub fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Patch,
        write: &Write,
    ) -> Result<Written, ApiError> {
        let operation = if matches!(patch, Patch::Apply(_)) { Operation::Apply } else { Operation::Patch };
        self.write(resource, (namespace, name), write, operation, |kind, old| {
            let schema = Schema { custom: kind.custom };
            if let Patch::Apply(config) = patch {
                let config = rules::prepare_apply(kind, write, (namespace, name), config, old.is_some())?;
                let manager = write.manager(resource, true);
                let live = old.cloned().unwrap_or_else(|| json!({}));
                return apply(schema, &live, &config, &manager, write.force, &rules::now());
            }
            let Some(old) = old else { return Err(ApiError::not_found(&resource.qualified(), name)) };
            let mut new = old.clone();
            match patch {
                Patch::Strategic(_) if kind.custom => {
                    let known = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                    return Err(ApiError::unsupported_media_type("application/strategic-merge-patch+json", known));
                }
                Patch::Strategic(patch) => strategic(schema, &mut new, patch),
                Patch::Json(operations) => apply_json(&mut new, operations)?,
                Patch::Merge(patch) | Patch::Apply(patch) => json_patch::merge(&mut new, patch),
            }
            Ok(new)
        })
    }

    /// Edits the `status` of an object, like a kubelet: `edit` gets the status alone, `{}` when there is none.
    ///
    /// # Errors
    /// 404 when the object does not exist.
    pub fn update_status(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Value, ApiError> {
        let write = Write::by("kubelet").through(Subresource::Status);
        let written = self.write(resource, (namespace, name), &write, Operation::Replacement, |_, old| {
            let mut new = old.cloned().ok_or_else(|| ApiError::not_found(&resource.qualified(), name))?;
            if !new["status"].is_object() {
                new["status"] = json!({});
            }
            edit(&mut new["status"]);
            Ok(new)
        });
        written.map(|written| (*written.object).clone())
    }

    /// Writes to an existing object, or creates one by an apply. `change` computes the new object from the old one.
    fn write(
        &self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        write: &Write,
        operation: Operation,
        change: impl FnOnce(&Kind, Option<&Value>) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let mut state = self.lock();
        let kind = state.kinds.find(resource)?.clone();
        let old = state.object(resource, namespace, name).cloned();
        let mut new = change(&kind, old.as_deref())?;
        shape::check(&kind, &new).map_err(|error| operation.type_error(error))?;
        if kind.resource == Resource::PODS {
            pod::canonicalize_resources(&mut new);
            pod::set_defaults(&mut new);
        }
        // an apply has recorded its fields already
        let records = operation != Operation::Apply;
        let Some(old) = old else {
            rules::prepare_create(&kind, &mut new)?;
            if records {
                record(&kind, write, &json!({}), &mut new);
            }
            return insert(&mut state, &kind, new, write).map(|object| Written { object, created: true });
        };
        rules::check_identity(&kind, &old, &new)?;
        rules::restore_server_fields(&kind, &old, &mut new);
        match write.subresource {
            Subresource::Main => rules::prepare_update(&kind, &old, &mut new)?,
            Subresource::Status => rules::restore_all_but_status(&kind, &old, &mut new),
            Subresource::Resize => {
                if records {
                    // the writer owns also the fields that are dropped next
                    record(&kind, write, &old, &mut new);
                }
                resize::prepare(&old, &mut new)?;
                let node = new["spec"]["nodeName"].as_str().unwrap_or_default();
                resize::check_capacity(&new, state.object(&Resource::NODES, "", node).map(|node| &**node))?;
            }
        }
        if records && write.subresource != Subresource::Resize {
            record(&kind, write, &old, &mut new);
        }
        rules::count_generation(&kind, &old, &mut new);
        if new == *old {
            return Ok(Written { object: old, created: false });
        }
        if write.dry_run {
            return Ok(Written { object: Arc::new(new), created: false });
        }
        let key = (namespace.to_owned(), name.to_owned());
        let object = if remove::is_removable(&new) {
            remove::release(&mut state, &kind, key, new)
        } else {
            state.store(&kind, key, new)
        };
        Ok(Written { object, created: false })
    }
}

/// Makes the writer the owner of the fields that its write changed.
fn record(kind: &Kind, write: &Write, old: &Value, new: &mut Value) {
    let mut managers = Managers::of(old);
    let schema = Schema { custom: kind.custom };
    managers.record_update(&write.manager(&kind.resource, false), schema, old, new, &rules::now());
    managers.store_in(new);
}

/// Stores a prepared new object, unless the name exists or the namespace does not.
fn insert(state: &mut State, kind: &Kind, mut object: Value, write: &Write) -> Result<Arc<Value>, ApiError> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let key = (text("namespace"), text("name"));
    if kind.namespaced && state.object(&Resource::NAMESPACES, "", &key.0).is_none() {
        return Err(ApiError::not_found("namespaces", &key.0));
    }
    if state.object(&kind.resource, &key.0, &key.1).is_some() {
        return Err(ApiError::already_exists(&kind.resource.qualified(), &key.1));
    }
    if kind.resource == Resource::PODS {
        let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        if account != "default" && state.object(&Resource::SERVICE_ACCOUNTS, &key.0, account).is_none() {
            let namespace = &key.0;
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
            );
            return Err(ApiError::forbidden("pods", &key.1, &why));
        }
    }
    rules::complete(kind, &mut object);
    if write.dry_run {
        return Ok(Arc::new(object));
    }
    let stored = state.store(kind, key.clone(), object);
    if kind.resource == Resource::NAMESPACES {
        add_default_account(state, &key.1);
    }
    Ok(stored)
}

/// Creates the service account `default` of a new namespace, like the service account controller.
fn add_default_account(state: &mut State, namespace: &str) {
    let Ok(kind) = state.kinds.find(&Resource::SERVICE_ACCOUNTS).cloned() else {
        return;
    };
    let mut account = json!({"metadata": {"name": "default", "namespace": namespace}});
    if rules::prepare_create(&kind, &mut account).is_ok() {
        state.store(&kind, (namespace.to_owned(), "default".to_owned()), account);
    }
}
