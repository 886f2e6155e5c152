//! The responses of the aggregator's port for people: pods, nodes, decisions, and what the replica that answers does.
//!
//! | path | document |
//! |---|---|
//! | `/v1/status` | [`AggregatorStatus`] |
//! | `/v1/pods` | list of [`PodStatus`] |
//! | `/v1/pods/{namespace}/{name}` | [`PodStatus`] |
//! | `/v1/nodes` | list of [`NodeStatus`] |
//! | `/v1/decisions` | list of [`Decision`], newest first |

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::NodeName;
use crate::load::{ResourceLoad, UnknownReason};
use crate::report::Capacity;
use crate::resize::ResizeStatus;
use crate::roster::Bands;

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
    /// The bands on the pod, that the watch last showed.
    pub labeled: Bands,
    /// Keys of bands that are on the pod with a value that is no band.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_bands: Vec<String>,
    /// It is being deleted: nothing is written to it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminating: bool,
    /// Whether we leave it alone, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<LeftAlone>,
    /// Keys of ours that another field manager owns on this pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<KeyConflict>,
    /// The last decision on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Decision>,
    /// Where it stands with resizing; absent where it has no class or the aggregator does not resize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Box<ResizeStatus>>,
}

/// One resource of a pod, for people: plain numbers of cores or bytes, the hottest container by name.
pub type ResourceStatus = ResourceLoad<f64, String>;

/// A key of ours that another field manager owns. Printed as `plimsoll.dev/cpu-band (kubectl-label)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "StatedConflict")]
pub struct KeyConflict {
    /// The label or annotation.
    pub key: String,
    /// The field manager, as the API server names it; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

/// A [`KeyConflict`] as it may be in a document: aggregators of earlier versions state only the key.
#[derive(Deserialize)]
#[serde(untagged)]
enum StatedConflict {
    Key(String),
    Complete {
        key: String,
        #[serde(default)]
        manager: Option<String>,
    },
}

impl From<StatedConflict> for KeyConflict {
    fn from(stated: StatedConflict) -> Self {
        match stated {
            StatedConflict::Key(key) => KeyConflict { key, manager: None },
            StatedConflict::Complete { key, manager } => KeyConflict { key, manager },
        }
    }
}

impl fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.manager.as_ref().map_or(Ok(()), |manager| write!(f, " ({manager})"))
    }
}

/// Why a band is unknown, for people.
pub fn why_unknown(reason: Option<UnknownReason>) -> &'static str {
    reason.map_or("no report", UnknownReason::words)
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
    /// Seconds since the last report was accepted; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_age: Option<f64>,
    /// Whether its agent reports.
    pub state: AgentState,
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

/// Whether a node's agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// Reports arrive.
    Reporting,
    /// No report for 30 s: nothing on it is resized.
    Late,
    /// No report for 120 s: its pods' bands are unknown.
    Silent,
}

/// One replica of the aggregator: whether it writes labels, and how many nodes report to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregatorStatus {
    /// Its version.
    pub version: String,
    /// Its name.
    pub replica: String,
    /// Whether it leads: only the leader writes.
    pub leading: bool,
    /// The replica that leads, as far as this one knows: itself, or the holder of a Lease that has not expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The last holder of the Lease, where this replica found it expired and does not lead itself. It may have been renewed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_leader: Option<String>,
    /// The epoch of its writes, while it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Where the bands are written: `labels`, `annotations`, or `metrics` for nowhere.
    pub output: String,
    /// Why this replica writes nothing, if it writes nothing: the first reason that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Whether `unknown` is withheld because many nodes are silent.
    pub unknown_withheld: bool,
    /// The position of the pause switch; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The nodes that the API server lists.
    pub nodes: NodeCounts,
    /// Objects that it cannot read, `pod shop/web: FIELD: REASON`: nothing is known of them. The first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// Nodes by the state of their agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct NodeCounts {
    /// See [`AgentState::Reporting`].
    pub reporting: usize,
    /// See [`AgentState::Late`].
    pub late: usize,
    /// See [`AgentState::Silent`].
    pub silent: usize,
}

impl NodeCounts {
    /// All of them.
    pub fn total(&self) -> usize {
        self.reporting + self.late + self.silent
    }
}

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Pods, nodes and namespaces are not all listed yet.
    NotSynced,
    /// The replica does not lead, or the position of the pause switch is not known yet.
    NotLeading,
    /// The pause switch is on.
    Paused,
}

impl Withheld {
    /// Every reason.
    pub const ALL: [Withheld; 3] = [Withheld::NotSynced, Withheld::NotLeading, Withheld::Paused];

    /// The word in JSON, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Withheld::NotSynced => "not_synced",
            Withheld::NotLeading => "not_leading",
            Withheld::Paused => "paused",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One action and its outcome: the same value is the log line and the entry of `/v1/decisions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When it was decided.
    pub at: Timestamp,
    /// `label`, `record` (the decision to resize, on the pod), `resize`, `probe` (a dry run), `announce`.
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
    /// Its outcome: `sent`, `written`, `conflict`, `gone`, `throttled`, `failed`, `timeout`. What becomes of a resize, or is found out about one, is an
    /// entry of its own: `verified`, `deferred`, and the other outcomes of `plimsoll_resizes_total`.
    pub outcome: String,
    /// Milliseconds from sending to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_pod_of_which_little_is_known_says_little_and_reads_back() {
        let little = json!({
            "namespace": "shop", "name": "web-0", "uid": "u",
            "cpu": {"band": "unknown"}, "memory": {"band": "unknown"}, "labeled": {},
        });
        let pod: PodStatus = from_value(little.clone()).unwrap();
        assert_eq!((pod.node.as_ref(), &pod.cpu), (None, &ResourceStatus::default()));
        assert_eq!(to_value(&pod).unwrap(), little);
    }

    #[test]
    fn a_pod_a_node_and_a_decision_are_written_in_the_words_people_read() {
        let decision = json!({
            "at": "2026-01-01T00:00:00Z", "action": "label", "namespace": "shop", "pod": "web-0", "node": "n1",
            "from": "cpu low", "to": "cpu high", "reason": "transition", "outcome": "written", "tookMs": 12,
        });
        let pod = json!({
            "namespace": "shop", "name": "web-0", "uid": "u", "node": "n1", "class": "gold",
            "cpu": {
                "band": "high", "basis": "limit", "utilization": 0.9, "usage": 0.45, "of": 0.5, "container": "app",
                "boundBy": "limit", "since": "2026-01-01T00:00:00Z",
            },
            "memory": {"band": "unknown", "reason": "no_controller"},
            "labeled": {"cpu": "low"}, "notBands": ["plimsoll.dev/memory-band"], "terminating": true,
            "leftAlone": "system_namespace",
            "conflicts": [{"key": "plimsoll.dev/cpu-band", "manager": "helm"}, {"key": "plimsoll.dev/evidence"}],
            "last": decision,
        });
        assert_eq!(to_value(from_value::<PodStatus>(pod.clone()).unwrap()).unwrap(), pod);
        let node = json!({
            "node": "n1", "reportAge": 3.5, "state": "late", "seq": 7, "capacity": {"cores": 4.0, "bytes": 1024},
            "boot": "b", "pods": 3,
        });
        assert_eq!(to_value(from_value::<NodeStatus>(node.clone()).unwrap()).unwrap(), node);
    }

    #[test]
    fn a_conflict_is_printed_with_its_manager_where_that_is_known() {
        let conflict = |manager: Option<&str>| {
            KeyConflict { key: "plimsoll.dev/cpu-band".into(), manager: manager.map(str::to_owned) }
                .to_string()
        };
        assert_eq!(conflict(Some("helm")), "plimsoll.dev/cpu-band (helm)");
        assert_eq!(conflict(None), "plimsoll.dev/cpu-band");
    }

    #[test]
    fn a_conflict_of_an_earlier_aggregator_is_read_from_its_key_alone() {
        let pod: PodStatus = from_value(json!({
            "namespace": "shop", "name": "web-0", "uid": "u",
            "cpu": {"band": "unknown"}, "memory": {"band": "unknown"}, "labeled": {},
            "conflicts": ["plimsoll.dev/cpu-band"],
        }))
        .unwrap();
        assert_eq!(pod.conflicts, [KeyConflict { key: "plimsoll.dev/cpu-band".into(), manager: None }]);
        assert!(from_value::<KeyConflict>(json!({"manager": "helm"})).is_err(), "a conflict is about a key");
    }

    #[test]
    fn a_replica_says_whether_it_writes_and_who_leads() {
        let status = json!({
            "version": "0.1.0", "replica": "a", "leading": false, "leader": "b", "output": "labels", "withheld": "not_leading",
            "unknownWithheld": false, "paused": false, "nodes": {"reporting": 2, "late": 1, "silent": 0},
        });
        let read: AggregatorStatus = from_value(status.clone()).unwrap();
        assert_eq!(read.last_leader, None);
        assert_eq!((read.withheld, read.nodes.total()), (Some(Withheld::NotLeading), 3));
        assert_eq!(to_value(read).unwrap(), status);
        for reason in Withheld::ALL {
            assert_eq!(to_value(reason).unwrap(), reason.as_str());
        }
    }
}
