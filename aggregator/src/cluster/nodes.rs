//! Nodes as the API server sends them: only the fields that are used are read.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::Resource;
use kube::api::ObjectMeta;
use plimsoll_contract::{Bytes, Cores, NodeName};
use serde::Deserialize;

use super::pods::{Amounts, Condition, amount, conditions};
use crate::facts::NodeFacts;

/// The fields of a node that are read.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = Node)]
pub(crate) struct NodeObject {
    /// Metadata, whole: the watch needs it.
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    allocatable: Option<Amounts>,
    conditions: Vec<Condition>,
}

impl NodeObject {
    /// What is kept of the node. An allocatable amount that is missing or unreadable is absent.
    ///
    /// # Errors
    /// If it has no name, or one that cannot be a node's.
    pub(crate) fn facts(&self) -> anyhow::Result<NodeFacts> {
        let allocatable = |resource| amount(self.status.allocatable.as_ref(), resource).ok().flatten();
        Ok(NodeFacts {
            name: NodeName::new(self.metadata.name.as_deref().context("it has no name")?)?,
            uid: self.metadata.uid.clone(),
            allocatable_cpu: allocatable("cpu").map(Cores::from),
            allocatable_memory: allocatable("memory").map(Bytes::from),
            conditions: conditions(&self.status.conditions, &["Ready"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(node: Value) -> NodeFacts {
        serde_json::from_value::<NodeObject>(node).unwrap().facts().unwrap()
    }

    #[test]
    fn what_a_node_can_allocate_is_read_and_what_is_missing_is_absent() {
        let facts_of = facts(json!({
            "metadata": {"name": "n1", "uid": "u1"},
            "status": {
                "allocatable": {"cpu": "1930m", "memory": "7Gi", "pods": "110"},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"},
                ],
            },
        }));
        assert_eq!(
            (facts_of.allocatable_cpu, facts_of.allocatable_memory),
            (Some(Cores(1.93)), Some(Bytes(7 << 30)))
        );
        assert_eq!(facts_of.uid.as_deref(), Some("u1"));
        let ready = facts_of.conditions.iter().map(|c| (c.kind.as_str(), c.status.as_str()));
        assert_eq!(ready.collect::<Vec<_>>(), [("Ready", "True")]);

        let little = facts(json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "much"}}}));
        assert_eq!(
            (little.allocatable_cpu, little.allocatable_memory, little.conditions.len()),
            (None, None, 0)
        );
    }
}
