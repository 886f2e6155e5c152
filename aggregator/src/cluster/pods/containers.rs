//! The containers of a pod: their spec and their status.

use jiff::Timestamp;
use plimsoll_contract::ContainerId;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_objects::field::{self, Lenient};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cluster::amounts::{Amounts, Requirements};
use crate::facts::ContainerFacts;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerSpec {
    pub(super) name: String,
    #[serde(default)]
    restart_policy: Option<String>,
    #[serde(default)]
    resources: Option<Requirements>,
    #[serde(default)]
    resize_policy: Lenient<Vec<ResizePolicy>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResizePolicy {
    #[serde(deserialize_with = "field::name")]
    resource_name: String,
    #[serde(deserialize_with = "field::name")]
    restart_policy: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    #[serde(default, rename = "containerID")]
    container_id: Option<String>,
    #[serde(default, deserialize_with = "field::count")]
    restart_count: u32,
    #[serde(default)]
    state: Option<ContainerState>,
    #[serde(default)]
    last_state: Lenient<LastState>,
    #[serde(default)]
    allocated_resources: Option<Amounts>,
    #[serde(default)]
    resources: Option<Requirements>,
}

/// Which of the three states of a container it is; the third is that it waits to be started.
#[derive(Debug, Clone, Deserialize)]
struct ContainerState {
    #[serde(default)]
    running: Option<IgnoredAny>,
    #[serde(default)]
    terminated: Option<IgnoredAny>,
}

/// How a container ended before it was started again.
#[derive(Debug, Clone, Default, Deserialize)]
struct LastState {
    #[serde(default)]
    terminated: Lenient<Terminated>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    reason: String,
    finished_at: Timestamp,
}

impl ContainerSpec {
    pub(super) fn init_kind(&self) -> ContainerKind {
        match self.restart_policy.as_deref() {
            Some("Always") => ContainerKind::Sidecar,
            _ => ContainerKind::Init,
        }
    }

    pub(super) fn facts(&self, kind: ContainerKind, status: Option<&ContainerStatus>) -> ContainerFacts {
        let allocated = status.and_then(|status| status.allocated_resources.as_ref());
        let actual = status.and_then(|status| status.resources.as_ref());
        let actual = actual.filter(|actual| actual.requests.is_some());
        let resize_policy = |resource: &str| {
            let mut policies = self.resize_policy.0.iter().flatten();
            let policy = policies.find(|policy| policy.resource_name == resource);
            policy.map(|policy| policy.restart_policy.clone())
        };
        ContainerFacts {
            name: self.name.clone(),
            kind,
            id: status.and_then(ContainerStatus::id),
            running: status
                .is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some())),
            terminated: status.is_some_and(ContainerStatus::is_terminated),
            restarts: status.map(|status| status.restart_count).unwrap_or_default(),
            spec: self.resources.as_ref().map(Requirements::resources).unwrap_or_default(),
            allocated: allocated.map(Amounts::requests),
            actual: actual.map(Requirements::resources),
            cpu_resize_policy: resize_policy("cpu"),
            memory_resize_policy: resize_policy("memory"),
            extended: self.resources.as_ref().is_some_and(|resources| resources.limits.extended),
            oom_killed_at: status.and_then(ContainerStatus::oom_killed_at),
        }
    }
}

impl ContainerStatus {
    /// `containerd://<64 hex digits>`, of whatever runtime.
    fn id(&self) -> Option<ContainerId> {
        let (_runtime, id) = self.container_id.as_deref()?.split_once("://")?;
        ContainerId::new(id).ok()
    }

    fn is_terminated(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.terminated.is_some())
    }

    fn oom_killed_at(&self) -> Option<Timestamp> {
        // What its last state says is of the run before the one that ended.
        if self.is_terminated() {
            return None;
        }
        let ended = self.last_state.0.as_ref()?.terminated.0.as_ref()?;
        (ended.reason == "OOMKilled").then_some(ended.finished_at)
    }
}
