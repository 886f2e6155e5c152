//! The kinds that are watched.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::ObjectMeta;
use plimsoll_contract::{NodeName, PodName, keys};
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::Kind;
use crate::cluster::autoscalers::AutoscalerObject;
use crate::cluster::classes::ClassObject;
use crate::cluster::nodes::NodeObject;
use crate::cluster::pods::PodObject;
use crate::cluster::quotas::{LimitRangeObject, QuotaObject};
use crate::facts::{
    AutoscalerFacts, ClassFacts, Ignore, LimitRangeFacts, NamespaceFacts, NodeFacts, ObjectKey, PodFacts,
    QuotaFacts,
};
use crate::input::{Input, PodKey, WatchEvent};
use crate::readiness::Part;

/// The longest value of the pause switch that is read, in bytes.
const MAX_SWITCH: usize = 64;

#[derive(Debug)]
pub(crate) struct Pods;
#[derive(Debug)]
pub(crate) struct Nodes;
/// Namespaces, their metadata only.
#[derive(Debug)]
pub(crate) struct Namespaces;
/// The ConfigMap with the pause switch.
#[derive(Debug)]
pub(crate) struct PauseSwitch;

/// SLA classes.
#[derive(Debug)]
pub(crate) struct Classes;
/// HorizontalPodAutoscalers.
#[derive(Debug)]
pub(crate) struct Autoscalers;
/// ResourceQuotas.
#[derive(Debug)]
pub(crate) struct Quotas;
/// LimitRanges.
#[derive(Debug)]
pub(crate) struct LimitRanges;

impl Kind for Pods {
    type Object = PodObject;
    type Facts = PodFacts;
    type Key = PodKey;
    const PART: Part = Part::Pods;

    fn facts(object: &PodObject) -> anyhow::Result<PodFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<PodKey> {
        let pod = PodName::new(names.namespace.as_deref()?, names.name.as_deref()?);
        // Without a uid it is no pod that is known.
        Some(PodKey { pod, uid: names.uid.clone().unwrap_or_default() })
    }
    fn input(event: WatchEvent<PodFacts, PodKey>) -> Input {
        Input::Pods(event)
    }
}

impl Kind for Nodes {
    type Object = NodeObject;
    type Facts = NodeFacts;
    type Key = NodeName;
    const PART: Part = Part::Nodes;

    fn facts(object: &NodeObject) -> anyhow::Result<NodeFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<NodeName> {
        NodeName::new(names.name.as_deref()?).ok()
    }
    fn input(event: WatchEvent<NodeFacts, NodeName>) -> Input {
        Input::Nodes(event)
    }
}

/// The fields of a namespace that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NamespaceObject {
    #[serde(default)]
    metadata: NamespaceMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NamespaceMetadata {
    name: Option<String>,
    uid: Lenient<String>,
    #[serde(deserialize_with = "users_keys")]
    labels: BTreeMap<String, String>,
}

/// The longest value of a label, in bytes.
const MAX_LABEL: usize = 63;

fn users_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    field::entries(deserializer, |key| keys::USER_KEYS.contains(&key), MAX_LABEL)
}

impl Content for NamespaceObject {
    type Kind = Namespace;
    const METADATA_ONLY: bool = true;
}

impl Kind for Namespaces {
    type Object = NamespaceObject;
    type Facts = NamespaceFacts;
    type Key = String;
    const PART: Part = Part::Namespaces;

    fn facts(object: &NamespaceObject) -> anyhow::Result<NamespaceFacts> {
        let NamespaceMetadata { name, uid, labels } = &object.metadata;
        Ok(NamespaceFacts {
            name: name.clone().filter(|name| !name.is_empty()).context("metadata.name: it has none")?,
            uid: uid.0.clone(),
            ignore: Ignore::of(labels.get(keys::IGNORE).map(String::as_str)),
            class: labels.get(keys::SLA).filter(|class| !class.is_empty()).cloned(),
        })
    }
    fn key(names: &ObjectMeta) -> Option<String> {
        names.name.clone()
    }
    fn input(event: WatchEvent<NamespaceFacts, String>) -> Input {
        Input::Namespaces(event)
    }
}

/// The fields of the switch's ConfigMap that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SwitchObject {
    #[serde(default)]
    data: Option<SwitchData>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SwitchData {
    Map {
        paused: Option<String>,
    },
    /// Nothing that a ConfigMap holds.
    Other(IgnoredAny),
}

impl Content for SwitchObject {
    type Kind = ConfigMap;
}

/// ConfigMap `plimsoll-control`, key `paused`. No ConfigMap, no key, an empty value or `false` mean that writes continue. Any other
/// value than `true` pauses too, and is logged: whoever mistypes wants to stop. So does a ConfigMap that cannot be read.
impl Kind for PauseSwitch {
    type Object = SwitchObject;
    type Facts = bool;
    type Key = ();
    const PART: Part = Part::Control;

    fn facts(object: &SwitchObject) -> anyhow::Result<bool> {
        let value = match &object.data {
            None => "",
            Some(SwitchData::Map { paused }) => paused.as_deref().unwrap_or_default(),
            Some(SwitchData::Other(_)) => "unreadable",
        };
        Ok(match value.trim() {
            "" | "false" => false,
            "true" => true,
            other => {
                let value = field::shortened(other.to_owned(), MAX_SWITCH);
                tracing::warn!(value, "the pause switch is neither true nor false: taken for true");
                true
            }
        })
    }
    fn key(_names: &ObjectMeta) -> Option<()> {
        Some(())
    }
    fn input(event: WatchEvent<bool, ()>) -> Input {
        Input::Paused(match event {
            WatchEvent::Listed(all) => all.contains(&true),
            WatchEvent::Changed(paused) => *paused,
            WatchEvent::Deleted(()) => false,
            WatchEvent::Unreadable((), _) => true,
        })
    }
}

impl Kind for Classes {
    type Object = ClassObject;
    type Facts = ClassFacts;
    type Key = String;
    const PART: Part = Part::Classes;

    fn facts(object: &ClassObject) -> anyhow::Result<ClassFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<String> {
        names.name.clone()
    }
    fn input(event: WatchEvent<ClassFacts, String>) -> Input {
        Input::Classes(event)
    }
}

fn object_key(names: &ObjectMeta) -> Option<ObjectKey> {
    Some(ObjectKey { namespace: names.namespace.clone()?, name: names.name.clone()? })
}

impl Kind for Autoscalers {
    type Object = AutoscalerObject;
    type Facts = AutoscalerFacts;
    type Key = ObjectKey;
    const PART: Part = Part::Autoscalers;

    fn facts(object: &AutoscalerObject) -> anyhow::Result<AutoscalerFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<ObjectKey> {
        object_key(names)
    }
    fn input(event: WatchEvent<AutoscalerFacts, ObjectKey>) -> Input {
        Input::Autoscalers(event)
    }
}

impl Kind for Quotas {
    type Object = QuotaObject;
    type Facts = QuotaFacts;
    type Key = ObjectKey;
    const PART: Part = Part::Quotas;

    fn facts(object: &QuotaObject) -> anyhow::Result<QuotaFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<ObjectKey> {
        object_key(names)
    }
    fn input(event: WatchEvent<QuotaFacts, ObjectKey>) -> Input {
        Input::Quotas(event)
    }
}

impl Kind for LimitRanges {
    type Object = LimitRangeObject;
    type Facts = LimitRangeFacts;
    type Key = ObjectKey;
    const PART: Part = Part::LimitRanges;

    fn facts(object: &LimitRangeObject) -> anyhow::Result<LimitRangeFacts> {
        object.facts()
    }
    fn key(names: &ObjectMeta) -> Option<ObjectKey> {
        object_key(names)
    }
    fn input(event: WatchEvent<LimitRangeFacts, ObjectKey>) -> Input {
        Input::LimitRanges(event)
    }
}
