//! The relevant parts of an answer: status, reason, causes, and the parts that the step looks at. Pure.
//!
//! Irrelevant are times, uids, resourceVersions, tokens and the wording of messages, except the words that a step names. A uid or
//! resourceVersion is replaced by the name under which it was saved, so that its equality is compared without its value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::script::Step;

/// A received answer: status code, content type, body (text if it is not JSON).
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The content type without its parameters.
    pub content_type: String,
    /// The document; for a watch the list of its events.
    pub body: Value,
}

/// The relevant parts of an answer.
pub fn normal(step: &Step, answer: &Answer, values: &BTreeMap<String, String>) -> Value {
    let mut out = json!({"code": answer.code});
    if answer.content_type != "application/json" {
        out["type"] = json!(answer.content_type);
    }
    match &answer.body {
        Value::Array(events) => {
            out["events"] = events.iter().map(|event| one_event(step, event, values)).collect();
        }
        body => object(step, body, values, &mut out),
    }
    out
}

fn one_event(step: &Step, event: &Value, values: &BTreeMap<String, String>) -> Value {
    let mut out = json!({"type": event["type"]});
    object(step, &event["object"], values, &mut out);
    out
}

fn object(step: &Step, body: &Value, values: &BTreeMap<String, String>, out: &mut Value) {
    if body["kind"] == "Status" {
        status(body, values, out);
    } else if let Some(kind) = body["kind"].as_str() {
        out["kind"] =
            json!(named(&format!("{} {kind}", body["apiVersion"].as_str().unwrap_or_default()), values));
        for pointer in &step.look {
            let found = look(body, pointer);
            let last = pointer.rsplit('/').next().unwrap_or_default();
            out["look"][pointer] =
                if last == "managedFields" { managers(&found, values) } else { plain(last, &found, values) };
        }
    }
    for words in &step.words {
        out["says"][words] = json!(body["message"].as_str().unwrap_or_default().contains(words.as_str()));
    }
}

fn status(status: &Value, values: &BTreeMap<String, String>, out: &mut Value) {
    if out.get("code").is_none() {
        // the error at the end of a watch has a code of its own
        out["code"] = status["code"].clone();
    }
    for field in ["status", "reason"] {
        out[field] = status[field].clone();
    }
    let details = &status["details"];
    for field in ["kind", "group", "name"] {
        if !details[field].is_null() {
            out["details"][field] = plain(field, &details[field], values);
        }
    }
    let mut causes: Vec<Value> = details["causes"].as_array().cloned().unwrap_or_default();
    for cause in &mut causes {
        *cause = plain("", &json!({"reason": cause["reason"], "field": cause["field"]}), values);
    }
    causes.sort_by_key(Value::to_string);
    causes.dedup();
    if !causes.is_empty() {
        out["causes"] = Value::Array(causes);
    }
}

/// The value at a JSON pointer, null if there is none. `*` is every item of a list, `type=Ready` the item whose `type` is
/// `Ready`.
pub fn look(value: &Value, pointer: &str) -> Value {
    let Some(pointer) = pointer.strip_prefix('/') else { return value.clone() };
    let (first, rest) = pointer.find('/').map_or((pointer, ""), |at| pointer.split_at(at));
    match (value, first.split_once('=')) {
        (Value::Array(items), _) if first == "*" => items.iter().map(|item| look(item, rest)).collect(),
        (Value::Array(items), Some((field, wanted))) => {
            let found = items.iter().find(|item| item[field] == wanted);
            found.map(|item| look(item, rest)).unwrap_or_default()
        }
        _ => value.pointer(&format!("/{first}")).map(|inner| look(inner, rest)).unwrap_or_default(),
    }
}

/// The fields of each manager, without times, in an order that does not depend on them.
fn managers(list: &Value, values: &BTreeMap<String, String>) -> Value {
    let mut owned = BTreeMap::new();
    for entry in list.as_array().into_iter().flatten() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let name = format!(
            "{} {} {} {}",
            text("manager"),
            text("operation"),
            text("apiVersion"),
            text("subresource")
        );
        owned.insert(named(name.trim_end(), values), plain("", &entry["fieldsV1"], values));
    }
    json!(owned)
}

/// The value at `key`, without parts that differ in every run.
fn plain(key: &str, value: &Value, values: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(map) => {
            // sorted: the order of keys is irrelevant
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let pairs =
                sorted.into_iter().map(|(key, value)| (named(key, values), plain(key, value, values)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| plain(key, item, values)).collect(),
        Value::String(text) if is_time(text) => json!("<time>"),
        Value::String(text) => match key {
            "uid" | "resourceVersion" | "continue" | "token" => {
                json!(saved(text, values).unwrap_or_else(|| format!("<{key}>")))
            }
            _ => json!(named(text, values)),
        },
        other => other.clone(),
    }
}

fn saved(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    values.iter().find(|(_, value)| *value == text).map(|(name, _)| format!("${{{name}}}"))
}

/// The text with the names that differ in every run replaced by those of the script, and without uids.
fn named(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        let opaque = matches!(name.as_str(), "ns" | "node") || value.len() >= 36;
        if opaque && !value.is_empty() {
            text = text.replace(value, &format!("${{{name}}}"));
        }
    }
    text
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-'
}
