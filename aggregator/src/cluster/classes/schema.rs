//! The fields of an SLAClass. The texts are the documentation that `kubectl explain slaclass.spec` shows.
//!
//! Defaults and rules stand here once: the manifest is made from these types, and a test compares the two.

#![allow(clippy::duplicated_attributes, reason = "columns of one type are no repetition")]

use std::borrow::Cow;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

/// How the pods that choose this class are sized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "plimsoll.dev",
    version = "v1alpha1",
    kind = "SLAClass",
    singular = "slaclass",
    plural = "slaclasses",
    doc = "How pods are sized: those that name this class in the label `plimsoll.dev/sla`, or whose namespace does.",
    status = "SlaClassStatus",
    printcolumn(name = "Rank", type_ = "integer", json_path = ".spec.rank"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Valid",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Valid\")].status"
    ),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods"),
    printcolumn(name = "Grown", type_ = "integer", json_path = ".status.grown"),
    printcolumn(name = "Shrunk", type_ = "integer", json_path = ".status.shrunk"),
    printcolumn(name = "Undone", type_ = "integer", json_path = ".status.undone"),
    printcolumn(name = "OOM", type_ = "integer", json_path = ".status.oom"),
    printcolumn(name = "Freed", type_ = "string", json_path = ".status.freed")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.weight > 0.0 && self.weight <= 1000.0", "message": "weight must be above 0 and at most 1000"}
]))]
pub(crate) struct SlaClassSpec {
    /// Classes of a lower rank are served first when a node has not enough for all.
    #[schemars(range(min = 0, max = 1000))]
    pub(crate) rank: i32,
    /// Share among the classes when headroom is divided by weight instead of by rank.
    #[serde(default = "one")]
    pub(crate) weight: f64,
    /// Whether sizes are only recommended, or pods are resized.
    #[serde(default)]
    pub(crate) mode: ClassMode,
    /// How CPU is sized.
    pub(crate) cpu: ResourceSpec,
    /// How memory is sized.
    pub(crate) memory: ResourceSpec,
    /// Shortest time between two growths of CPU of a container. That of memory is 5s.
    #[serde(default = "seconds_20")]
    pub(crate) up_cooldown: Period,
    /// How long nothing must have called for growth before a container is made smaller, and as long after any growth.
    #[serde(default = "minutes_20")]
    pub(crate) down_hold: Period,
    /// How long memory must have been watched before it is made smaller.
    #[serde(default = "hours_6")]
    pub(crate) memory_window: Period,
    /// Whether to resize also what restarts the container (resizePolicy RestartContainer).
    #[serde(default)]
    pub(crate) allow_restart: bool,
    /// When containers may be made smaller. Empty: always.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub(crate) schedule: Vec<WindowSpec>,
}

/// Whether a class changes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) enum ClassMode {
    #[default]
    Recommend,
    Apply,
}

/// How one resource is sized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.targetOfLimit > 0.0 && self.targetOfLimit <= 1.0", "message": "targetOfLimit must be above 0 and at most 1"},
    {"rule": "self.targetOfRequest > 0.0 && self.targetOfRequest <= 1.0", "message": "targetOfRequest must be above 0 and at most 1"},
    {"rule": "self.maxStep > 0.0 && self.maxStep <= 1.0", "message": "maxStep must be above 0 and at most 1"},
    {
        "rule": "!has(self.maxAllowed) || type(self.minAllowed) != string || type(self.maxAllowed) != string || \
            self.minAllowed.endsWith('%') || self.maxAllowed.endsWith('%') || \
            quantity(self.minAllowed).compareTo(quantity(self.maxAllowed)) <= 0",
        "message": "minAllowed must not be above maxAllowed"
    }
]))]
pub(crate) struct ResourceSpec {
    /// Usage over limit that a limit is sized for.
    pub(crate) target_of_limit: f64,
    /// Usage over request that a request is sized for.
    pub(crate) target_of_request: f64,
    /// The largest growth at once, as a share of the size: 1 doubles it.
    #[serde(default = "one")]
    pub(crate) max_step: f64,
    /// The least that a container may get: a quantity, or a percentage of its size before the first resize.
    #[serde(default = "all")]
    pub(crate) min_allowed: Allowed,
    /// The most that a container may get: a quantity, or a percentage of its size before the first resize. Unless it is a quantity, no
    /// container gets more than half of what its node has for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_allowed: Option<Allowed>,
    /// What is changed, of what is set.
    #[serde(default)]
    pub(crate) controlled_values: Controlled,
    /// Whether containers may get more.
    #[serde(default = "yes")]
    pub(crate) allow_increase: bool,
    /// Whether containers may get less. Default: true for CPU, false for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_decrease: Option<bool>,
}

/// Which of the two values of a resource are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Controlled {
    #[default]
    RequestsAndLimits,
    RequestsOnly,
    LimitsOnly,
}

/// A time of the week, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowSpec {
    /// The days on which it begins. Empty: every day.
    #[serde(default)]
    #[schemars(length(max = 7))]
    pub(crate) days: Vec<Day>,
    /// When it begins, as HH:MM.
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub(crate) from: String,
    /// When it ends, as HH:MM; on the next day if that is not later.
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub(crate) to: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A quantity or a percentage. YAML has the first also as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Allowed(pub(crate) String);

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "not a quantity or a percentage, such as 500m, 64Mi or 50%")]
        enum Form {
            Text(String),
            Number(Number),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Number(number) => number.to_string(),
        };
        if text.len() <= 32 { Ok(Allowed(text)) } else { Err(D::Error::custom("longer than 32 characters")) }
    }
}

impl JsonSchema for Allowed {
    fn schema_name() -> Cow<'static, str> {
        "Allowed".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": "^([0-9]{1,5}%|[0-9]{1,15}(\\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)$",
        })
    }
}

/// Hours, minutes and seconds, such as 90s or 1h30m.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Period(pub(crate) String);

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "pattern": "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
        })
    }
}

/// What became of the pods of this class. Counts since the class was created.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SlaClassStatus {
    /// Pods that are sized by this class now.
    pub(crate) pods: i64,
    /// Times that something grew.
    pub(crate) grown: i64,
    /// Times that something was made smaller.
    pub(crate) shrunk: i64,
    /// Times that a shrink did harm and was undone.
    pub(crate) undone: i64,
    /// Processes that the kernel killed for memory.
    pub(crate) oom: i64,
    /// What the pods request less than before their first resize, as CPU and memory: `1500m 2Gi`. Negative: they request more.
    pub(crate) freed: String,
    /// The generation that `conditions` are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observed_generation: Option<i64>,
    /// `Valid`: whether what the class says now applies. If not, what it said before does.
    pub(crate) conditions: Vec<ClassCondition>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClassCondition {
    /// Which condition.
    pub(crate) r#type: String,
    /// `True` or `False`.
    pub(crate) status: String,
    /// A word for programs.
    pub(crate) reason: String,
    /// A text for people.
    pub(crate) message: String,
    /// When the status changed.
    pub(crate) last_transition_time: String,
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn all() -> Allowed {
    Allowed("100%".to_owned())
}

fn seconds_20() -> Period {
    Period("20s".to_owned())
}

fn minutes_20() -> Period {
    Period("20m".to_owned())
}

fn hours_6() -> Period {
    Period("6h".to_owned())
}
