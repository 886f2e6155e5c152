//! Sets of field paths, the content of `managedFields` (FieldsV1), and their computation from objects. Pure.
//!
//! A path element is its FieldsV1 text: `f:name`, `k:{"name":"app"}`, `v:"x"`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schema::{ListType, Schema};

/// A set of paths: a trie whose nodes say whether the path to them is a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::api) struct FieldSet {
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub(in crate::api) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Parses FieldsV1; anything but an object is an empty set.
    pub(in crate::api) fn from_v1(value: &Value) -> Self {
        let Value::Object(map) = value else {
            return Self::default();
        };
        let member = map.is_empty() || map.contains_key(".");
        let children = map.iter().filter(|(key, _)| *key != ".");
        Self { member, children: children.map(|(key, value)| (key.clone(), Self::from_v1(value))).collect() }
    }

    /// Writes FieldsV1.
    pub(in crate::api) fn to_v1(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (key, child) in self.children.iter().filter(|(_, child)| !child.is_empty()) {
            map.insert(key.clone(), child.to_v1());
        }
        Value::Object(map)
    }

    pub(in crate::api) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (key, child) in &other.children {
            self.children.entry(key.clone()).or_default().union(child);
        }
    }

    /// Removes the members of the other set.
    pub(in crate::api) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (key, child) in &other.children {
            if let Some(own) = self.children.get_mut(key) {
                own.subtract(child);
            }
        }
        self.children.retain(|_, child| !child.is_empty());
    }

    /// The common members of both sets.
    pub(in crate::api) fn intersection(&self, other: &Self) -> Self {
        let both = |(key, child): (&String, &Self)| {
            let common = child.intersection(other.children.get(key)?);
            (!common.is_empty()).then(|| (key.clone(), common))
        };
        Self {
            member: self.member && other.member,
            children: self.children.iter().filter_map(both).collect(),
        }
    }

    /// The set with all parents of its members.
    pub(in crate::api) fn with_parents(&self) -> Self {
        let children = self.children.iter().filter(|(_, child)| !child.is_empty());
        let children: BTreeMap<_, _> =
            children.map(|(key, child)| (key.clone(), child.with_parents())).collect();
        Self { member: self.member || !children.is_empty(), children }
    }

    /// Every member in the format of the API server: `.spec.containers[name="app"].image`.
    pub(in crate::api) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths(String::new(), &mut out);
        out
    }

    fn collect_paths(&self, path: String, out: &mut Vec<String>) {
        for (key, child) in &self.children {
            child.collect_paths(format!("{path}{}", printed(key)), out);
        }
        if self.member {
            out.push(path);
        }
    }

    /// Removes every member of this set from the object, with everything below it.
    pub(in crate::api) fn remove_from(&self, object: &mut Value) {
        for (element, child) in &self.children {
            if child.member {
                remove_element(object, element);
            } else if let Some(inner) = find_element(object, element) {
                child.remove_from(inner);
            }
        }
    }
}

fn printed(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        _ => format!("[{element}]"),
    }
}

/// The element of a list item, by the list's type; `None` for items of atomic lists.
pub(super) fn item_element(list: ListType, item: &Value) -> Option<String> {
    match list {
        ListType::Atomic => None,
        ListType::Set => Some(format!("v:{item}")),
        ListType::Map(keys) => {
            // FieldsV1 sorts the keys
            let mut map: BTreeMap<&str, Value> = BTreeMap::new();
            for key in keys {
                let default = || Schema::default_key(key).map(Value::from);
                if let Some(value) = item.get(key).cloned().or_else(default) {
                    map.insert(key, value);
                }
            }
            Some(format!("k:{}", serde_json::to_string(&map).unwrap_or_default()))
        }
    }
}

fn is_item(element: &str, item: &Value) -> bool {
    match element.split_once(':') {
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let same = |(key, value): (&String, &Value)| match item.get(key) {
                Some(found) => found == value,
                None => Schema::default_key(key).is_some_and(|default| value == default),
            };
            !keys.is_empty() && keys.iter().all(same)
        }
        _ => false,
    }
}

fn find_element<'a>(object: &'a mut Value, element: &str) -> Option<&'a mut Value> {
    match element.strip_prefix("f:") {
        Some(name) => object.get_mut(name),
        None => object.as_array_mut()?.iter_mut().find(|item| is_item(element, item)),
    }
}

fn remove_element(object: &mut Value, element: &str) {
    match (object, element.strip_prefix("f:")) {
        (Value::Object(map), Some(name)) => {
            map.shift_remove(name);
        }
        (Value::Array(items), None) => items.retain(|item| !is_item(element, item)),
        _ => {}
    }
}

/// The fields of a configuration, which an apply owns.
pub(super) fn owned_by(schema: Schema, config: &Value) -> FieldSet {
    if config.as_object().is_some_and(Map::is_empty) {
        return FieldSet::default();
    }
    walk(schema, "", "", config, false)
}

/// The fields of a value that an update adds, with the maps and lists that did not exist before.
fn added(schema: Schema, parent: &str, field: &str, value: &Value) -> FieldSet {
    walk(schema, parent, field, value, true)
}

fn walk(schema: Schema, parent: &str, field: &str, value: &Value, maps_too: bool) -> FieldSet {
    match value {
        Value::Object(map) if !map.is_empty() && !schema.is_atomic_map(parent, field) => {
            let below = |(key, value): (&String, &Value)| {
                (format!("f:{key}"), walk(schema, field, key, value, maps_too))
            };
            let member = maps_too && schema.is_recorded(parent, field);
            FieldSet { member, children: map.iter().map(below).collect() }
        }
        Value::Array(items) if !items.is_empty() && schema.list(parent, field) != ListType::Atomic => {
            let list = schema.list(parent, field);
            let below = |item: &Value| {
                let mut inner = walk(schema, parent, field, item, maps_too);
                inner.member = true;
                item_element(list, item).map(|element| (element, inner))
            };
            let member = maps_too && schema.is_recorded(parent, field);
            FieldSet { member, children: items.iter().filter_map(below).collect() }
        }
        _ => FieldSet::leaf(),
    }
}

/// What changed between two versions of an object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Comparison {
    /// Added or modified.
    pub(super) changed: FieldSet,
    /// Removed.
    pub(super) removed: FieldSet,
}

/// Compares two versions of an object.
pub(super) fn compare(schema: Schema, old: &Value, new: &Value) -> Comparison {
    let mut result = Comparison::default();
    compare_value(schema, ("", ""), old, new, &mut result);
    result
}

fn compare_value(
    schema: Schema,
    (parent, field): (&str, &str),
    old: &Value,
    new: &Value,
    out: &mut Comparison,
) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !schema.is_atomic_map(parent, field) => {
            let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
            for key in keys {
                let at = (field, key.as_str());
                let (changed, removed) = compare_member(schema, at, before.get(key), after.get(key));
                out.insert(format!("f:{key}"), changed, removed);
            }
        }
        (Value::Array(before), Value::Array(after)) if schema.list(parent, field) != ListType::Atomic => {
            let list = schema.list(parent, field);
            let index = |items: &[Value]| -> BTreeMap<String, Value> {
                items.iter().filter_map(|item| Some((item_element(list, item)?, item.clone()))).collect()
            };
            let (before, after) = (index(before), index(after));
            let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
            for key in keys {
                let (changed, removed) =
                    compare_member(schema, (parent, field), before.get(key), after.get(key));
                let as_item = |mut set: FieldSet, whole: bool| {
                    set.member |= whole;
                    set
                };
                let (is_new, is_gone) = (!before.contains_key(key), !after.contains_key(key));
                out.insert(key.clone(), as_item(changed, is_new), as_item(removed, is_gone));
            }
        }
        _ => out.changed.member = true,
    }
}

fn compare_member(
    schema: Schema,
    at: (&str, &str),
    old: Option<&Value>,
    new: Option<&Value>,
) -> (FieldSet, FieldSet) {
    match (old, new) {
        (Some(old), Some(new)) => {
            let mut inner = Comparison::default();
            compare_value(schema, at, old, new, &mut inner);
            (inner.changed, inner.removed)
        }
        (None, Some(new)) => (added(schema, at.0, at.1, new), FieldSet::default()),
        (Some(old), None) => (FieldSet::default(), added(schema, at.0, at.1, old).with_parents()),
        (None, None) => (FieldSet::default(), FieldSet::default()),
    }
}

impl Comparison {
    fn insert(&mut self, element: String, changed: FieldSet, removed: FieldSet) {
        if !changed.is_empty() {
            self.changed.children.insert(element.clone(), changed);
        }
        if !removed.is_empty() {
            self.removed.children.insert(element, removed);
        }
    }
}
