//! Pods as the API server sends them: only the fields that are used are read. Pure.
//!
//! A field on which a label depends is read strictly: its pod is unreadable if it is not what Kubernetes defines. Everything else is
//! lenient. What strangers choose is bounded, because it stays in memory.

mod containers;
mod managed_fields;

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{NodeName, PodName, PodUid, keys};
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient, shortened};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use self::containers::{ContainerSpec, ContainerStatus};
use self::managed_fields::ManagedFields;
use super::amounts::{LenientAmounts, Requirements};
use crate::facts::{ConditionFacts, ContainerFacts, PodBounds, PodFacts};

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
    overhead: Lenient<LenientAmounts>,
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
            overhead: spec.overhead.0.as_ref().map_or((None, None), LenientAmounts::amounts),
            conditions: conditions(&status.conditions, &["Ready", "PodResizePending", "PodResizeInProgress"]),
            resized_by: managed_fields::resized_by(self.writers()),
            original_by: self
                .annotation(keys::ORIGINAL_RESOURCES)
                .and_then(|_| managed_fields::original_by(self.writers())),
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

    fn writers(&self) -> &[ManagedFields] {
        self.metadata.managed_fields.0.as_deref().unwrap_or_default()
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
