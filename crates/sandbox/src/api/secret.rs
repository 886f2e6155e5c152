//! The rules of Secrets: their type, and base64 values. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::status::ApiError;

/// Sets the default type, moves `stringData` into `data`, and rejects values that are not base64.
pub(super) fn prepare(secret: &mut Value) -> Result<(), ApiError> {
    if secret["type"].as_str().unwrap_or_default().is_empty() {
        secret["type"] = json!("Opaque");
    }
    let strings = secret.as_object_mut().and_then(|members| members.shift_remove("stringData"));
    for (key, text) in strings.as_ref().and_then(Value::as_object).into_iter().flatten() {
        secret["data"][key] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
    }
    for (key, value) in secret.get("data").and_then(Value::as_object).into_iter().flatten() {
        if value.as_str().is_none_or(|text| STANDARD.decode(text).is_err()) {
            let message = format!(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data in data[{key}]"
            );
            return Err(ApiError::bad_request(message));
        }
    }
    Ok(())
}

/// The same for an update, which must not change the type.
pub(super) fn prepare_update(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    prepare(new)?;
    if old["type"] == new["type"] {
        return Ok(());
    }
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    let rule = format!("Invalid value: {}", new["type"]);
    Err(ApiError::invalid("Secret", name, "type", &rule, "field is immutable"))
}
