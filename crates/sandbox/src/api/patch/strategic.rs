//! Strategic merge patch: lists with a merge key merge item by item. Supports `$patch` and `$deleteFromPrimitiveList`;
//! `$setElementOrder` is ignored. Pure.

use serde_json::{Map, Value};

use super::schema::{ListType, Schema};

const DIRECTIVE: &str = "$patch";

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
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            delete_from(members, list, change);
        } else if key.starts_with('$') {
            // $patch is handled above; $setElementOrder only sorts
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
    let before = items.clone();
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
    if list != ListType::Atomic {
        sort(list, items, &before, changes);
    }
}

/// The order of a real server: items of the patch in the order of the patch, others in their previous order; of the two an item
/// of the patch comes first, unless it was after the other before.
fn sort(list: ListType, items: &mut Vec<Value>, before: &[Value], changes: &[Value]) {
    let same = |left: &Value, right: &Value| match list {
        ListType::Map(keys) => same_key(keys[0], left, right),
        _ => left == right,
    };
    let place = |among: &[Value], item: &Value| among.iter().position(|other| same(other, item));
    let (mut named, rest): (Vec<Value>, Vec<Value>) =
        items.drain(..).partition(|item| place(changes, item).is_some());
    named.sort_by_key(|item| place(changes, item));
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let rest_first = match (named.peek(), rest.peek()) {
            (None, None) => return,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(named), Some(rest)) => {
                place(before, named).is_some_and(|named| place(before, rest) < Some(named))
            }
        };
        items.extend(if rest_first { rest.next() } else { named.next() });
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
