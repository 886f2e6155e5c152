//! Who wrote which fields of a pod, as the API server keeps it.

use plimsoll_contract::keys;
use plimsoll_objects::field::{Lenient, shortened};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::MAX_TEXT;

/// Who wrote which fields; of the fields only one is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ManagedFields {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    /// As text, times of the API server sort by age.
    time: Option<String>,
    fields_v1: Lenient<OwnedFields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedFields {
    #[serde(rename = "f:metadata")]
    metadata: Lenient<OwnedMetadata>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedMetadata {
    #[serde(rename = "f:annotations")]
    annotations: Lenient<OwnedAnnotations>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedAnnotations {
    #[serde(rename = "f:plimsoll.dev/original-resources")]
    original: Option<IgnoredAny>,
}

impl ManagedFields {
    fn owns_original(&self) -> bool {
        let metadata = self.fields_v1.0.as_ref().and_then(|fields| fields.metadata.0.as_ref());
        metadata.and_then(|metadata| metadata.annotations.0.as_ref()).is_some_and(|on| on.original.is_some())
    }
}

/// The field manager, other than us, that resized the pod last.
pub(super) fn resized_by(all: &[ManagedFields]) -> Option<String> {
    let resizes = all.iter().filter(|entry| entry.subresource.as_deref() == Some("resize"));
    let others = resizes.filter(|entry| entry.manager.as_deref().is_some_and(|m| m != keys::FIELD_MANAGER));
    let newest = others.max_by_key(|entry| &entry.time)?;
    newest.manager.clone().map(|manager| shortened(manager, MAX_TEXT))
}

/// Who wrote the record of the pod's original resources, if we did not: anybody who may annotate it can.
pub(super) fn original_by(all: &[ManagedFields]) -> Option<String> {
    let owners: Vec<_> = all.iter().filter(|entry| entry.owns_original()).collect();
    let is_us = |entry: &&ManagedFields| {
        entry.manager.as_deref() == Some(keys::FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    let other = owners.first().and_then(|entry| entry.manager.clone()).unwrap_or_default();
    (!owners.iter().any(is_us)).then(|| shortened(other, MAX_TEXT))
}
