//! The responses of the aggregator's port for people: pods, nodes, decisions.
//!
//! | path | document |
//! |---|---|
//! | `/v1/pods` | list of [`PodStatus`] |
//! | `/v1/pods/{namespace}/{name}` | [`PodStatus`] |
//! | `/v1/nodes` | list of [`NodeStatus`] |
//! | `/v1/decisions` | list of [`Decision`], newest first |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::NodeName;
use crate::load::ResourceLoad;
use crate::report::Capacity;
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
    /// Whether we leave it alone, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<LeftAlone>,
    /// Keys of ours that another field manager owns on this pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// The last decision on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Decision>,
}

/// One resource of a pod, for people: plain numbers of cores or bytes, the hottest container by name.
pub type ResourceStatus = ResourceLoad<f64, String>;

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

/// One action and its outcome: the same value is the log line and the entry of `/v1/decisions`.
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
    /// Its outcome: `sent`, `written`, `conflict`, `gone`, `throttled`, `failed`, `timeout`.
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
            "labeled": {"cpu": "low"}, "leftAlone": "system_namespace", "conflicts": ["plimsoll.dev/cpu-band"],
            "last": decision,
        });
        assert_eq!(to_value(from_value::<PodStatus>(pod.clone()).unwrap()).unwrap(), pod);
        let node = json!({
            "node": "n1", "reportAge": 3.5, "state": "late", "seq": 7, "capacity": {"cores": 4.0, "bytes": 1024},
            "boot": "b", "pods": 3,
        });
        assert_eq!(to_value(from_value::<NodeStatus>(node.clone()).unwrap()).unwrap(), node);
    }
}
