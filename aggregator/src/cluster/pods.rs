//! Pods as the API server sends them: only the fields that are used are read. Pure.
//!
//! A field on which a label depends is read strictly: its pod is unreadable if it is not what Kubernetes defines. Everything else is
//! lenient. What strangers choose is bounded, because it stays in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodName, PodUid, Quantity, keys};
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient, shortened};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::facts::{ConditionFacts, ContainerFacts, PodBounds, PodFacts, Resources};

/// Label of DaemonSets and StatefulSets on their pods.
const REVISION: &str = "controller-revision-hash";
/// Annotation on the API's copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The longest value of a label or annotation that is kept, in bytes. Ours are far shorter: a longer one is somebody else's, and counts
/// as an empty one, which we never write either.
const MAX_VALUE: usize = 4096;
/// Bytes that are kept of a text for people that a node chooses.
const MAX_TEXT: usize = 256;
/// Prefix of the labels and annotations that Kueue puts on pods, or their owners on behalf of it.
const KUEUE: &str = "kueue.x-k8s.io/";

/// The fields of a pod that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PodObject {
    #[serde(default)]
    metadata: PodMetadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl Content for PodObject {
    type Kind = Pod;
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    generation: Lenient<i64>,
    /// Whether it is there matters, not what it says.
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(deserialize_with = "our_keys")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "our_keys")]
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "field::list")]
    owner_references: Vec<OwnerReference>,
    managed_fields: Lenient<Vec<ManagedFields>>,
}

/// Who wrote which fields; of the fields only one is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ManagedFields {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    /// As text, times of the API server sort by age.
    time: Option<String>,
    fields_v1: Lenient<OwnedFields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedFields {
    #[serde(rename = "f:metadata")]
    metadata: Lenient<OwnedMetadata>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedMetadata {
    #[serde(rename = "f:annotations")]
    annotations: Lenient<OwnedAnnotations>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedAnnotations {
    #[serde(rename = "f:plimsoll.dev/original-resources")]
    original: Option<IgnoredAny>,
}

impl ManagedFields {
    fn owns_original(&self) -> bool {
        let metadata = self.fields_v1.0.as_ref().and_then(|fields| fields.metadata.0.as_ref());
        metadata.and_then(|metadata| metadata.annotations.0.as_ref()).is_some_and(|on| on.original.is_some())
    }
}

#[derive(Debug, Clone, Deserialize)]
struct OwnerReference {
    #[serde(deserialize_with = "field::name")]
    kind: String,
    #[serde(deserialize_with = "field::name")]
    name: String,
    #[serde(default, deserialize_with = "field::name")]
    uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    priority_class_name: Lenient<String>,
    resources: Lenient<Requirements>,
    #[serde(deserialize_with = "field::list")]
    containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "field::list")]
    init_containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "field::list")]
    ephemeral_containers: Vec<ContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    qos_class: Lenient<String>,
    observed_generation: Lenient<i64>,
    conditions: Lenient<Vec<Condition>>,
    #[serde(deserialize_with = "field::list")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "field::list")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "field::list")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// The amounts of the two resources; others are not read.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Amounts {
    cpu: Option<Amount>,
    memory: Option<Amount>,
}

/// The same, where no label depends on them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LenientAmounts {
    cpu: Lenient<Amount>,
    memory: Lenient<Amount>,
}

/// An amount in JSON. Servers send strings; an object made by hand may hold a number.
#[derive(Debug, Clone, Copy)]
struct Amount(Quantity);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "not an amount, such as 500m or 1.5Gi")]
        enum Form {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Number(number) => number.to_string(),
        };
        text.parse().map(Amount).map_err(|_| D::Error::custom("not an amount, such as 500m or 1.5Gi"))
    }
}

impl Amounts {
    /// The amount of CPU; zero is none.
    fn cores(&self) -> Option<Cores> {
        self.cpu.map(|Amount(amount)| Cores::from(amount)).filter(|cores| cores.0 > 0.0)
    }

    /// The amount of memory; zero is none.
    fn bytes(&self) -> Option<Bytes> {
        self.memory.map(|Amount(amount)| Bytes::from(amount)).filter(|bytes| bytes.0 > 0)
    }

    /// They are requests.
    fn requests(&self) -> Resources {
        Resources { cpu_request: self.cores(), memory_request: self.bytes(), ..Resources::default() }
    }
}

impl LenientAmounts {
    /// Zero is none.
    pub(super) fn amounts(&self) -> (Option<Cores>, Option<Bytes>) {
        let amounts = Amounts { cpu: self.cpu.0, memory: self.memory.0 };
        (amounts.cores(), amounts.bytes())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requests: Option<Amounts>,
    limits: Limits,
}

/// Limits. No label depends on them.
#[derive(Debug, Clone, Default)]
struct Limits {
    amounts: LenientAmounts,
    /// Whether there is one of something else than CPU, memory and ephemeral storage.
    extended: bool,
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let amounts = serde_json::from_str::<Option<LenientAmounts>>(text).ok().flatten().unwrap_or_default();
        let all = serde_json::from_str::<Option<BTreeMap<Cow<'_, str>, IgnoredAny>>>(text)
            .ok()
            .flatten()
            .unwrap_or_default();
        let extended =
            all.keys().any(|name| !["cpu", "memory", "ephemeral-storage"].contains(&name.as_ref()));
        Ok(Limits { amounts, extended })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpec {
    name: String,
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
struct ContainerStatus {
    name: String,
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

/// A condition of a pod or node. No label depends on one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "observedGeneration")]
    observed_generation: Lenient<i64>,
}

/// Of labels or annotations ours, those of the kubelet on mirror pods, those of Kueue, and the revision of a template.
fn our_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let wanted = |key: &str| {
        keys::is_ours(key) || [MIRROR, keys::CONFIG_HASH, REVISION].contains(&key) || key.starts_with(KUEUE)
    };
    field::entries(deserializer, wanted, MAX_VALUE)
}

impl PodObject {
    /// What is kept of the pod.
    ///
    /// # Errors
    /// If it has no name, namespace or uid, or a node name that is invalid. The error starts with the field.
    pub(crate) fn facts(&self) -> anyhow::Result<PodFacts> {
        let (meta, spec, status) = (&self.metadata, &self.spec, &self.status);
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let name = given(&meta.name).context("metadata.name: it has none")?;
        let namespace = given(&meta.namespace).context("metadata.namespace: it has none")?;
        let uid = given(&meta.uid).context("metadata.uid: it has none")?;
        let node = spec.node_name.as_deref().filter(|node| !node.is_empty());
        let node = node.map(NodeName::new).transpose().context("spec.nodeName")?;
        Ok(PodFacts {
            pod: PodName::new(&namespace, &name),
            cgroup_uid: self.cgroup_uid(&uid),
            mirror_of: self.mirror_of().map(str::to_owned),
            uid,
            node,
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating: meta.deletion_timestamp.is_some(),
            labels: ours(&meta.labels),
            annotations: ours(&meta.annotations),
            containers: self.containers(),
            controller: self.controller(),
            service_account: spec.service_account_name.clone().unwrap_or_default(),
            revision: meta.labels.get(REVISION).map(|hash| shortened(hash.clone(), MAX_TEXT).into()),
            qos: status.qos_class.0.clone().map(|class| shortened(class, MAX_TEXT)),
            generation: meta.generation.0,
            observed_generation: status.observed_generation.0,
            pod_resources: spec.resources.0.as_ref().map(Requirements::resources),
            conditions: conditions(&status.conditions, &["Ready", "PodResizePending", "PodResizeInProgress"]),
            resized_by: self.resized_by(),
            original_by: self.original_by(),
            priority_class: spec.priority_class_name.0.clone().map(|name| shortened(name, MAX_TEXT)),
            queue_managed: meta
                .labels
                .keys()
                .chain(meta.annotations.keys())
                .any(|key| key.starts_with(KUEUE)),
            bounds: self.annotation(keys::BOUNDS).map(|text| Box::new(PodBounds::parse(text))),
        })
    }

    /// The kubelet names the cgroup of a static pod after its config hash. Anybody may set that annotation on their own pod, so it
    /// counts only on a mirror pod of the node, and only if it cannot be another pod's uid.
    fn cgroup_uid(&self, uid: &str) -> Option<PodUid> {
        if self.annotation(MIRROR).is_none() {
            return PodUid::new(uid).ok();
        }
        self.mirror_of()?;
        let hash = self.annotation(keys::CONFIG_HASH)?;
        PodUid::new(hash).ok().filter(|hash| !hash.as_str().contains('-'))
    }

    /// The uid of the Node that controls a mirror pod, as its owner reference says, where that is the node that the pod is bound to.
    fn mirror_of(&self) -> Option<&str> {
        self.annotation(MIRROR)?;
        let owner = self.controlling_owner()?;
        let is_node = owner.kind == "Node" && self.spec.node_name.as_ref() == Some(&owner.name);
        is_node.then_some(owner.uid.as_str())
    }

    fn annotation(&self, key: &str) -> Option<&String> {
        self.metadata.annotations.get(key)
    }

    /// The field manager, other than us, that resized it last.
    fn resized_by(&self) -> Option<String> {
        let entries = self.metadata.managed_fields.0.iter().flatten();
        let resizes = entries.filter(|entry| entry.subresource.as_deref() == Some("resize"));
        let others =
            resizes.filter(|entry| entry.manager.as_deref().is_some_and(|m| m != keys::FIELD_MANAGER));
        let newest = others.max_by_key(|entry| entry.time.clone())?;
        newest.manager.clone().map(|manager| shortened(manager, MAX_TEXT))
    }

    /// Who wrote the record of its original resources, if we did not: anybody who may annotate it can.
    fn original_by(&self) -> Option<String> {
        self.annotation(keys::ORIGINAL_RESOURCES)?;
        let entries = self.metadata.managed_fields.0.iter().flatten();
        let owners: Vec<_> = entries.filter(|entry| entry.owns_original()).collect();
        let is_us = |entry: &&ManagedFields| {
            entry.manager.as_deref() == Some(keys::FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
        };
        let other = owners.first().and_then(|entry| entry.manager.clone()).unwrap_or_default();
        (!owners.iter().any(is_us)).then(|| shortened(other, MAX_TEXT))
    }

    fn controller(&self) -> Option<String> {
        self.controlling_owner().map(|owner| format!("{}/{}", owner.kind, owner.name))
    }

    fn controlling_owner(&self) -> Option<&OwnerReference> {
        self.metadata.owner_references.iter().find(|owner| owner.controller == Some(true))
    }

    fn containers(&self) -> Vec<ContainerFacts> {
        let (spec, status) = (&self.spec, &self.status);
        let app = spec.containers.iter().map(|c| (c, ContainerKind::App, &status.container_statuses));
        let init = spec.init_containers.iter().map(|c| (c, c.init_kind(), &status.init_container_statuses));
        let ephemeral = spec.ephemeral_containers.iter();
        let ephemeral =
            ephemeral.map(|c| (c, ContainerKind::Ephemeral, &status.ephemeral_container_statuses));
        let all = app.chain(init).chain(ephemeral).map(|(container, kind, statuses)| {
            let status = statuses.iter().find(|status| status.name == container.name);
            container.facts(kind, status)
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

    fn facts(&self, kind: ContainerKind, status: Option<&ContainerStatus>) -> ContainerFacts {
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

impl Requirements {
    fn resources(&self) -> Resources {
        let (cpu_limit, memory_limit) = self.limits.amounts.amounts();
        Resources { cpu_limit, memory_limit, ..self.requests.unwrap_or_default().requests() }
    }
}

/// The conditions of these types.
pub(super) fn conditions(all: &Lenient<Vec<Condition>>, types: &[&str]) -> Vec<ConditionFacts> {
    let wanted = all.0.iter().flatten().filter(|condition| types.contains(&condition.r#type.as_str()));
    let kept = |text: &Option<String>| text.clone().map(|text| shortened(text, MAX_TEXT));
    let facts = wanted.map(|condition| ConditionFacts {
        kind: condition.r#type.clone(),
        status: shortened(condition.status.clone(), MAX_TEXT),
        reason: kept(&condition.reason),
        message: kept(&condition.message),
        observed_generation: condition.observed_generation.0,
    });
    facts.collect()
}

/// Those under our prefix.
fn ours(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let all = all.iter().filter(|(key, _)| keys::is_ours(key));
    all.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
