//! What the core says about itself, as values: for logs, metrics and `/readyz`. Nothing here causes a write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::rejection::PodRejection;
use plimsoll_contract::status::{Decision, KeyConflict, NodeCounts};
use plimsoll_contract::{Band, NodeName, PodName, Resource};

use super::Withheld;
use crate::plan::queue::Order;
use crate::plan::silence::Phase;

/// Something to log. Each is a transition: the core repeats none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note {
    /// The first report of a node that this replica accepted, with the number of pods in it.
    FirstReport { node: NodeName, pods: usize },
    /// A late or silent node reports again.
    ReportsAgain { node: NodeName },
    /// No report for `late_after`.
    NodeLate { node: NodeName },
    /// No report for `silent_after`.
    NodeSilent { node: NodeName },
    /// The number of nodes that are silent makes a difference now, or no longer.
    Silence { phase: Phase, silent: usize, nodes: usize },
    /// Pods of a full report were rejected, another number than in the one before.
    PodsRejected { node: NodeName, reason: PodRejection, count: usize },
    /// The node reported other nodes' pods too often: its reports are rejected for a while.
    Quarantined { node: NodeName },
    /// The position of the pause switch.
    PauseSwitch { paused: bool },
    /// Why writes are withheld changed; `None`: they are not.
    Withheld { why: Option<Withheld> },
    /// Other field managers own keys of ours on a pod; what gives them back to us.
    Conflict { pod: PodName, conflicts: Vec<KeyConflict>, cure: String },
    /// `plimsoll.dev/ignore` on a pod (`shop/web`) or namespace (`shop`) is neither `true` nor `false`.
    InvalidIgnore { object: String, value: String },
    /// What an SLA class says now cannot be used; what it said before stays in force, if it ever could.
    InvalidClass { class: String, problem: String, held: bool },
    /// Writes to the pods of a namespace are slow, or have not been for long.
    SlowNamespace { namespace: Arc<str>, slow: bool },
    /// Something happened to a resize: the outcome of its write, or what the node did. Counted; a decision says it to people.
    Resize { class: String, purpose: &'static str, outcome: &'static str, took: Option<Duration> },
    /// A write has its outcome, and what a person needs to know beside it.
    Decided { decision: Box<Decision>, problem: Option<String> },
}

/// What the probes say of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// Whether pods, nodes and namespaces were listed.
    pub(crate) synced: bool,
    /// Why nothing is written.
    pub(crate) withheld: Option<Withheld>,
}

/// Numbers for metrics that are known without a look at every object.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gauges {
    /// Pods known.
    pub(crate) pods: u64,
    /// Namespaces to whose pods writes are slow.
    pub(crate) slow_namespaces: u64,
    /// Writes without an outcome.
    pub(crate) in_flight: u64,
    /// Writes per second allowed now.
    pub(crate) rate: f64,
    /// Whether `unknown` is withheld because many nodes are silent.
    pub(crate) unknown_withheld: bool,
    /// Why nothing is written.
    pub(crate) withheld: Option<Withheld>,
}

/// Numbers for metrics that must be counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Counts {
    /// Pods by the band of each resource.
    pub(crate) bands: BTreeMap<(Resource, Band), u64>,
    /// Pods on which another field manager owns a key of ours.
    pub(crate) conflicts: u64,
    /// Nodes by whether their agent reports.
    pub(crate) nodes: NodeCounts,
    /// Pods that wait to be written to, by the order of their writes.
    pub(crate) pending: BTreeMap<Order, u64>,
    /// Owners whose pods' writes are refused, those on whose pods repairs are undone, and those on whose pods keys are taken again.
    pub(crate) backing_off: [u64; 3],
    /// Pods with a class by where their resize stands.
    pub(crate) resize_states: BTreeMap<&'static str, u64>,
    /// Pods with a class that are not resized, by reason.
    pub(crate) resize_refusals: BTreeMap<&'static str, u64>,
}
