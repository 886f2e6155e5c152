//! What the core wants done, as values. `apply` is the only code that does it.

use std::collections::BTreeMap;

use plimsoll_contract::{NodeName, PodName};
use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Write our metadata on a pod.
    Label(LabelWrite),
    /// Tell people through a Kubernetes Event.
    Announce(Announcement),
}

/// A server-side apply of the complete set of our keys on one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelWrite {
    /// Number of this action; the outcome names it.
    pub action: u64,
    /// The pod.
    pub pod: PodName,
    /// The API's uid: a pod made again under the same name is never touched.
    pub uid: String,
    /// Its node.
    pub node: Option<NodeName>,
    /// Every label of ours that the pod shall carry.
    pub labels: BTreeMap<String, String>,
    /// Every annotation of ours that the pod shall carry.
    pub annotations: BTreeMap<String, String>,
    /// What the pod carries now, for the log: `cpu=low memory=low`.
    pub from: String,
    /// What it shall carry, for the log.
    pub to: String,
    /// Why.
    pub reason: Reason,
}

/// Why labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A band changed.
    Transition,
    /// The pod had no band yet.
    First,
    /// Its node fell silent, or nothing has been known of it for as long.
    Silence,
    /// It must carry none of our keys any more: finished, or ignored.
    Withdrawn,
}

/// An Event on a pod or, without one, on the aggregator's Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The pod it is about, with its uid.
    pub about: Option<(PodName, String)>,
    /// Machine-readable reason in CamelCase.
    pub reason: String,
    /// For a person.
    pub note: String,
    /// Whether something needs attention.
    pub warning: bool,
}
