//! Events: their two forms, and their rules. An Event of `events.k8s.io/v1` and one of core `v1` are the same object, which is
//! stored in the core form. Those with an `eventTime` must name their reporter, and only their series may change. Pure.

use serde_json::{Map, Value, json};

use super::status::ApiError;

/// Core name, name in `events.k8s.io`.
const RENAMED: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
];

/// A body or patch in the core form.
pub(super) fn to_core(body: Value) -> Value {
    rename(body, |key| RENAMED.iter().find(|(_, new)| *new == key).map(|(core, _)| *core), "v1")
}

/// A stored object in the new form.
pub(super) fn to_new(object: &Value) -> Value {
    let renamed = |key: &str| RENAMED.iter().find(|(core, _)| *core == key).map(|(_, new)| *new);
    rename(object.clone(), renamed, "events.k8s.io/v1")
}

/// A field selector in the core form.
pub(super) fn selector_to_core(selector: &str) -> String {
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

/// Checks a new Event in the core form.
pub(super) fn prepare(event: &mut Value) -> Result<(), ApiError> {
    if event["source"].is_null() {
        event["source"] = json!({});
    }
    let name = event["metadata"]["name"].as_str().unwrap_or_default();
    let invalid = |field: &str, rule: &str, why: &str| ApiError::invalid("Event", name, field, rule, why);
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    if text("eventTime").is_empty() {
        // an Event with counts and timestamps instead
        let is_old = !event["firstTimestamp"].is_null() || !event["source"]["component"].is_null();
        return if is_old { Ok(()) } else { Err(invalid("eventTime", "Required value", "")) };
    }
    let mut found = Vec::new();
    if text("reportingComponent").is_empty() {
        found.push(invalid("reportingController", "Required value", ""));
        let why = "name part must be non-empty";
        found.push(invalid("reportingController", "Invalid value: \"\"", why));
    }
    let missing =
        ["reportingInstance", "action", "reason"].into_iter().filter(|field| text(field).is_empty());
    found.extend(missing.map(|field| invalid(field, "Required value", "")));
    let kind = text("type");
    if !matches!(kind, "Normal" | "Warning") {
        found.push(invalid("type", &format!("Invalid value: {kind:?}"), "has invalid value"));
    }
    ApiError::all(found)
}

/// Only the series of an Event with an `eventTime` may change.
pub(super) fn check_update(old: &Value, new: &Value) -> Result<(), ApiError> {
    if old["eventTime"].is_null() {
        return Ok(());
    }
    let fixed = ["message", "reason", "action", "type", "involvedObject", "reportingComponent", "eventTime"];
    match fixed.into_iter().find(|field| old[*field] != new[*field]) {
        None => Ok(()),
        Some(field) => {
            let name = old["metadata"]["name"].as_str().unwrap_or_default();
            let rule = format!("Invalid value: {}", new[field]);
            Err(ApiError::invalid("Event", name, field, &rule, "field is immutable"))
        }
    }
}
