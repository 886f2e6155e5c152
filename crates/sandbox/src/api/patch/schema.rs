//! How lists and maps of Kubernetes objects merge: which lists are maps by a key, which are sets, which are replaced.
//!
//! The source is the `listType`, `listMapKey` and `patchMergeKey` markers of the Kubernetes API types. A list that is not
//! named here is atomic, as in the API itself. Custom types have no such markers here: only their metadata and conditions merge.

/// How a list merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are told apart by these fields; strategic merge uses the first.
    Map(&'static [&'static str]),
}

/// The merge rules of one type of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Schema {
    /// Whether the type came from a definition.
    pub(in crate::api) custom: bool,
}

impl Schema {
    /// How the list `field` of the struct held by `parent` (the nearest enclosing field name) merges.
    pub(in crate::api) fn list(self, parent: &str, field: &str) -> ListType {
        match (parent, field) {
            ("metadata", "finalizers") => ListType::Set,
            ("metadata", "ownerReferences") => ListType::Map(&["uid"]),
            ("status", "conditions") => ListType::Map(&["type"]),
            _ if self.custom => ListType::Atomic,
            (
                _,
                "containers"
                | "initContainers"
                | "ephemeralContainers"
                | "volumes"
                | "imagePullSecrets"
                | "schedulingGates",
            ) => ListType::Map(&["name"]),
            ("containers" | "initContainers" | "ephemeralContainers", "env") => ListType::Map(&["name"]),
            ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => {
                ListType::Map(&["mountPath"])
            }
            ("containers" | "initContainers" | "ephemeralContainers", "volumeDevices") => {
                ListType::Map(&["devicePath"])
            }
            ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
                ListType::Map(&["containerPort", "protocol"])
            }
            ("spec", "ports") => ListType::Map(&["port", "protocol"]),
            ("spec", "resourceClaims") | ("resources", "claims") | ("", "secrets") => {
                ListType::Map(&["name"])
            }
            ("spec", "topologySpreadConstraints") => ListType::Map(&["topologyKey", "whenUnsatisfiable"]),
            ("spec", "hostAliases") | ("status", "podIPs" | "hostIPs") => ListType::Map(&["ip"]),
            ("status", "addresses") => ListType::Map(&["type"]),
            ("", "webhooks") | ("spec", "validations") => ListType::Atomic,
            _ => ListType::Atomic,
        }
    }

    /// Whether this object-valued field is owned as a whole by server-side apply.
    pub(in crate::api) fn is_atomic_map(self, parent: &str, field: &str) -> bool {
        matches!(
            (parent, field),
            ("spec", "selector" | "nodeSelector")
                | (_, "labelSelector" | "podSelector" | "namespaceSelector")
        ) && !self.custom
            || matches!(field, "valueFrom" | "secretRef" | "configMapRef" | "involvedObject" | "fieldsV1")
    }

    /// The value a key field has when an item leaves it out.
    pub(in crate::api) fn default_key(key: &str) -> Option<&'static str> {
        (key == "protocol").then_some("TCP")
    }

    /// Whether the presence of this map or list is itself recorded when an update adds it: of all that an object of Go can
    /// be without, so not of structs that every object of the type has.
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
