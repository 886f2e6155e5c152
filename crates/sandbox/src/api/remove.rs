//! Deletion: preconditions, finalizers, grace periods, and the objects that are deleted with a namespace or a definition.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{Kind, Resource};
use super::rules;
use super::state::{Key, State};
use super::status::ApiError;

pub(super) fn remove(
    state: &mut State,
    kind: &Kind,
    (namespace, name): (&str, &str),
    options: &Value,
    dry_run: bool,
) -> Result<Arc<Value>, ApiError> {
    let resource = kind.resource.qualified();
    let Some(old) = state.object(&kind.resource, namespace, name).cloned() else {
        return Err(ApiError::not_found(&resource, name));
    };
    check_preconditions(&kind.qualified(), name, &old, &options["preconditions"])?;
    let grace = grace_period(state, kind, &old, options);
    if dry_run {
        return Ok(old);
    }
    let key = (namespace.to_owned(), name.to_owned());
    if !has_finalizers(&old) && grace == 0 {
        return Ok(release(state, kind, key, (*old).clone()));
    }
    if !old["metadata"]["deletionTimestamp"].is_null()
        && old["metadata"]["deletionGracePeriodSeconds"].as_i64() <= Some(grace)
    {
        return Ok(old);
    }
    let mut marked = (*old).clone();
    marked["metadata"]["deletionTimestamp"] = json!(rules::now());
    marked["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    if kind.generation {
        marked["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    }
    Ok(state.store(kind, key, marked))
}

fn check_preconditions(resource: &str, name: &str, old: &Value, wanted: &Value) -> Result<(), ApiError> {
    for (field, label, after) in
        [("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")]
    {
        let had = old["metadata"][field].as_str().unwrap_or_default();
        let Some(want) = wanted[field].as_str().filter(|want| *want != had) else {
            continue;
        };
        let why = format!(
            "the {label} in the precondition ({want}) does not match the {label} in record ({had}). The object might have been {after}"
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    Ok(())
}

/// Seconds until the object may be removed; 0 is immediately.
fn grace_period(state: &State, kind: &Kind, object: &Value, options: &Value) -> i64 {
    let bound = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if kind.resource != Resource::PODS || !state.graceful_deletion || !bound || finished {
        return 0;
    }
    let asked = options["gracePeriodSeconds"].as_i64();
    asked.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30).max(0)
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

/// Whether an object that is marked for deletion can be removed.
pub(super) fn is_removable(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    !metadata["deletionTimestamp"].is_null() && grace == 0 && !has_finalizers(object)
}

/// Removes an object from the store, with the objects that depend on it.
pub(super) fn release(state: &mut State, kind: &Kind, key: Key, last: Value) -> Arc<Value> {
    if kind.resource == Resource::NAMESPACES {
        remove_dependents(state, |kind| kind.namespaced, |dependent| dependent.0 == key.1);
    }
    if kind.resource == Resource::DEFINITIONS {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, plural) = (text(&last["spec"]["group"]), text(&last["spec"]["names"]["plural"]));
        let defined =
            |kind: &Kind| kind.custom && kind.resource.group == group && kind.resource.plural == plural;
        remove_dependents(state, defined, |_| true);
        state.kinds.undefine(&group, &plural);
    }
    state.remove(kind, key, last)
}

fn remove_dependents(
    state: &mut State,
    is_kind: impl Fn(&Kind) -> bool,
    is_dependent: impl Fn(&Key) -> bool,
) {
    let kinds: Vec<Kind> = state.kinds.all().filter(|kind| is_kind(kind)).cloned().collect();
    for kind in kinds {
        let objects = state.collection(&kind.resource).objects.clone();
        for (key, object) in objects.into_iter().filter(|(key, _)| is_dependent(key)) {
            release(state, &kind, key, (*object).clone());
        }
    }
}
