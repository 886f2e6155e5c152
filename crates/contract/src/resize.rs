//! In-place resizing, as annotations keep it and people read it.
//!
//! Amounts in annotations are Kubernetes quantities (`500m`, `268435456`), so that `kubectl` users can read and paste them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Requests and limits of one container, as in a pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerResources {
    /// By resource name, `cpu` and `memory`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// By resource name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

/// Resources of a pod's containers, by name: the value of `plimsoll.dev/original-resources`.
pub type PodResources = BTreeMap<String, ContainerResources>;

/// The value of `plimsoll.dev/decision`: the last resize. Written before the resize is sent, so that a later leader can go on or go back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResizeDecision {
    /// When it was decided.
    pub at: Timestamp,
    /// Why: `grow`, `shrink`, `birth`, `undo`, `revert`.
    pub reason: String,
    /// The class it was decided under.
    pub class: String,
    /// The size before: where to go back to.
    pub from: PodResources,
    /// The size asked for; only what changes.
    pub to: PodResources,
    /// The arithmetic, for a person: `api +390m (500->890): U 0.45 [...], gold, headroom 1000m shared with 2`.
    pub why: String,
}

/// Where a pod stands with resizing, for people: part of [`PodStatus`](crate::status::PodStatus).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResizeStatus {
    /// The class that applies, and whether it is applied or only recommended: `Apply`, `Recommend`.
    pub mode: String,
    /// Why nothing is resized, in words; absent where it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The machine-readable reason of [`ResizeStatus::refused`]: a word of a closed list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What the state machine does: `idle`, `planned`, `recorded`, `sent`, `accepted`, `deferred`, `in_progress`, `verified`, `reverting`, `failed`.
    pub state: String,
    /// Its containers.
    pub containers: Vec<ContainerSizing>,
    /// The size that would be written now, or, where the class only recommends, to which it would come step by step; only what differs. Empty: it fits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wanted: PodResources,
    /// The arithmetic behind `wanted`, or why nothing changes; one line per container and resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// What the API server says about `wanted` (`dryRun=All`); absent until it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The resources before our first resize; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<PodResources>,
    /// The last resize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<ResizeDecision>,
}

/// One container: asked for, allocated, enforced by the kernel, used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSizing {
    /// Name.
    pub name: String,
    /// The spec.
    pub spec: ContainerResources,
    /// Requests that the kubelet has set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<ContainerResources>,
    /// What the runtime says it enforces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<ContainerResources>,
    /// The CPU limit in the cgroup, cores; absent: not known or unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_cpu: Option<f64>,
    /// The memory limit in the cgroup, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_memory: Option<u64>,
    /// The load that CPU is sized for: the larger of p95 of 30 s and the mean of 3 s, cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_use: Option<f64>,
    /// The memory that cannot be reclaimed, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_use: Option<u64>,
}
