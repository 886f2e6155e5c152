//! Strategic merge patch: lists with a merge key merge item by item; `$patch`, `$retainKeys` and
//! `$deleteFromPrimitiveList` are obeyed, `$setElementOrder` is ignored.

use serde_json::{Map, Value};

use super::schema::{ListType, Schema};

const DIRECTIVE: &str = "$patch";

/// Applies the patch to the object.
pub(in crate::api) fn strategic(schema: Schema, target: &mut Value, patch: &Value) {
    merge_map(schema, "", target, patch);
}

fn merge_map(schema: Schema, parent: &str, target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if changes.get(DIRECTIVE).is_some_and(|directive| directive == "replace") || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    if let Some(Value::Array(kept)) = changes.get("$retainKeys") {
        members.retain(|key, _| kept.iter().any(|name| name == key));
    }
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            delete_from(members, list, change);
        } else if key.starts_with('$') {
            // $patch and $retainKeys are done; $setElementOrder only sorts
        } else if change.is_null() || change.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
            members.shift_remove(key);
        } else {
            let member = members.entry(key.clone()).or_insert(Value::Null);
            match change {
                Value::Object(_) => merge_map(schema, key, member, change),
                Value::Array(items) => merge_list(schema, parent, key, member, items),
                scalar => *member = scalar.clone(),
            }
        }
    }
}

fn delete_from(members: &mut Map<String, Value>, list: &str, gone: &Value) {
    let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(items)) = members.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
}

fn merge_list(schema: Schema, parent: &str, field: &str, target: &mut Value, changes: &[Value]) {
    let is_directive = |item: &&Value| item.get(DIRECTIVE).is_some_and(|value| value == "replace");
    let replaces = changes.iter().find(is_directive).is_some();
    let list = schema.list(parent, field);
    if replaces || list == ListType::Atomic || !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(items) = target else { return };
    for change in changes {
        match (list, change.get(DIRECTIVE).and_then(Value::as_str)) {
            (_, Some("replace")) if change.as_object().is_some_and(|map| map.len() == 1) => {}
            (ListType::Map(keys), Some("delete")) => items.retain(|item| !same_key(keys[0], item, change)),
            (ListType::Map(keys), _) => match items.iter_mut().find(|item| same_key(keys[0], item, change)) {
                Some(item) => merge_map(schema, field, item, change),
                None => items.push(without_directives(schema, field, change)),
            },
            (ListType::Set, _) if items.contains(change) => {}
            _ => items.push(without_directives(schema, field, change)),
        }
    }
}

fn same_key(key: &str, left: &Value, right: &Value) -> bool {
    left.get(key).is_some() && left.get(key) == right.get(key)
}

fn without_directives(schema: Schema, field: &str, change: &Value) -> Value {
    if !change.is_object() {
        return change.clone();
    }
    let mut fresh = Value::Object(Map::new());
    merge_map(schema, field, &mut fresh, change);
    fresh
}
