//! The four ways to change an object: JSON merge patch, strategic merge patch, JSON patch, server-side apply.
//!
//! Pure: values in, values out. What the server allows of the result is decided by the store.

use serde_json::Value;

use super::status::ApiError;

pub(super) mod apply;
pub(super) mod fields;
pub(super) mod json;
pub(super) mod managers;
pub(super) mod merge;
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
    /// `application/apply-patch+yaml` (JSON only, which is YAML).
    Apply(Value),
}

impl Patch {
    /// The patch for a content type.
    ///
    /// # Errors
    /// 415 for a content type that is none of the four, 400 for a merge that is no object.
    pub fn of(content_type: &str, body: Value) -> Result<Self, ApiError> {
        const KNOWN: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let merges =
            matches!(media, "application/merge-patch+json" | "application/strategic-merge-patch+json");
        if merges && !body.is_object() {
            return Err(ApiError::bad_request("the patch is not an object"));
        }
        match media {
            "application/merge-patch+json" => Ok(Self::Merge(body)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(body)),
            "application/json-patch+json" => Ok(Self::Json(body)),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply(body)),
            other => Err(ApiError::unsupported_media_type(other, KNOWN)),
        }
    }
}
