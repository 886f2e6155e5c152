//! What is special about Events: those that carry a time of their own must name who reports, and do not change but for their
//! series. Events are stored in the core form: see `events`.
//!
//! Pure.

use serde_json::{Value, json};

use super::status::ApiError;

/// Checks a new Event in the core form; one without `eventTime` that counts in the old way passes.
pub(super) fn prepare(event: &mut Value) -> Result<(), ApiError> {
    if event["source"].is_null() {
        event["source"] = json!({});
    }
    check(event)
}

fn check(event: &Value) -> Result<(), ApiError> {
    let refuse = |field: &str, rule: &str, why: &str| {
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        Err(ApiError::invalid("Event", name, field, rule, why))
    };
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let is_old = !event["firstTimestamp"].is_null() || !event["source"]["component"].is_null();
    if text("eventTime").is_empty() {
        return if is_old { Ok(()) } else { refuse("eventTime", "Required value", "") };
    }
    let mut found = Vec::new();
    if text("reportingComponent").is_empty() {
        let why = "name part must be non-empty";
        found.extend(refuse("reportingController", "Required value", "").err());
        found.extend(refuse("reportingController", "Invalid value: \"\"", why).err());
    }
    for field in ["reportingInstance", "action", "reason"].into_iter().filter(|field| text(field).is_empty())
    {
        found.extend(refuse(field, "Required value", "").err());
    }
    let kind = text("type");
    if !matches!(kind, "Normal" | "Warning") {
        found.extend(refuse("type", &format!("Invalid value: {kind:?}"), "has invalid value").err());
    }
    ApiError::all(found)
}

/// Of an Event with a time of its own only the series may change.
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
