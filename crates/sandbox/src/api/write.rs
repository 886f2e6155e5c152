//! The rules of a write: what every create, replacement, patch and status edit goes through, in this order: shape, identity, the
//! part of the object its subresource may change, field ownership, generation, silence when nothing changed, commit.
//!
//! One lock for the whole write, so that a compare-and-swap is one. What is special about a type lies in `rules`, `pod`, `resize`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{Kind, Resource};
use super::patch::Patch;
use super::patch::apply::apply;
use super::patch::managers::Managers;
use super::patch::schema::Schema;
use super::patch::{json as json_patch, merge, strategic};
use super::state::State;
use super::status::ApiError;
use super::store::Store;
use super::terms::{Subresource, Write};
use super::{pod, remove, resize, rules, shape};

/// What a write left behind.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object now.
    pub object: Arc<Value>,
    /// Whether it did not exist before.
    pub created: bool,
}

/// Where the new state of an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Replacement,
    Patch,
    Apply,
}

impl Origin {
    /// A real server answers with another code for each, when a part of the object has the wrong type.
    fn mistyped(self, error: ApiError) -> ApiError {
        match self {
            _ if error.code != 400 => error,
            Self::Replacement => error,
            Self::Patch => ApiError::invalid("", "", "patch", "Invalid value: \"...\"", &error.message),
            Self::Apply => {
                ApiError::unforeseen(format!("failed to create typed patch object: {}", error.message))
            }
        }
    }
}

impl Store {
    /// Creates an object; namespace and name (or generateName) are taken from its metadata.
    ///
    /// # Errors
    /// 404 for an unknown type or namespace, 409 when it exists, 422 when a rule of the type is broken.
    pub fn create(&self, resource: &Resource, object: Value) -> Result<Value, ApiError> {
        self.create_as(resource, object, &Write::default()).map(|object| (*object).clone())
    }

    /// Creates an object as some field manager, or only checks it.
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
            return Err(ApiError::unforeseen("resourceVersion should not be set on objects to be created"));
        }
        rules::prepare_create(&kind, &mut object)?;
        record(&kind, write, &json!({}), &mut object);
        insert(&mut state, &kind, object, write)
    }

    /// Replaces an object. With a resourceVersion in its metadata the write is a compare-and-swap.
    ///
    /// # Errors
    /// 404 when it does not exist, 409 for another version or uid, 422 when a rule of the type is broken.
    pub fn update(&self, resource: &Resource, object: Value) -> Result<Value, ApiError> {
        self.update_as(resource, object, &Write::default()).map(|written| (*written.object).clone())
    }

    /// Replaces an object as some field manager, through a subresource, or only checks it.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_as(&self, resource: &Resource, object: Value, write: &Write) -> Result<Written, ApiError> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        self.write(resource, (&namespace, &name), write, Origin::Replacement, |kind, old| {
            match old {
                Some(old) => rules::check_replacement(kind, old, &object)?,
                // the one type of ours that a PUT creates
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
    /// 404 when it does not exist, 409 for another version, another manager's field, or a uid that nobody has, 422 when the
    /// uid is another one or a rule of the type is broken.
    pub fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: &Patch,
        write: &Write,
    ) -> Result<Written, ApiError> {
        let origin = if matches!(patch, Patch::Apply(_)) { Origin::Apply } else { Origin::Patch };
        self.write(resource, (namespace, name), write, origin, |kind, old| {
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
                Patch::Merge(patch) => merge::merge(&mut new, patch),
                Patch::Strategic(_) if kind.custom => {
                    let known = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                    return Err(ApiError::unsupported_media_type("application/strategic-merge-patch+json", known));
                }
                Patch::Strategic(patch) => strategic::strategic(schema, &mut new, patch),
                Patch::Json(operations) => json_patch::json(&mut new, operations)?,
                Patch::Apply(_) => {}
            }
            Ok(new)
        })
    }

    /// Edits the `status` of an object in place, as the kubelet does: `edit` gets the status alone, `{}` when there is none.
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
        let written = self.write(resource, (namespace, name), &write, Origin::Replacement, |_, old| {
            let Some(old) = old else {
                return Err(ApiError::not_found(&resource.qualified(), name));
            };
            let mut new = old.clone();
            if !new["status"].is_object() {
                new["status"] = json!({});
            }
            edit(&mut new["status"]);
            Ok(new)
        });
        written.map(|written| (*written.object).clone())
    }

    /// The way of every write to an existing object, and of an apply to one that does not exist.
    fn write(
        &self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        write: &Write,
        origin: Origin,
        change: impl FnOnce(&Kind, Option<&Value>) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let mut state = self.lock();
        let kind = state.kinds.find(resource)?.clone();
        let old = state.object(resource, namespace, name).cloned();
        let mut new = change(&kind, old.as_deref())?;
        shape::check(&kind, &new).map_err(|error| origin.mistyped(error))?;
        if kind.resource == Resource::PODS {
            pod::canonicalize_resources(&mut new);
            pod::set_defaults(&mut new);
        }
        let applies = origin == Origin::Apply;
        let Some(old) = old else {
            rules::prepare_create(&kind, &mut new)?;
            if !applies {
                record(&kind, write, &json!({}), &mut new);
            }
            return insert(&mut state, &kind, new, write).map(|object| Written { object, created: true });
        };
        rules::check_identity(&kind, &old, &new)?;
        rules::keep_server_fields(&kind, &old, &mut new);
        match write.subresource {
            Subresource::Main => rules::prepare_update(&kind, &old, &mut new)?,
            Subresource::Status => rules::keep_all_but_status(&kind, &old, &mut new),
            Subresource::Resize => {
                if !applies {
                    // the writer owns also what is dropped here
                    record(&kind, write, &old, &mut new);
                }
                resize::prepare(&old, &mut new)?;
                let node = new["spec"]["nodeName"].as_str().unwrap_or_default();
                resize::check_capacity(&new, state.object(&Resource::NODES, "", node).map(|node| &**node))?;
            }
        }
        if !applies && write.subresource != Subresource::Resize {
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
        let object = if remove::is_released(&new) {
            remove::release(&mut state, &kind, key, new)
        } else {
            state.commit(&kind, key, new)
        };
        Ok(Written { object, created: false })
    }
}

/// Gives the writer the fields that its write changed.
fn record(kind: &Kind, write: &Write, old: &Value, new: &mut Value) {
    let mut managers = Managers::of(old);
    let schema = Schema { custom: kind.custom };
    managers.record_update(&write.manager(&kind.resource, false), schema, old, new, &rules::now());
    managers.store_in(new);
}

/// Stores a prepared new object, unless its name is taken or its namespace is missing.
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
    let stored = state.commit(kind, key.clone(), object);
    if kind.resource == Resource::NAMESPACES {
        add_default_account(state, &key.1);
    }
    Ok(stored)
}

/// What the service account controller does for a new namespace.
fn add_default_account(state: &mut State, namespace: &str) {
    let Ok(kind) = state.kinds.find(&Resource::SERVICE_ACCOUNTS).cloned() else {
        return;
    };
    let mut account = json!({"metadata": {"name": "default", "namespace": namespace}});
    if rules::prepare_create(&kind, &mut account).is_ok() {
        state.commit(&kind, (namespace.to_owned(), "default".to_owned()), account);
    }
}
