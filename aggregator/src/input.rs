//! Everything that reaches the core, as values: a whole run can be recorded as its inputs and replayed.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::status::KeyConflict;
use plimsoll_contract::{Moment, NodeName, PodName, Report};
use serde::{Deserialize, Serialize};

use crate::facts::{NamespaceFacts, NodeFacts, PodFacts};

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
    /// Done; the pod carries what was asked for.
    Written,
    /// Other field managers own these keys, in order, each once.
    Conflict(Vec<KeyConflict>),
    /// The pod does not exist any more, or another one has its name.
    Gone,
    /// Too many requests; how long to wait, if the server said it.
    Throttled(Option<Duration>),
    /// Rejected or failed: status code (0 if there was none) and message.
    Failed(u16, String),
    /// No response in time: it may or may not have been done.
    NoAnswer,
}

impl WriteResult {
    /// The word in logs, metrics and [`plimsoll_contract::status::Decision`].
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            WriteResult::Written => "written",
            WriteResult::Conflict(_) => "conflict",
            WriteResult::Gone => "gone",
            WriteResult::Throttled(_) => "throttled",
            WriteResult::Failed(..) => "failed",
            WriteResult::NoAnswer => "timeout",
        }
    }

    /// What a person needs to know beside the word.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            WriteResult::Written | WriteResult::Gone => None,
            WriteResult::Conflict(conflicts) => Some(
                conflicts
                    .iter()
                    .map(|owned| format!("owned by another: {owned}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            WriteResult::Throttled(_) => Some("the API server asks to slow down".to_owned()),
            WriteResult::Failed(0, message) => Some(message.clone()),
            WriteResult::Failed(status, message) => Some(format!("{status}: {message}")),
            WriteResult::NoAnswer => Some("no response in time; it may have been done".to_owned()),
        }
    }
}
