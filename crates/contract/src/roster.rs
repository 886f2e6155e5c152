//! The aggregator's answer to a report: what the agent needs to know about its pods.

use serde::{Deserialize, Serialize};

use crate::rejection::RejectedPod;
use crate::{Band, Bytes, ContainerId, Cores, PodUid};

/// The answer to a report: everything of the roster newer than the version the agent echoed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The version the agent has after applying this answer. Comparable only within one aggregator process.
    pub roster_version: u64,
    /// Random id of that process. The agent's next report repeats it beside the version; aggregators of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster_process: Option<String>,
    /// Pods that are new or changed; each entry is complete.
    #[serde(default)]
    pub roster: Vec<RosterPod>,
    /// Pods of the report that were rejected.
    #[serde(default, rename = "refused")]
    pub rejected: Vec<RejectedPod>,
}

/// One pod, as the API server knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RosterPod {
    /// As the cgroup carries it.
    pub uid: PodUid,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether the pod has an SLA class: its limits and pressure are watched more closely.
    #[serde(default)]
    pub managed: bool,
    /// The bands on the pod now: where a restarted agent starts from.
    #[serde(default)]
    pub bands: Bands,
    /// Every container that has an id.
    #[serde(default)]
    pub containers: Vec<RosterContainer>,
}

/// The bands of a pod as announced on it; absent where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bands {
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Band>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Band>,
}

/// One container of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RosterContainer {
    /// Its id now.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What kind of container it is.
    pub kind: ContainerKind,
    /// Whether it is running, according to the API server; false also where that is not known.
    #[serde(default)]
    pub running: bool,
    /// How often it restarted; of two entries for one name the higher wins.
    #[serde(default)]
    pub generation: u32,
    /// Its CPU request; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cores>,
    /// Its memory request; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<Bytes>,
}

/// Kinds of container. Only the first two feed the bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerKind {
    /// An ordinary container.
    App,
    /// An init container that keeps running (`restartPolicy: Always`).
    Sidecar,
    /// An init container that runs to completion.
    Init,
    /// A debugging container.
    Ephemeral,
}

impl ContainerKind {
    /// Whether the container's load is the pod's load.
    pub fn counts(self) -> bool {
        matches!(self, ContainerKind::App | ContainerKind::Sidecar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn an_answer_without_news_is_a_version_and_what_is_missing_is_empty() {
        let answer: Answer = from_value(json!({"rosterVersion": 9})).unwrap();
        assert_eq!(answer, Answer { roster_version: 9, ..Answer::default() });
        assert!(from_value::<Answer>(json!({})).is_err(), "without a version it is no answer");
    }

    #[test]
    fn a_roster_entry_is_written_as_the_design_says_it() {
        let entry = json!({
            "uid": "0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e", "namespace": "shop", "name": "web-0", "managed": true,
            "bands": {"cpu": "high"},
            "containers": [{
                "id": "ab".repeat(32), "name": "app", "kind": "sidecar", "running": true, "generation": 2, "cpuRequest": 0.1,
                "memoryRequest": 1024,
            }],
        });
        assert_eq!(to_value(from_value::<RosterPod>(entry.clone()).unwrap()).unwrap(), entry);
    }

    #[test]
    fn only_app_and_sidecar_feed_the_bands() {
        use ContainerKind::{App, Ephemeral, Init, Sidecar};
        assert_eq!([App, Sidecar, Init, Ephemeral].map(ContainerKind::counts), [true, true, false, false]);
    }
}
