//! Nodes as the API server sends them: only the fields that are used are read. A node without a valid name is unreadable; everything
//! else is absent where it cannot be read.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use plimsoll_contract::NodeName;
use plimsoll_objects::Content;
use plimsoll_objects::field::Lenient;
use serde::Deserialize;

use super::amounts::LenientAmounts;
use super::pods::{Condition, conditions};
use crate::facts::NodeFacts;

/// The fields of a node that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeObject {
    #[serde(default)]
    metadata: NodeMetadata,
    #[serde(default)]
    status: Lenient<NodeStatus>,
}

impl Content for NodeObject {
    type Kind = Node;
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeMetadata {
    name: Option<String>,
    uid: Lenient<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    allocatable: Lenient<LenientAmounts>,
    conditions: Lenient<Vec<Condition>>,
}

impl NodeObject {
    /// What is kept of the node.
    ///
    /// # Errors
    /// If it has no name, or one that cannot be a node's. The error starts with the field.
    pub(crate) fn facts(&self) -> anyhow::Result<NodeFacts> {
        let NodeStatus { allocatable, conditions: all } = self.status.0.clone().unwrap_or_default();
        let (allocatable_cpu, allocatable_memory) = allocatable.0.unwrap_or_default().amounts();
        let name = self.metadata.name.as_deref().context("metadata.name: it has none")?;
        Ok(NodeFacts {
            name: NodeName::new(name).context("metadata.name")?,
            uid: self.metadata.uid.0.clone(),
            allocatable_cpu,
            allocatable_memory,
            conditions: conditions(&all, &["Ready"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_contract::{Bytes, Cores};
    use serde_json::{Value, json};

    use super::*;

    fn facts(node: &Value) -> NodeFacts {
        serde_json::from_str::<NodeObject>(&node.to_string()).unwrap().facts().unwrap()
    }

    #[test]
    fn what_a_node_can_allocate_is_read_and_what_is_missing_is_absent() {
        let facts_of = facts(&json!({
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

        let little = facts(&json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "much"}}}));
        assert_eq!(
            (little.allocatable_cpu, little.allocatable_memory, little.conditions.len()),
            (None, None, 0)
        );
    }
}
