//! Pods as the API server sends them: only the fields that are used are read. Pure.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::ObjectMeta;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodName, PodUid, Quantity, keys};
use serde::Deserialize;

use crate::facts::{ConditionFacts, ContainerFacts, PodFacts, Resources};

/// Annotation on the API's copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The fields of a pod that are read.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub(crate) struct PodObject {
    /// Metadata, whole: the watch needs it.
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    resources: Option<Requirements>,
    containers: Vec<ContainerSpec>,
    init_containers: Vec<ContainerSpec>,
    ephemeral_containers: Vec<ContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    qos_class: Option<String>,
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// Amounts by the name of their resource.
pub(super) type Amounts = BTreeMap<String, Amount>;

/// An amount in JSON. Servers send strings; an object made by hand may hold a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requests: Option<Amounts>,
    limits: Option<Amounts>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpec {
    name: String,
    #[serde(default)]
    restart_policy: Option<String>,
    #[serde(default)]
    resources: Requirements,
    #[serde(default)]
    resize_policy: Vec<ResizePolicy>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResizePolicy {
    resource_name: String,
    restart_policy: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default, rename = "containerID")]
    container_id: Option<String>,
    #[serde(default)]
    restart_count: u32,
    #[serde(default)]
    state: Option<ContainerState>,
    #[serde(default)]
    allocated_resources: Option<Amounts>,
    #[serde(default)]
    resources: Option<Requirements>,
}

/// Which of the three states of a container it is; only this one matters here.
#[derive(Debug, Clone, Deserialize)]
struct ContainerState {
    #[serde(default)]
    running: Option<serde::de::IgnoredAny>,
}

/// A condition of a pod or node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl PodObject {
    /// What is kept of the pod.
    ///
    /// # Errors
    /// If it has no name, namespace or uid, a node name that is invalid, or a request that is not an amount.
    pub(crate) fn facts(&self) -> anyhow::Result<PodFacts> {
        let (meta, spec, status) = (&self.metadata, &self.spec, &self.status);
        let name = meta.name.as_deref().context("it has no name")?;
        let namespace = meta.namespace.as_deref().context("it has no namespace")?;
        let uid = meta.uid.clone().context("it has no uid")?;
        let node = spec.node_name.as_deref().filter(|node| !node.is_empty());
        Ok(PodFacts {
            pod: PodName::new(namespace, name),
            cgroup_uid: self.cgroup_uid(&uid),
            uid,
            node: node.map(NodeName::new).transpose()?,
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating: meta.deletion_timestamp.is_some(),
            labels: ours(meta.labels.as_ref()),
            annotations: ours(meta.annotations.as_ref()),
            containers: self.containers()?,
            controller: self.controller(),
            service_account: spec.service_account_name.clone().unwrap_or_default(),
            qos: status.qos_class.clone(),
            generation: meta.generation,
            observed_generation: status.observed_generation,
            pod_resources: spec.resources.as_ref().and_then(|resources| resources.resources().ok()),
            conditions: conditions(&status.conditions, &["Ready", "PodResizePending", "PodResizeInProgress"]),
        })
    }

    /// The kubelet names the cgroup of a static pod after its config hash. Anybody may set that annotation on their own pod, so it
    /// counts only on the kubelet's own copy, and only if it cannot be another pod's uid.
    fn cgroup_uid(&self, uid: &str) -> Option<PodUid> {
        let annotation = |key: &str| self.metadata.annotations.as_ref().and_then(|all| all.get(key));
        if annotation(MIRROR).is_none() {
            return PodUid::new(uid).ok();
        }
        let node = self.spec.node_name.as_deref().unwrap_or_default();
        if self.controller() != Some(format!("Node/{node}")) {
            return None;
        }
        let hash = annotation(keys::CONFIG_HASH)?;
        PodUid::new(hash).ok().filter(|hash| !hash.as_str().contains('-'))
    }

    fn controller(&self) -> Option<String> {
        let owners = self.metadata.owner_references.iter().flatten();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        Some(format!("{}/{}", controller.kind, controller.name))
    }

    fn containers(&self) -> anyhow::Result<Vec<ContainerFacts>> {
        let (spec, status) = (&self.spec, &self.status);
        let app = spec.containers.iter().map(|c| (c, ContainerKind::App, &status.container_statuses));
        let init = spec.init_containers.iter().map(|c| (c, c.init_kind(), &status.init_container_statuses));
        let ephemeral = spec.ephemeral_containers.iter();
        let ephemeral =
            ephemeral.map(|c| (c, ContainerKind::Ephemeral, &status.ephemeral_container_statuses));
        let all = app.chain(init).chain(ephemeral).map(|(container, kind, statuses)| {
            let status = statuses.iter().find(|status| status.name == container.name);
            container.facts(kind, status).with_context(|| format!("container {:?}", container.name))
        });
        all.collect()
    }
}

impl ContainerSpec {
    fn init_kind(&self) -> ContainerKind {
        match self.restart_policy.as_deref() {
            Some("Always") => ContainerKind::Sidecar,
            _ => ContainerKind::Init,
        }
    }

    fn facts(&self, kind: ContainerKind, status: Option<&ContainerStatus>) -> anyhow::Result<ContainerFacts> {
        let allocated = status.and_then(|status| status.allocated_resources.as_ref());
        let actual = status.and_then(|status| status.resources.as_ref());
        let actual = actual.filter(|actual| actual.requests.is_some());
        let resize_policy = |resource: &str| {
            let policy = self.resize_policy.iter().find(|policy| policy.resource_name == resource);
            policy.map(|policy| policy.restart_policy.clone())
        };
        Ok(ContainerFacts {
            name: self.name.clone(),
            kind,
            id: status.and_then(ContainerStatus::id),
            running: status
                .is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some())),
            restarts: status.map(|status| status.restart_count).unwrap_or_default(),
            spec: self.resources.resources()?,
            allocated: allocated.map(|allocated| requests(Some(allocated))).transpose()?,
            actual: actual.map(Requirements::resources).transpose()?,
            cpu_resize_policy: resize_policy("cpu"),
            memory_resize_policy: resize_policy("memory"),
        })
    }
}

impl ContainerStatus {
    /// `containerd://<64 hex digits>`, of whatever runtime.
    fn id(&self) -> Option<ContainerId> {
        let (_runtime, id) = self.container_id.as_deref()?.split_once("://")?;
        ContainerId::new(id).ok()
    }
}

impl Requirements {
    fn resources(&self) -> anyhow::Result<Resources> {
        let limits = self.limits.as_ref();
        Ok(Resources {
            // No label depends on a limit: one that is unreadable is absent and does not hide the pod.
            cpu_limit: cpu(limits).ok().flatten(),
            memory_limit: memory(limits).ok().flatten(),
            ..requests(self.requests.as_ref())?
        })
    }
}

/// The requests among these amounts.
fn requests(amounts: Option<&Amounts>) -> anyhow::Result<Resources> {
    Ok(Resources {
        cpu_request: cpu(amounts).context("its cpu request")?,
        memory_request: memory(amounts).context("its memory request")?,
        ..Resources::default()
    })
}

/// The amount of CPU; zero is none.
fn cpu(amounts: Option<&Amounts>) -> anyhow::Result<Option<Cores>> {
    Ok(amount(amounts, "cpu")?.map(Cores::from).filter(|cores| cores.0 > 0.0))
}

/// The amount of memory; zero is none.
fn memory(amounts: Option<&Amounts>) -> anyhow::Result<Option<Bytes>> {
    Ok(amount(amounts, "memory")?.map(Bytes::from).filter(|bytes| bytes.0 > 0))
}

pub(super) fn amount(amounts: Option<&Amounts>, resource: &str) -> anyhow::Result<Option<Quantity>> {
    let Some(amount) = amounts.and_then(|amounts| amounts.get(resource)) else {
        return Ok(None);
    };
    let text = match amount {
        Amount::Text(text) => text.clone(),
        Amount::Number(number) => number.to_string(),
    };
    Ok(Some(text.parse()?))
}

/// The conditions of these types.
pub(super) fn conditions(all: &[Condition], types: &[&str]) -> Vec<ConditionFacts> {
    let wanted = all.iter().filter(|condition| types.contains(&condition.r#type.as_str()));
    let facts = wanted.map(|condition| ConditionFacts {
        kind: condition.r#type.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    });
    facts.collect()
}

/// Those under our prefix.
fn ours(all: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let all = all.into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(keys::PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
