//! The names of an object of a namespace.

use plimsoll_objects::field::Lenient;
use serde::Deserialize;

use crate::facts::ObjectKey;

/// Of the metadata these two are read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Names {
    name: Lenient<String>,
    namespace: Lenient<String>,
}

impl Names {
    /// Both; none where one is missing.
    pub(super) fn key(&self) -> Option<ObjectKey> {
        let given = |text: &Lenient<String>| text.0.clone().filter(|text| !text.is_empty());
        Some(ObjectKey { namespace: given(&self.namespace)?, name: given(&self.name)? })
    }
}
