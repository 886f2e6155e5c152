//! Events have two forms of one object: core `v1` and `events.k8s.io/v1`. They are stored in the core form.
//!
//! Pure: renames the fields that differ, both ways.

use serde_json::{Map, Value};

use super::kinds::Resource;

/// Core name, name in `events.k8s.io`.
const RENAMED: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
];

/// Whether this is the newer form, which is stored as the other.
pub(super) fn is_newer_form(resource: &Resource) -> bool {
    resource.group == "events.k8s.io" && resource.plural == "events"
}

/// The body or patch in the core form.
pub(super) fn to_core(body: Value) -> Value {
    rename(body, |key| RENAMED.iter().find(|(_, new)| *new == key).map(|(core, _)| *core), "v1")
}

/// The stored object in the newer form.
pub(super) fn to_newer(object: &Value) -> Value {
    let renamed = |key: &str| RENAMED.iter().find(|(core, _)| *core == key).map(|(_, new)| *new);
    rename(object.clone(), renamed, "events.k8s.io/v1")
}

/// A field selector in the core form.
pub(super) fn fields_to_core(selector: &str) -> String {
    let field = |part: &str| {
        let (new, rest) = part.split_at(part.find(['.', '=', '!']).unwrap_or(part.len()));
        let core = RENAMED.iter().find(|(_, name)| *name == new).map_or(new, |(core, _)| core);
        format!("{core}{rest}")
    };
    selector.split(',').map(field).collect::<Vec<_>>().join(",")
}

fn rename<'a>(value: Value, to: impl Fn(&str) -> Option<&'a str>, api_version: &str) -> Value {
    let Value::Object(map) = value else { return value };
    let pairs = map.into_iter().map(|(key, value)| match key.as_str() {
        "apiVersion" => (key, Value::from(api_version)),
        _ => (to(&key).map_or(key.clone(), str::to_owned), value),
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}
