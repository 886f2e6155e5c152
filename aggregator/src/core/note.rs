//! What the core says about itself, as values: for logs, metrics and `/readyz`. Nothing here causes a write.

use std::collections::BTreeMap;
use std::fmt;

use plimsoll_contract::report::BadReport;
use plimsoll_contract::roster::RefusedReason;
use plimsoll_contract::status::{Decision, NodeState};
use plimsoll_contract::{Band, NodeName, PodName, Resource};
use serde::Serialize;

/// Something worth a line in the log. Those of one step are gone with the next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Note {
    /// The first report of a node that this replica took in.
    NodeHeard {
        /// The node.
        node: NodeName,
        /// How many pods it named.
        pods: usize,
    },
    /// No report for `late_after`.
    NodeLate {
        /// The node.
        node: NodeName,
    },
    /// No report for `silent_after`.
    NodeSilent {
        /// The node.
        node: NodeName,
    },
    /// A late or silent node reports again.
    NodeBack {
        /// The node.
        node: NodeName,
    },
    /// Pods of a report were not taken in. Said when the count for the reason changes from one full report to the next.
    Refused {
        /// Who reported them.
        node: NodeName,
        /// Why.
        reason: RefusedReason,
        /// How many of that report.
        count: usize,
    },
    /// A report was not taken in although it came as far as the core.
    ReportRefused {
        /// Who sent it.
        node: NodeName,
        /// Why.
        refusal: String,
    },
    /// The node reported other nodes' pods too often: its reports are refused for a while.
    Quarantined {
        /// The node.
        node: NodeName,
    },
    /// Too much at once to be true: nothing is written until it is quiet.
    BreakerOpened {
        /// For a person.
        why: String,
    },
    /// It was quiet for long enough.
    BreakerClosed,
    /// Why writes are withheld changed; `None`: they are not.
    Withheld {
        /// The reason now.
        why: Option<Withheld>,
    },
    /// Somebody else owns keys of ours on a pod.
    Conflict {
        /// The pod.
        pod: PodName,
        /// The keys.
        keys: Vec<String>,
    },
    /// An action is settled: it has its outcome. One line in the log.
    Decided {
        /// It, with its outcome.
        decision: Box<Decision>,
        /// What a person has to know besides.
        problem: Option<String>,
    },
}

/// Why nothing is written. The first that holds is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Pods, nodes and namespaces are not all listed yet.
    NotSynced,
    /// Another replica leads, or how the pause switch stands is not known yet.
    NotLeading,
    /// The pause switch is on.
    Paused,
    /// The breaker is open.
    BreakerOpen,
}

impl Withheld {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Withheld::NotSynced => "not_synced",
            Withheld::NotLeading => "not_leading",
            Withheld::Paused => "paused",
            Withheld::BreakerOpen => "breaker_open",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a report as a whole is not taken in.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The watches have not told everything yet: try again soon.
    #[error("not ready: pods, nodes and namespaces are not all listed yet; report again in a second")]
    NotSynced,
    /// The API server knows no such node.
    #[error("the API server knows no node {0}")]
    UnknownNode(NodeName),
    /// Not newer than what is known: a repetition, or an answer that overtook.
    #[error(
        "report {got} is not newer than {have}, the last one taken in; go on above it (cause: the node's clock was set back, or two agents report it)"
    )]
    OldSequence {
        /// Of this report.
        got: u64,
        /// Of the last one taken in.
        have: u64,
    },
    /// The node reported other nodes' pods too often.
    #[error("node {0} is in quarantine: it reported pods of other nodes")]
    Quarantined(NodeName),
    /// Its frame is wrong: version, boot id, capacity or size.
    #[error(transparent)]
    BadReport(#[from] BadReport),
}

impl Refusal {
    /// The word in metrics: a closed list.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refusal::NotSynced => "not_synced",
            Refusal::UnknownNode(_) => "unknown_node",
            Refusal::OldSequence { .. } => "old_sequence",
            Refusal::Quarantined(_) => "quarantined",
            Refusal::BadReport(_) => "bad_report",
        }
    }
}

/// Numbers for metrics, counted when asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gauges {
    /// Pods by what is known of them now.
    pub bands: BTreeMap<(Resource, Band), u64>,
    /// Nodes by how it stands with their agent.
    pub nodes: BTreeMap<NodeState, u64>,
    /// Pods known.
    pub pods: u64,
    /// Pods on which somebody else owns a key of ours.
    pub conflicts: u64,
    /// Pods that wait for the budget or for writes to be allowed.
    pub pending: u64,
    /// Writes without an answer.
    pub in_flight: u64,
    /// Writes per second allowed now.
    pub rate: f64,
    /// Whether the breaker is open.
    pub breaker_open: bool,
    /// Why nothing is written.
    pub withheld: Option<Withheld>,
}
