//! What is rejected, and why: a report as a whole, a single pod of one.

use serde::{Deserialize, Serialize};

use crate::PodUid;
use crate::report::{MAX_SEQ, VERSION};

/// The body of the answer to a report that was rejected as a whole; the HTTP status is 4xx or 5xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectionBody {
    /// For people: what is wrong, and what to do.
    pub error: String,
    /// One word for it, the same as in the aggregator's metrics.
    pub reason: String,
    /// Sequence number of the newest accepted report of this node, where the rejected one was not newer: the next report must be
    /// above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// Sequence number that the next report must be above, where the rejected one was far ahead of the aggregator's clock. Agents of
    /// earlier versions ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<u64>,
}

/// A pod of an accepted report that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedPod {
    /// As the report named it.
    pub uid: PodUid,
    /// Why.
    pub reason: PodRejection,
}

/// Why a pod of a report is rejected. A closed list: it is also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodRejection {
    /// The API server does not know it: just created or just deleted, so it is not counted against the node.
    UnknownPod,
    /// Several pods of the node claim to be this static pod, and nothing tells which one is: it is not counted against the node. Sent
    /// only to agents that repeat [`Answer::roster_process`](crate::roster::Answer::roster_process); others do not know the word.
    AmbiguousPod,
    /// It is bound to another node.
    ForeignPod,
    /// A number is impossible.
    BadValue,
}

impl PodRejection {
    /// Every reason.
    pub const ALL: [PodRejection; 4] = [
        PodRejection::UnknownPod,
        PodRejection::AmbiguousPod,
        PodRejection::ForeignPod,
        PodRejection::BadValue,
    ];

    /// The word in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PodRejection::UnknownPod => "unknown_pod",
            PodRejection::AmbiguousPod => "ambiguous_pod",
            PodRejection::ForeignPod => "foreign_pod",
            PodRejection::BadValue => "bad_value",
        }
    }
}

/// What makes a report invalid, whoever sends it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReportRejection {
    /// A schema version that this code does not read.
    #[error("report version {0} is not supported: this aggregator reads versions {oldest} to {VERSION}", oldest = oldest_version())]
    Version(u32),
    /// More pods or containers than a report may name.
    #[error("the report names {0} {1}, more than the {2} allowed")]
    TooMany(usize, &'static str, usize),
    /// An impossible number.
    #[error("{field} of pod {pod} is {value}: {rule}")]
    Value {
        /// The pod's uid, or `-` for the node's own fields.
        pod: String,
        /// The field, in JSON notation.
        field: &'static str,
        /// The value.
        value: f64,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The boot id is too long to be one.
    #[error("the boot id has {0} characters; a boot id has 36")]
    Boot(usize),
    /// A sequence number that no agent reaches.
    #[error("seq is {0}, more than the {MAX_SEQ} allowed")]
    Seq(u64),
}

/// The oldest schema version that this code reads.
pub(crate) fn oldest_version() -> u32 {
    VERSION.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_pod_has_the_same_word_in_json_and_in_metrics() {
        for reason in PodRejection::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
