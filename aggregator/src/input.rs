//! Everything that reaches the core, as values: a whole run can be recorded as its inputs and replayed.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::status::KeyConflict;
use plimsoll_contract::{Moment, NodeName, PodName, Report};
use serde::{Deserialize, Serialize};

use crate::facts::{
    AutoscalerFacts, ClassFacts, LimitRangeFacts, NamespaceFacts, NodeFacts, ObjectKey, PodFacts, QuotaFacts,
};

/// The time of an input. Decisions use `at`; `wall` is for people to read, and bounds the sequence numbers of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Now {
    /// Time since the start of the process.
    pub(crate) at: Moment,
    pub(crate) wall: Timestamp,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Input {
    /// Time passed; about once a second.
    Tick,
    Pods(WatchEvent<PodFacts, PodKey>),
    Nodes(WatchEvent<NodeFacts, NodeName>),
    Namespaces(WatchEvent<NamespaceFacts, String>),
    /// SLA classes; these four only with `--resize`.
    Classes(WatchEvent<ClassFacts, String>),
    Autoscalers(WatchEvent<AutoscalerFacts, ObjectKey>),
    Quotas(WatchEvent<QuotaFacts, ObjectKey>),
    LimitRanges(WatchEvent<LimitRangeFacts, ObjectKey>),
    /// A report whose sender was verified to run on the node that it reports on.
    Reported {
        /// The API's uid of the agent's pod.
        agent: String,
        report: Box<Report>,
    },
    Outcome(Outcome),
    Paused(bool),
    /// This replica leads with this epoch, or does not lead.
    Leading(Option<u64>),
}

/// What a watch of one kind of object says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum WatchEvent<F, K> {
    /// The complete list, at the start or after the watch was lost: objects that are not in it were deleted.
    Listed(Vec<F>),
    /// An object was created or changed.
    Changed(Box<F>),
    /// An object was deleted.
    Deleted(K),
    /// An object is there that cannot be read, for this reason: nothing is known of it, until it is changed or listed. Said once for
    /// each object and reason.
    Unreadable(K, String),
}

/// Identifies a pod: another pod may be created under the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodKey {
    pub(crate) pod: PodName,
    pub(crate) uid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) write: u64,
    pub(crate) result: WriteResult,
    /// From sending to the response.
    pub(crate) took: Duration,
}

/// The API server's response to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteResult {
    /// Done; the pod carries what was asked for. Of a resize: its spec does, and the kubelet acts on it next.
    Written(PodVersion),
    /// Other field managers own these keys, in order, each once.
    Conflict(Vec<KeyConflict>),
    /// The pod does not exist any more, or another one has its name.
    Gone,
    /// Too many requests; how long to wait, if the server said it.
    Throttled(Option<Duration>),
    /// The resize, or its dry run, was refused for a reason of its own; the server's words.
    Refused(RefusalKind, String),
    /// Rejected or failed: status code (0 if there was none) and message.
    Failed(u16, String),
    /// No response in time: it may or may not have been done.
    NoAnswer,
}

/// The version of a pod that a write made, as far as the response said it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PodVersion {
    /// `metadata.resourceVersion`.
    pub(crate) resource_version: Option<String>,
    /// `metadata.generation`: a resize that changes the spec raises it.
    pub(crate) generation: Option<i64>,
}

/// Why the API server refuses a resize, as far as it matters for what is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalKind {
    /// The pod changed since its metadata was written.
    Stale,
    /// More than its node has.
    NodeCapacity,
    /// The namespace's ResourceQuota has no room.
    Quota,
    /// A LimitRange of the namespace.
    LimitRange,
    /// Our account may not resize pods.
    Forbidden,
    /// The QoS class would change.
    QosClass,
    /// This cluster or container does not let a memory limit decrease, or be added.
    MemoryLimit,
    /// Something that is set would be removed.
    Removal,
    /// The pod or its node does not support resizing.
    Unsupported,
    /// An admission webhook or policy.
    Policy,
    /// Anything else that is wrong with it.
    Invalid,
}

impl RefusalKind {
    /// The word in decisions, logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RefusalKind::Stale => "stale",
            RefusalKind::NodeCapacity => "node_capacity",
            RefusalKind::Quota => "quota",
            RefusalKind::LimitRange => "limit_range",
            RefusalKind::Forbidden => "forbidden",
            RefusalKind::QosClass => "qos_class",
            RefusalKind::MemoryLimit => "memory_limit",
            RefusalKind::Removal => "removal",
            RefusalKind::Unsupported => "unsupported",
            RefusalKind::Policy => "policy",
            RefusalKind::Invalid => "invalid",
        }
    }
}

impl WriteResult {
    /// The word in logs, metrics and [`plimsoll_contract::status::Decision`].
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            WriteResult::Written(_) => "written",
            WriteResult::Conflict(_) => "conflict",
            WriteResult::Gone => "gone",
            WriteResult::Throttled(_) => "throttled",
            WriteResult::Refused(..) => "refused",
            WriteResult::Failed(..) => "failed",
            WriteResult::NoAnswer => "timeout",
        }
    }

    /// What a person needs to know beside the word.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            WriteResult::Written(_) | WriteResult::Gone => None,
            WriteResult::Conflict(conflicts) => Some(
                conflicts
                    .iter()
                    .map(|owned| format!("owned by another: {owned}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            WriteResult::Throttled(_) => Some("the API server asks to slow down".to_owned()),
            WriteResult::Refused(why, message) => Some(format!("{}: {message}", why.as_str())),
            WriteResult::Failed(0, message) => Some(message.clone()),
            WriteResult::Failed(status, message) => Some(format!("{status}: {message}")),
            WriteResult::NoAnswer => Some("no response in time; it may have been done".to_owned()),
        }
    }
}

#[cfg(test)]
impl WriteResult {
    /// Done, by a server that says no version.
    pub(crate) fn written() -> WriteResult {
        WriteResult::Written(PodVersion::default())
    }
}
