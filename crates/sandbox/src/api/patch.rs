//! The four ways to change an object: JSON merge patch, strategic merge patch, JSON patch, server-side apply.
//!
//! Pure: values in, values out. Which results are allowed is decided in `write`.

use serde_json::Value;

use super::status::ApiError;

pub(super) mod apply;
pub(super) mod fields;
pub(super) mod managers;
pub(super) mod schema;
pub(super) mod strategic;

/// A patch and its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// `application/merge-patch+json`, RFC 7396.
    Merge(Value),
    /// `application/strategic-merge-patch+json`: lists merge by their key.
    Strategic(Value),
    /// `application/json-patch+json`, RFC 6902.
    Json(Value),
    /// `application/apply-patch+yaml`; the body must be JSON.
    Apply(Value),
}

impl Patch {
    /// The patch for a content type: 415 for a content type that is none of the four, 400 for a merge that is not an object.
    pub(super) fn of(content_type: &str, body: Value) -> Result<Self, ApiError> {
        const KNOWN: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let patch = match media {
            "application/merge-patch+json" => Self::Merge(body),
            "application/strategic-merge-patch+json" => Self::Strategic(body),
            "application/json-patch+json" => Self::Json(body),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Self::Apply(body),
            other => return Err(ApiError::unsupported_media_type(other, KNOWN)),
        };
        match &patch {
            Self::Merge(body) | Self::Strategic(body) if !body.is_object() => {
                Err(ApiError::bad_request("the patch is not an object"))
            }
            _ => Ok(patch),
        }
    }
}

/// Applies a JSON patch. 400 when the document is not a list of operations, 422 when an operation is invalid or fails.
pub(super) fn apply_json(target: &mut Value, operations: &Value) -> Result<(), ApiError> {
    if !operations.is_array() {
        return Err(ApiError::bad_request("a JSON patch is an array of operations"));
    }
    let rejected = |error: String| {
        let message = format!("the server rejected our request due to an error in our request: {error}");
        ApiError::new(422, "Invalid", message)
    };
    let patch: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(|error| rejected(error.to_string()))?;
    json_patch::patch(target, &patch).map_err(|error| rejected(error.to_string()))
}
