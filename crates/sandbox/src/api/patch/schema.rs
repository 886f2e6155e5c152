//! How the lists and maps of Kubernetes objects merge: lists that are maps by a key, sets, or replaced as a whole.
//!
//! The source is the `listType`, `listMapKey` and `patchMergeKey` markers of the Kubernetes API types. A list that is not
//! named here is atomic, the default of the API. Of custom types only the metadata and the conditions merge.

/// How a list merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are identified by these fields; strategic merge uses the first.
    Map(&'static [&'static str]),
}

/// The merge rules of one type of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Schema {
    /// Whether the type is defined by a CustomResourceDefinition.
    pub(in crate::api) custom: bool,
}

impl Schema {
    /// How the list `field` merges; `parent` is the name of the field that contains it.
    pub(in crate::api) fn list(self, parent: &str, field: &str) -> ListType {
        match (parent, field) {
            ("metadata", "finalizers") => ListType::Set,
            ("metadata", "ownerReferences") => ListType::Map(&["uid"]),
            ("status", "conditions") => ListType::Map(&["type"]),
            _ if self.custom => ListType::Atomic,
            (_, "containers" | "initContainers" | "ephemeralContainers" | "volumes") => {
                ListType::Map(&["name"])
            }
            ("containers" | "initContainers" | "ephemeralContainers", "env") => ListType::Map(&["name"]),
            ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => {
                ListType::Map(&["mountPath"])
            }
            ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
                ListType::Map(&["containerPort", "protocol"])
            }
            ("status", "podIPs" | "hostIPs") => ListType::Map(&["ip"]),
            ("status", "addresses") => ListType::Map(&["type"]),
            _ => ListType::Atomic,
        }
    }

    /// Whether server-side apply owns this object-valued field as a whole.
    pub(in crate::api) fn is_atomic_map(self, parent: &str, field: &str) -> bool {
        matches!(
            (parent, field),
            ("spec", "selector" | "nodeSelector")
                | (_, "labelSelector" | "podSelector" | "namespaceSelector")
        ) && !self.custom
            || matches!(field, "valueFrom" | "secretRef" | "configMapRef" | "involvedObject" | "fieldsV1")
    }

    /// The value of a key field that is absent in an item.
    pub(in crate::api) fn default_key(key: &str) -> Option<&'static str> {
        (key == "protocol").then_some("TCP")
    }

    /// Whether an update that adds this map or list also owns its presence. It does not own the presence of structs that
    /// every object of the type has in Go.
    pub(in crate::api) fn is_recorded(self, parent: &str, field: &str) -> bool {
        let always = matches!(field, "" | "metadata")
            || (!self.custom
                && matches!(
                    (parent, field),
                    (_, "spec" | "status" | "template" | "strategy" | "updateStrategy")
                        | ("spec", "containers")
                ));
        !always
    }
}
