//! The table of resource types the server knows: the built-in ones, and those that a CustomResourceDefinition adds.
//!
//! Touches nothing; a change of the table is a method call by the store when a definition is created.

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

    /// As error messages name it: `pods` or `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// One resource type and what the server does for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// Its address.
    pub resource: Resource,
    /// The kind in its objects: `Pod`.
    pub kind: Text,
    /// Singular name for `kubectl`.
    pub singular: Text,
    /// Short names for `kubectl`.
    pub short_names: Vec<Text>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is written through its own subresource only.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether it came from a definition: its lists are then replaced as a whole.
    pub custom: bool,
    /// What a definition wants to see in tables, instead of the age.
    pub columns: Vec<Column>,
}

/// A column of a table, from `additionalPrinterColumns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Type of its cells: `integer`, `string`, `date`.
    pub kind: String,
    /// Path to the value, as a JSON pointer: of the JSON paths only names below names are read.
    pub pointer: String,
    /// 0, or more for `-o wide`.
    pub priority: i64,
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

/// What a row of the built-in table says beside the names.
const NAMESPACED: u8 = 1;
const STATUS: u8 = 2;
const GENERATION: u8 = 4;
const FULL: u8 = NAMESPACED | STATUS | GENERATION;

/// group, version, plural, kind, short names (comma separated), flags.
const BUILT_IN: &[(&str, &str, &str, &str, &str, u8)] = &[
    ("", "v1", "configmaps", "ConfigMap", "cm", NAMESPACED),
    ("", "v1", "endpoints", "Endpoints", "ep", NAMESPACED),
    ("", "v1", "events", "Event", "ev", NAMESPACED),
    ("", "v1", "limitranges", "LimitRange", "limits", NAMESPACED),
    ("", "v1", "namespaces", "Namespace", "ns", STATUS),
    ("", "v1", "nodes", "Node", "no", STATUS),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", NAMESPACED | STATUS),
    ("", "v1", "pods", "Pod", "po", FULL),
    ("", "v1", "replicationcontrollers", "ReplicationController", "rc", FULL),
    ("", "v1", "resourcequotas", "ResourceQuota", "quota", NAMESPACED | STATUS),
    ("", "v1", "secrets", "Secret", "", NAMESPACED),
    ("", "v1", "serviceaccounts", "ServiceAccount", "sa", NAMESPACED),
    ("", "v1", "services", "Service", "svc", NAMESPACED | STATUS),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        "",
        STATUS | GENERATION,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        "",
        0,
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd,crds",
        STATUS | GENERATION,
    ),
    ("apps", "v1", "daemonsets", "DaemonSet", "ds", FULL),
    ("apps", "v1", "deployments", "Deployment", "deploy", FULL),
    ("apps", "v1", "replicasets", "ReplicaSet", "rs", FULL),
    ("apps", "v1", "statefulsets", "StatefulSet", "sts", FULL),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", NAMESPACED | STATUS),
    ("batch", "v1", "cronjobs", "CronJob", "cj", FULL),
    ("batch", "v1", "jobs", "Job", "", FULL),
    ("coordination.k8s.io", "v1", "leases", "Lease", "", NAMESPACED),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "", NAMESPACED),
    ("events.k8s.io", "v1", "events", "Event", "ev", NAMESPACED),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", NAMESPACED | GENERATION),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", FULL),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "", 0),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "", 0),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "", NAMESPACED),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", "", NAMESPACED),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", GENERATION),
];

/// All resource types of one server.
#[derive(Debug, Clone)]
pub struct Kinds {
    table: BTreeMap<Resource, Kind>,
}

impl Default for Kinds {
    fn default() -> Self {
        let rows = BUILT_IN.iter().map(|&(group, version, plural, kind, short, flags)| Kind {
            resource: Resource::builtin(group, version, plural),
            kind: Text::Borrowed(kind),
            singular: Text::Owned(kind.to_lowercase()),
            short_names: short.split(',').filter(|name| !name.is_empty()).map(Text::Borrowed).collect(),
            namespaced: flags & NAMESPACED != 0,
            status: flags & STATUS != 0,
            generation: flags & GENERATION != 0,
            custom: false,
            columns: Vec::new(),
        });
        Self { table: rows.map(|kind| (kind.resource.clone(), kind)).collect() }
    }
}

impl Kinds {
    /// The type at this address.
    ///
    /// # Errors
    /// 404 when the server does not know it.
    pub fn find(&self, resource: &Resource) -> Result<&Kind, ApiError> {
        let unknown = || {
            let is_served = self.serves(&resource.group, &resource.version);
            if is_served { ApiError::no_such_path() } else { ApiError::page_not_found() }
        };
        self.table.get(resource).ok_or_else(unknown)
    }

    /// Whether there is any type at this group and version; of the core group all versions count.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        let asked = matches!(group, "authentication.k8s.io" | "authorization.k8s.io") && version == "v1";
        group.is_empty() || asked || self.table.keys().any(|at| at.group == group && at.version == version)
    }

    /// Every type, ordered by group, version and plural.
    pub fn all(&self) -> impl Iterator<Item = &Kind> {
        self.table.values()
    }

    /// Adds a type, or replaces the one at the same address.
    pub fn register(&mut self, kind: Kind) {
        self.table.insert(kind.resource.clone(), kind);
    }

    /// Removes every version of a custom type: its definition is gone.
    pub fn forget(&mut self, group: &str, plural: &str) {
        self.table.retain(|at, kind| !(kind.custom && at.group == group && at.plural == plural));
    }

    /// Registers every served version of a CustomResourceDefinition.
    pub fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| Text::Owned(value.as_str().unwrap_or_default().to_owned());
        let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        for version in versions.iter().filter(|version| version["served"] == true) {
            let names = &spec["names"];
            let kind = text(&names["kind"]);
            let singular = names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned);
            let columns = version["additionalPrinterColumns"].as_array();
            let short = names["shortNames"].as_array().map(Vec::as_slice).unwrap_or_default();
            self.register(Kind {
                resource: Resource {
                    group: text(&spec["group"]),
                    version: text(&version["name"]),
                    plural: text(&names["plural"]),
                },
                kind,
                singular: Text::Owned(singular),
                short_names: short.iter().map(text).collect(),
                namespaced: spec["scope"] == "Namespaced",
                status: version["subresources"].get("status").is_some(),
                generation: true,
                custom: true,
                columns: columns.into_iter().flatten().map(Column::read).collect(),
            });
        }
    }
}
