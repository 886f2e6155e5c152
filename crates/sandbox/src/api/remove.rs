//! Deletion: preconditions, finalizers, grace periods, and what a namespace or a definition takes with it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::collection::Key;
use super::kinds::{Kind, Resource};
use super::rules;
use super::state::State;
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
    let held = has_finalizers(&old);
    if dry_run {
        return Ok(old);
    }
    let key = (namespace.to_owned(), name.to_owned());
    if !held && grace == 0 {
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
    Ok(state.commit(kind, key, marked))
}

fn check_preconditions(resource: &str, name: &str, old: &Value, wanted: &Value) -> Result<(), ApiError> {
    for (field, label) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let had = old["metadata"][field].as_str().unwrap_or_default();
        let Some(want) = wanted[field].as_str().filter(|want| *want != had) else {
            continue;
        };
        let after = if field == "uid" { "deleted and then recreated" } else { "modified" };
        let why = format!(
            "the {label} in the precondition ({want}) does not match the {label} in record ({had}). The object might have been {after}"
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    Ok(())
}

/// Seconds until the object may go; 0 is at once.
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

/// Whether a marked object has nothing left that holds it.
pub(super) fn is_released(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    !metadata["deletionTimestamp"].is_null() && grace == 0 && !has_finalizers(object)
}

/// Takes the object out of the store, with what it holds.
pub(super) fn release(state: &mut State, kind: &Kind, key: Key, mut last: Value) -> Arc<Value> {
    if kind.resource == Resource::NAMESPACES {
        empty_namespace(state, &key.1);
    }
    if kind.resource == Resource::DEFINITIONS {
        forget_kind(state, &last);
    }
    state.version += 1;
    let version = state.version;
    last["metadata"]["resourceVersion"] = json!(version.to_string());
    let last = Arc::new(last);
    state.collection(&kind.resource).commit(version, key, None, Some(last.clone()));
    last
}

fn empty_namespace(state: &mut State, namespace: &str) {
    let namespaced: Vec<Kind> = state.kinds.all().filter(|kind| kind.namespaced).cloned().collect();
    for kind in namespaced {
        empty(state, &kind, |key| key.0 == namespace);
    }
}

fn forget_kind(state: &mut State, definition: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["plural"]));
    let kinds: Vec<Kind> = state
        .kinds
        .all()
        .filter(|kind| kind.custom && kind.resource.group == group && kind.resource.plural == plural)
        .cloned()
        .collect();
    for kind in kinds {
        empty(state, &kind, |_| true);
    }
    state.kinds.forget(&group, &plural);
}

fn empty(state: &mut State, kind: &Kind, wanted: impl Fn(&Key) -> bool) {
    let objects = &state.collection(&kind.resource).objects;
    let doomed: Vec<(Key, Arc<Value>)> = objects
        .iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in doomed {
        release(state, kind, key, (*object).clone());
    }
}
