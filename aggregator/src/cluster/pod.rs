//! A pod, reduced: only what we keep is read from the JSON at all. Pure.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::ObjectMeta;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodName, PodUid, Quantity, keys};
use serde::Deserialize;

use crate::input::{ContainerFacts, PodFacts};

/// On the API's copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The fields of a pod that we read.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = Pod)]
#[serde(rename_all = "camelCase")]
pub struct PodLite {
    /// Metadata, whole: the watch needs it.
    pub metadata: ObjectMeta,
    /// Spec.
    #[serde(default)]
    pub spec: SpecLite,
    /// Status.
    #[serde(default)]
    pub status: StatusLite,
}

/// The fields of a pod's spec that we read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpecLite {
    node_name: Option<String>,
    service_account_name: Option<String>,
    containers: Vec<ContainerLite>,
    init_containers: Vec<ContainerLite>,
    ephemeral_containers: Vec<ContainerLite>,
}

/// The fields of a pod's status that we read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusLite {
    phase: Option<String>,
    container_statuses: Vec<ContainerStatusLite>,
    init_container_statuses: Vec<ContainerStatusLite>,
    ephemeral_container_statuses: Vec<ContainerStatusLite>,
}

type Amounts = BTreeMap<String, Amount>;

/// An amount as JSON has it. Servers send strings; a hand-made object may hold a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Amount {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ResourcesLite {
    requests: Option<Amounts>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerLite {
    name: String,
    #[serde(default)]
    restart_policy: Option<String>,
    #[serde(default)]
    resources: ResourcesLite,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatusLite {
    name: String,
    #[serde(default, rename = "containerID")]
    container_id: Option<String>,
    #[serde(default)]
    restart_count: u32,
    #[serde(default)]
    allocated_resources: Option<Amounts>,
    #[serde(default)]
    resources: Option<ResourcesLite>,
}

impl PodLite {
    /// What we keep of the pod.
    ///
    /// # Errors
    /// If it has no name, namespace or uid, a node that cannot be one, or a request that is no amount.
    pub fn facts(&self) -> anyhow::Result<PodFacts> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().context("it has no name")?;
        let namespace = meta.namespace.as_deref().context("it has no namespace")?;
        let uid = meta.uid.clone().context("it has no uid")?;
        let node = self.spec.node_name.as_deref().filter(|node| !node.is_empty());
        Ok(PodFacts {
            pod: PodName::new(namespace, name),
            cgroup_uid: self.cgroup_uid(&uid),
            uid,
            node: node.map(NodeName::new).transpose()?,
            finished: matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating: meta.deletion_timestamp.is_some(),
            labels: ours(meta.labels.as_ref()),
            annotations: ours(meta.annotations.as_ref()),
            containers: self.containers()?,
            controller: self.controller(),
            service_account: self.spec.service_account_name.clone().unwrap_or_default(),
        })
    }

    /// The kubelet names the cgroup of a static pod after its config hash. Anybody may write that annotation on a pod
    /// of theirs, so it counts only on the kubelet's own copy, and only if it cannot be another pod's uid.
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
        app.chain(init)
            .chain(ephemeral)
            .map(|(container, kind, statuses)| {
                let status = statuses.iter().find(|status| status.name == container.name);
                container.facts(kind, status).with_context(|| format!("container {:?}", container.name))
            })
            .collect()
    }
}

impl ContainerLite {
    fn init_kind(&self) -> ContainerKind {
        match self.restart_policy.as_deref() {
            Some("Always") => ContainerKind::Sidecar,
            _ => ContainerKind::Init,
        }
    }

    fn facts(
        &self,
        kind: ContainerKind,
        status: Option<&ContainerStatusLite>,
    ) -> anyhow::Result<ContainerFacts> {
        let requests = status.and_then(ContainerStatusLite::requests).or(self.resources.requests.as_ref());
        Ok(ContainerFacts {
            name: self.name.clone(),
            kind,
            id: status.and_then(ContainerStatusLite::id),
            restarts: status.map(|status| status.restart_count).unwrap_or_default(),
            cpu_request: amount(requests, "cpu")?.map(Cores::from).filter(|cores| cores.0 > 0.0),
            memory_request: amount(requests, "memory")?.map(Bytes::from).filter(|bytes| bytes.0 > 0),
        })
    }
}

impl ContainerStatusLite {
    /// `containerd://<64 hex digits>`, of whatever runtime.
    fn id(&self) -> Option<ContainerId> {
        let (_runtime, id) = self.container_id.as_deref()?.split_once("://")?;
        ContainerId::new(id).ok()
    }

    /// What the kubelet has set aside, which after a resize is not always what the spec asks for.
    fn requests(&self) -> Option<&Amounts> {
        let actual = self.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        self.allocated_resources.as_ref().or(actual)
    }
}

fn amount(requests: Option<&Amounts>, resource: &str) -> anyhow::Result<Option<Quantity>> {
    let Some(amount) = requests.and_then(|requests| requests.get(resource)) else {
        return Ok(None);
    };
    let text = match amount {
        Amount::Text(text) => text.clone(),
        Amount::Number(number) => number.to_string(),
    };
    text.parse().map(Some).with_context(|| format!("its {resource} request"))
}

fn ours(all: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let all = all.into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(keys::PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
