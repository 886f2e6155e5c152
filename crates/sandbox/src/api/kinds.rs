//! The resource types of the server: the built-in ones, and those of CustomResourceDefinitions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::status::ApiError;

type Text = Cow<'static, str>;

/// The address of a resource type: group (empty for core), version, plural name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: Text,
    /// Version within the group.
    pub version: Text,
    /// Plural, lower case: `pods`.
    pub plural: Text,
}

impl Resource {
    /// Core pods.
    pub const PODS: Self = Self::builtin("", "v1", "pods");
    /// Core nodes.
    pub const NODES: Self = Self::builtin("", "v1", "nodes");
    /// Core namespaces.
    pub const NAMESPACES: Self = Self::builtin("", "v1", "namespaces");
    /// Core secrets.
    pub const SECRETS: Self = Self::builtin("", "v1", "secrets");
    /// Core config maps.
    pub const CONFIG_MAPS: Self = Self::builtin("", "v1", "configmaps");
    /// Core events.
    pub const EVENTS: Self = Self::builtin("", "v1", "events");
    /// Core service accounts.
    pub const SERVICE_ACCOUNTS: Self = Self::builtin("", "v1", "serviceaccounts");
    /// Daemon sets.
    pub const DAEMON_SETS: Self = Self::builtin("apps", "v1", "daemonsets");
    /// Leases.
    pub const LEASES: Self = Self::builtin("coordination.k8s.io", "v1", "leases");
    /// Custom resource definitions.
    pub const DEFINITIONS: Self = Self::builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions");

    pub(super) const NEW_EVENTS: Self = Self::builtin("events.k8s.io", "v1", "events");
    pub(super) const AUTOSCALERS: Self = Self::builtin("autoscaling", "v2", "horizontalpodautoscalers");
    pub(super) const QUOTAS: Self = Self::builtin("", "v1", "resourcequotas");
    pub(super) const LIMIT_RANGES: Self = Self::builtin("", "v1", "limitranges");

    const fn builtin(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self {
            group: Text::Borrowed(group),
            version: Text::Borrowed(version),
            plural: Text::Borrowed(plural),
        }
    }

    /// A resource type by its names; `group` is empty for core.
    pub fn new(group: &str, version: &str, plural: &str) -> Self {
        let own = |text: &str| Text::Owned(text.to_owned());
        Self { group: own(group), version: own(version), plural: own(plural) }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name in error messages: `pods` or `daemonsets.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// One resource type and its properties.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub(super) resource: Resource,
    /// The kind in its objects: `Pod`.
    pub(super) kind: Text,
    pub(super) singular: Text,
    pub(super) short_names: Vec<Text>,
    pub(super) namespaced: bool,
    /// Whether `status` is written only through its own subresource.
    pub(super) status: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub(super) generation: bool,
    /// Whether it is defined by a CustomResourceDefinition: its lists are then replaced as a whole.
    pub(super) custom: bool,
    /// The columns of the definition.
    pub(super) columns: Vec<Column>,
}

/// A column of a table, from `additionalPrinterColumns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Type of its cells: `integer`, `string`, `date`.
    pub(super) kind: String,
    /// JSON pointer to the value. Only JSON paths that consist of field names are supported.
    pub(super) pointer: String,
    /// 0, or more for columns that only `-o wide` shows.
    pub(super) priority: i64,
}

impl Kind {
    /// The name in validation errors: `Pod`, `Lease.coordination.k8s.io`.
    pub(super) fn qualified(&self) -> String {
        let group = &self.resource.group;
        if group.is_empty() { self.kind.to_string() } else { format!("{}.{group}", self.kind) }
    }
}

impl Column {
    fn read(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            kind: text("type"),
            pointer: text("jsonPath").replace('.', "/"),
            priority: value["priority"].as_i64().unwrap_or(0),
        }
    }
}

/// Flags of the built-in types.
const NAMESPACED: u8 = 1;
const STATUS: u8 = 2;
const GENERATION: u8 = 4;

/// Resource, kind, short name, flags. A row needs a request of ours: each of these types is used by the aggregator, the command
/// line, the sandbox's kubelet, or the objects that the demo installs.
const BUILT_IN: [(Resource, &str, &str, u8); 14] = [
    (Resource::CONFIG_MAPS, "ConfigMap", "cm", NAMESPACED),
    (Resource::EVENTS, "Event", "ev", NAMESPACED),
    (Resource::NAMESPACES, "Namespace", "ns", STATUS),
    (Resource::NODES, "Node", "no", STATUS),
    (Resource::PODS, "Pod", "po", NAMESPACED | STATUS | GENERATION),
    (Resource::SECRETS, "Secret", "", NAMESPACED),
    (Resource::SERVICE_ACCOUNTS, "ServiceAccount", "sa", NAMESPACED),
    (Resource::DEFINITIONS, "CustomResourceDefinition", "crd", STATUS | GENERATION),
    (Resource::DAEMON_SETS, "DaemonSet", "ds", NAMESPACED | STATUS | GENERATION),
    (Resource::LEASES, "Lease", "", NAMESPACED),
    (Resource::NEW_EVENTS, "Event", "ev", NAMESPACED),
    // With `--resize` the aggregator lists and watches these three in all namespaces, and resizes nothing before each was listed.
    (Resource::AUTOSCALERS, "HorizontalPodAutoscaler", "hpa", NAMESPACED | STATUS),
    (Resource::QUOTAS, "ResourceQuota", "quota", NAMESPACED | STATUS),
    (Resource::LIMIT_RANGES, "LimitRange", "limits", NAMESPACED),
];

/// All resource types of one server.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    table: BTreeMap<Resource, Kind>,
}

impl Default for Kinds {
    fn default() -> Self {
        let kinds = BUILT_IN.map(|(resource, kind, short, flags)| Kind {
            resource,
            kind: Text::Borrowed(kind),
            singular: Text::Owned(kind.to_lowercase()),
            short_names: Some(short)
                .filter(|short| !short.is_empty())
                .map(Text::Borrowed)
                .into_iter()
                .collect(),
            namespaced: flags & NAMESPACED != 0,
            status: flags & STATUS != 0,
            generation: flags & GENERATION != 0,
            custom: false,
            columns: Vec::new(),
        });
        Self { table: kinds.map(|kind| (kind.resource.clone(), kind)).into() }
    }
}

impl Kinds {
    /// The type at this address, or a 404.
    pub(super) fn find(&self, resource: &Resource) -> Result<&Kind, ApiError> {
        let unknown = || {
            let is_served = self.serves(&resource.group, &resource.version);
            if is_served { ApiError::no_such_path() } else { ApiError::page_not_found() }
        };
        self.table.get(resource).ok_or_else(unknown)
    }

    /// Whether there is a type with this group and version; in the core group every version counts.
    pub(super) fn serves(&self, group: &str, version: &str) -> bool {
        let is_review = matches!(group, "authentication.k8s.io" | "authorization.k8s.io") && version == "v1";
        group.is_empty()
            || is_review
            || self.table.keys().any(|at| at.group == group && at.version == version)
    }

    /// Every type, ordered by group, version and plural.
    pub(super) fn all(&self) -> impl Iterator<Item = &Kind> {
        self.table.values()
    }

    /// Removes every version of a custom type.
    pub(super) fn undefine(&mut self, group: &str, plural: &str) {
        self.table.retain(|at, kind| !(kind.custom && at.group == group && at.plural == plural));
    }

    /// Adds every served version of a CustomResourceDefinition.
    pub(super) fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| Text::Owned(value.as_str().unwrap_or_default().to_owned());
        let versions = spec["versions"].as_array().into_iter().flatten();
        for version in versions.filter(|version| version["served"] == true) {
            let names = &spec["names"];
            let kind = text(&names["kind"]);
            let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned);
            let columns = version["additionalPrinterColumns"].as_array();
            let resource = Resource {
                group: text(&spec["group"]),
                version: text(&version["name"]),
                plural: text(&names["plural"]),
            };
            let kind = Kind {
                resource: resource.clone(),
                kind,
                singular: Text::Owned(singular),
                short_names: names["shortNames"].as_array().into_iter().flatten().map(text).collect(),
                namespaced: spec["scope"] == "Namespaced",
                status: version["subresources"].get("status").is_some(),
                generation: true,
                custom: true,
                columns: columns.into_iter().flatten().map(Column::read).collect(),
            };
            self.table.insert(resource, kind);
        }
    }
}
