//! The types of an object's fields, and the syntax of its labels: checked before any other rule. Pure.

use serde_json::Value;

use super::kinds::Kind;
use super::lease;
use super::pod::CONTAINER_LISTS;
use super::quantity::nanos;
use super::status::ApiError;

/// Rejects what the typed decoding of a real server would reject: 400 for a field of another type, 422 for an invalid label.
pub(super) fn check(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let mismatch = |path: &str| {
        let message = format!(
            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {path}",
            kind.kind, kind.resource.version, kind.kind
        );
        ApiError::bad_request(message)
    };
    let is_map = |value: &Value| value.is_null() || value.is_object();
    for path in ["", "/metadata", "/metadata/labels", "/metadata/annotations", "/spec", "/status"] {
        if !object.pointer(path).is_none_or(is_map) || (path.is_empty() && object.is_null()) {
            return Err(mismatch(path));
        }
    }
    for map in ["labels", "annotations"] {
        let values = object["metadata"][map].as_object().into_iter().flatten();
        for (key, value) in values {
            let Some(text) = value.as_str() else {
                return Err(mismatch(&format!("/metadata/{map}/{key}")));
            };
            check_key(kind, object, map, key)?;
            if map == "labels" && !is_label_value(text) {
                let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
                return Err(invalid(kind, object, "metadata.labels", text, why));
            }
        }
    }
    let wrong = match &*kind.resource.plural {
        _ if kind.custom => None,
        "pods" => check_containers(object).err(),
        "configmaps" => check_strings(object).err(),
        "leases" => lease::invalid_time(object).map(str::to_owned),
        _ => None,
    };
    wrong.map_or(Ok(()), |path| Err(mismatch(&path)))
}

fn check_strings(map: &Value) -> Result<(), String> {
    let Some(data) = map.get("data").filter(|data| !data.is_null()) else { return Ok(()) };
    let is_text = data.as_object().is_some_and(|data| data.values().all(Value::is_string));
    if is_text { Ok(()) } else { Err("/data".to_owned()) }
}

fn check_containers(pod: &Value) -> Result<(), String> {
    let is_map = |value: &Value| value.is_null() || value.is_object();
    for list in CONTAINER_LISTS {
        let Some(items) = pod["spec"].get(list).filter(|items| !items.is_null()) else {
            continue;
        };
        let Some(items) = items.as_array() else {
            return Err(format!("/spec/{list}"));
        };
        for item in items {
            let resources = &item["resources"];
            let parts = [&resources["limits"], &resources["requests"]];
            if !item.is_object() || !is_map(resources) || !parts.into_iter().all(is_map) {
                return Err(format!("/spec/{list}"));
            }
            let amounts = parts.into_iter().filter_map(Value::as_object).flat_map(|part| part.iter());
            // null removes an amount
            if let Some((name, _)) =
                amounts.into_iter().find(|(_, amount)| !amount.is_null() && nanos(amount).is_none())
            {
                return Err(format!(
                    "/spec/{list}/resources/{name}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                ));
            }
            let ports = &item["ports"];
            if !ports.is_null() && !ports.as_array().is_some_and(|ports| ports.iter().all(Value::is_object)) {
                return Err(format!("/spec/{list}/ports"));
            }
        }
    }
    Ok(())
}

fn invalid(kind: &Kind, object: &Value, field: &str, value: &str, why: &str) -> ApiError {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    ApiError::invalid(&kind.qualified(), name, field, &format!("Invalid value: {value:?}"), why)
}

fn check_key(kind: &Kind, object: &Value, map: &str, key: &str) -> Result<(), ApiError> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_domain = |prefix: &str| {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(legal)
    };
    if !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_domain) {
        return Ok(());
    }
    let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    Err(invalid(kind, object, &format!("metadata.{map}"), key, why))
}

fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(legal)
}
