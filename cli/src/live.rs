//! A pod as the API server has it: its size, where it comes from, and what keeps it from being resized.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use plimsoll_contract::keys;
use plimsoll_contract::resize::{ContainerResources, PodResources};
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient};
use serde::{Deserialize, Deserializer};

use crate::cleanup::scan::{KeyKind, ManagedFields, OwnedKey};
use crate::pods;

/// Bytes of one of our annotations that are kept: the resources of as many containers as a pod can have.
const MAX_ANNOTATION: usize = 64 << 10;

/// The fields of a pod that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LivePod {
    #[serde(default)]
    pub(crate) metadata: LiveMetadata,
    pub(crate) spec: LiveSpec,
    #[serde(default)]
    pub(crate) status: LiveStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LiveMetadata {
    #[serde(deserialize_with = "our_keys")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "our_keys")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "field::list")]
    owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "field::list")]
    managed_fields: Vec<ManagedFields>,
    deletion_timestamp: Lenient<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LiveSpec {
    #[serde(deserialize_with = "field::list")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "field::list")]
    pub(crate) init_containers: Vec<Container>,
    /// Set where the pod has resources of its own.
    pub(crate) resources: Option<serde_json::Value>,
    pub(crate) priority_class_name: Option<String>,
}

/// A container of a pod or of a template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) resources: ContainerResources,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LiveStatus {
    phase: Lenient<String>,
    pub(crate) qos_class: Lenient<String>,
}

fn our_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let wanted = |key: &str| keys::is_ours(key) || key == MIRROR;
    field::entries(deserializer, wanted, MAX_ANNOTATION)
}

/// Annotation of the kubelet on the copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

impl Content for LivePod {
    type Kind = Pod;
}

/// Which pod a person or a list means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodId {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl PodId {
    pub(crate) fn of(names: &ObjectMeta) -> PodId {
        let (namespace, name) = pods::names(names);
        PodId { namespace, name, uid: names.uid.clone().unwrap_or_default() }
    }
}

impl LivePod {
    /// The controller that made it.
    pub(crate) fn controller(&self) -> Option<&OwnerReference> {
        self.metadata.owner_references.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether it has finished or is being deleted: its size no longer matters.
    pub(crate) fn is_finishing(&self) -> bool {
        let finished = matches!(self.status.phase.0.as_deref(), Some("Succeeded" | "Failed"));
        finished || self.metadata.deletion_timestamp.0.is_some()
    }

    /// The SLA class that its own label names.
    pub(crate) fn class(&self) -> Option<&str> {
        self.metadata.labels.get(keys::SLA).map(String::as_str)
    }

    pub(crate) fn is_static(&self) -> bool {
        self.metadata.annotations.contains_key(MIRROR)
    }

    /// Requests and limits of all containers, by name.
    pub(crate) fn sizes(&self) -> PodResources {
        sizes(self.spec.containers.iter().chain(&self.spec.init_containers))
    }

    /// Who owns the record of the resources before our first resize.
    pub(crate) fn owner_of_original(&self) -> OwnedKey {
        OwnedKey::of(KeyKind::Annotation, keys::ORIGINAL_RESOURCES, &self.metadata.managed_fields)
    }

    /// The resources before our first resize, or why they cannot be read; absent where there was none.
    pub(crate) fn original(&self) -> Option<Result<PodResources, String>> {
        let text = self.metadata.annotations.get(keys::ORIGINAL_RESOURCES)?;
        Some(serde_json::from_str(text).map_err(|error| {
            format!(
                "annotation {} cannot be read: {error}; correct it, or resize the pod by hand",
                keys::ORIGINAL_RESOURCES
            )
        }))
    }
}

/// Requests and limits by the container's name.
pub(crate) fn sizes<'a>(containers: impl Iterator<Item = &'a Container>) -> PodResources {
    containers.map(|one| (one.name.clone(), one.resources.clone())).collect()
}
