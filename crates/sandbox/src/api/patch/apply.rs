//! Server-side apply: the manager owns exactly the fields of its last apply; a field that it no longer applies and that has no
//! other owner is removed; a field with another owner is a conflict unless forced.
//!
//! The algorithm is that of the updater of structured-merge-diff. Pure.

use serde_json::{Map, Value};

use super::fields::{item_element, owned_by};
use super::managers::{Manager, Managers, comparable};
use super::schema::{ListType, Schema};
use crate::api::status::ApiError;

/// The object after the apply, with its new `managedFields`; `live` is empty for an object that does not exist. 409 when another
/// manager owns a field with another value and `force` is false.
pub(in crate::api) fn apply(
    schema: Schema,
    live: &Value,
    config: &Value,
    manager: &Manager,
    force: bool,
    now: &str,
) -> Result<Value, ApiError> {
    let mut managers = Managers::of(live);
    let before = managers.set_of(manager);
    let config_only = comparable(config);
    managers.replace(manager, owned_by(schema, &config_only), now);

    let mut result = live.clone();
    merge(schema, "", &mut result, config);
    let mut orphaned = before.with_parents();
    orphaned.subtract(&managers.union());
    orphaned.remove_from(&mut result);

    managers.transfer_to(manager, schema, (&comparable(live), &comparable(&result)), force)?;
    managers.store_in(&mut result);
    Ok(result)
}

fn merge(schema: Schema, parent: &str, live: &mut Value, config: &Value) {
    let Value::Object(changes) = config else { return };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Value::Object(members) = live else { return };
    for (field, change) in changes {
        match change {
            Value::Null => {}
            Value::Object(inner) if !schema.is_atomic_map(parent, field) => {
                let member = members.entry(field.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !inner.is_empty() {
                    merge(schema, field, member, change);
                }
            }
            Value::Array(items) if schema.list(parent, field) != ListType::Atomic => {
                let member = members.entry(field.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(schema, (parent, field), member, items);
            }
            _ => {
                members.insert(field.clone(), change.clone());
            }
        }
    }
}

fn merge_list(schema: Schema, (parent, field): (&str, &str), live: &mut Value, items: &[Value]) {
    let list = schema.list(parent, field);
    if !live.is_array() {
        *live = Value::Array(Vec::new());
    }
    let Value::Array(members) = live else { return };
    for item in items {
        let element = item_element(list, item);
        match members.iter_mut().find(|member| item_element(list, member) == element) {
            Some(member) if item.is_object() => merge(schema, field, member, item),
            Some(_) => {}
            None => members.push(item.clone()),
        }
    }
}
