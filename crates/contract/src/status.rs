//! What the aggregator tells people, over its plain read-only port: pods, nodes, decisions.
//!
//! | path | document |
//! |---|---|
//! | `/v1/pods` | list of [`PodStatus`] |
//! | `/v1/pods/{namespace}/{name}` | [`PodStatus`] |
//! | `/v1/nodes` | list of [`NodeStatus`] |
//! | `/v1/decisions` | list of [`Decision`], newest first |
//! | `/v1/stream` | server-sent events: `pod` with a [`PodStatus`], `decision` with a [`Decision`] |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report::{BoundBy, Capacity, UnknownReason};
use crate::roster::Bands;
use crate::{Band, Basis, NodeName};

/// A pod as the aggregator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The API's uid.
    pub uid: String,
    /// The node it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Its SLA class; absent when it is not opted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// CPU; amounts in cores.
    pub cpu: ResourceStatus,
    /// Memory; amounts in bytes.
    pub memory: ResourceStatus,
    /// The bands on the pod, as the API server last said.
    pub labeled: Bands,
    /// Whether we leave it alone, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<LeftAlone>,
    /// Keys of ours that somebody else owns on this pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// The last thing done to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Decision>,
}

/// One resource of a pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// The band.
    pub band: Band,
    /// What the utilization is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Smoothed usage over basis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    /// Smoothed usage: cores or bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<f64>,
    /// The amount of the basis: cores or bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<f64>,
    /// Name of the hottest container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What holds that container back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_by: Option<BoundBy>,
    /// Since when the band holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnknownReason>,
}

/// Why a pod gets no labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftAlone {
    /// `plimsoll.dev/ignore=true` on the pod.
    PodIgnored,
    /// `plimsoll.dev/ignore=true` on the namespace.
    NamespaceIgnored,
    /// A namespace left alone by default: `kube-system` and our own.
    SystemNamespace,
    /// It has finished.
    Finished,
}

/// A node as the aggregator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name.
    pub node: NodeName,
    /// Seconds since the last report was taken in; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_age: Option<f64>,
    /// How it stands with its agent.
    pub state: NodeState,
    /// Sequence number of that report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What the node has, as its agent says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Its boot id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Pods bound to it.
    pub pods: usize,
}

/// How it stands with a node's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Reports come.
    Reporting,
    /// None for 30 s: nothing on it is resized.
    Late,
    /// None for 120 s: its pods' bands are unknown.
    Silent,
}

/// One action and what became of it: the same value is the log line, the Event and the entry of `/v1/decisions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When it was decided.
    pub at: Timestamp,
    /// `label`, `resize`, `announce`.
    pub action: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// What was there before, for a person.
    pub from: String,
    /// What was asked for, for a person.
    pub to: String,
    /// Why.
    pub reason: String,
    /// What became of it: `sent`, `written`, `conflict`, `gone`, `throttled`, `failed`, `timeout`.
    pub outcome: String,
    /// Milliseconds from sending to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}
