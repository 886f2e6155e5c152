//! Which pods have keys of ours, and who owns each key. Reads only.
//!
//! A key is ours if it has our prefix and is not one that users write. Its owners are in `metadata.managedFields`; we own
//! only what our field manager *applied*, because an apply removes nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::core::ObjectMeta;
use plimsoll_contract::keys;
use plimsoll_objects::field::{self, Lenient};
use plimsoll_objects::{Content, Object};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::connect::Failure;
use crate::pods::{self, Collected};

/// The fields of a pod that are read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OwnedPod {
    #[serde(default)]
    metadata: OwnedMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OwnedMetadata {
    labels: Option<Keys>,
    annotations: Option<Keys>,
    #[serde(deserialize_with = "field::list")]
    managed_fields: Vec<ManagedFields>,
}

/// Keys; what they say does not matter.
type Keys = BTreeMap<String, IgnoredAny>;

/// The fields of one field manager; the time of its last write does not matter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ManagedFields {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    fields_v1: Option<OwnedFields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedFields {
    #[serde(rename = "f:metadata")]
    metadata: Lenient<OwnedMaps>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnedMaps {
    #[serde(rename = "f:labels")]
    labels: Lenient<Keys>,
    #[serde(rename = "f:annotations")]
    annotations: Lenient<Keys>,
}

impl Content for OwnedPod {
    type Kind = Pod;
    const METADATA_ONLY: bool = true;
}

/// A pod and its keys of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodKeys {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) keys: Vec<OwnedKey>,
}

/// A key of ours on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedKey {
    pub(super) kind: KeyKind,
    pub(super) key: String,
    /// Whether our field manager applied it.
    pub(crate) ours: bool,
    /// The other field managers that own it.
    pub(crate) others: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyKind {
    Label,
    Annotation,
}

/// Every pod with keys of ours, and every pod that cannot be read: it may have some.
pub(super) async fn scan(api: &Api<Object<OwnedPod>>) -> Result<Collected<PodKeys>, Failure> {
    pods::collect(api, None, PodKeys::of).await
}

impl PodKeys {
    /// `None` for a pod without keys of ours.
    fn of(names: &ObjectMeta, pod: &OwnedPod) -> Option<PodKeys> {
        let OwnedMetadata { labels, annotations, managed_fields: managers } = &pod.metadata;
        let owned = |kind, map: &Option<Keys>| {
            let keys = map.iter().flat_map(BTreeMap::keys);
            let ours =
                keys.filter(|key| key.starts_with(keys::PREFIX) && !keys::USER_KEYS.contains(&key.as_str()));
            ours.map(|key| OwnedKey::of(kind, key, managers)).collect::<Vec<_>>()
        };
        let keys = [owned(KeyKind::Label, labels), owned(KeyKind::Annotation, annotations)].concat();
        let (namespace, name) = pods::names(names);
        (!keys.is_empty()).then(|| PodKeys {
            namespace,
            name,
            uid: names.uid.clone().unwrap_or_default(),
            keys,
        })
    }

    /// Whether our field manager owns a key, alone or with others: then there is something to give up.
    pub(super) fn has_own_keys(&self) -> bool {
        self.keys.iter().any(|key| key.ours)
    }

    /// Whether Plimsoll resized it: its original resources are recorded, and by us.
    pub(super) fn is_resized(&self) -> bool {
        self.keys.iter().any(|key| key.ours && key.key == keys::ORIGINAL_RESOURCES)
    }

    pub(super) fn has_removable_keys(&self) -> bool {
        self.keys.iter().any(OwnedKey::is_removable)
    }
}

impl OwnedKey {
    /// Who owns this key.
    pub(crate) fn of(kind: KeyKind, key: &str, managers: &[ManagedFields]) -> OwnedKey {
        let field = format!("f:{key}");
        let owns = |entry: &&ManagedFields| {
            let maps = entry.fields_v1.as_ref().and_then(|fields| fields.metadata.0.as_ref());
            let map = maps.and_then(|maps| match kind {
                KeyKind::Label => maps.labels.0.as_ref(),
                KeyKind::Annotation => maps.annotations.0.as_ref(),
            });
            map.is_some_and(|map| map.contains_key(&field))
        };
        let is_us = |entry: &&ManagedFields| {
            entry.manager.as_deref() == Some(keys::FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        };
        let (ours, others): (Vec<_>, Vec<_>) = managers.iter().filter(owns).partition(is_us);
        let mut others: Vec<String> =
            others.into_iter().map(|entry| entry.manager.clone().unwrap_or_default()).collect();
        others.dedup();
        OwnedKey { kind, key: key.to_owned(), ours: !ours.is_empty(), others }
    }

    /// Whether the API server removes the key when our field manager gives it up.
    pub(super) fn is_removable(&self) -> bool {
        self.ours && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(pod: &Value) -> Option<PodKeys> {
        let pod: Object<OwnedPod> = serde_json::from_str(&pod.to_string()).unwrap();
        PodKeys::of(pod.names(), pod.content.as_ref().unwrap())
    }

    #[test]
    fn keys_of_users_and_of_others_are_not_ours_and_each_of_ours_has_its_owners() {
        let owner = |manager: &str, operation: &str, fields| {
            json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": fields}})
        };
        let (band, basis) = ("f:plimsoll.dev/cpu-band", "f:plimsoll.dev/cpu-basis");
        let pod = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "u",
                "labels": {"app": "web", keys::SLA: "gold", keys::CPU_BAND: "high", keys::CPU_BASIS: "limit", keys::MEMORY_BAND: "low"},
                "annotations": {keys::BOUNDS: "{}", keys::EVIDENCE: "cpu high", "plimsoll.dev/of-a-later-version": "x"},
                "managedFields": [
                    owner("plimsoll", "Apply", json!({"f:labels": {band: {}, basis: {}}, "f:annotations": {"f:plimsoll.dev/evidence": {}}})),
                    owner("plimsoll", "Update", json!({"f:annotations": {"f:plimsoll.dev/of-a-later-version": {}}})),
                    owner("helm", "Apply", json!({"f:labels": {basis: {}, "f:app": {}}})),
                    owner("helm", "Update", json!({"f:labels": {basis: {}}})),
                ],
            },
        });
        let pod = found(&pod).unwrap();
        let owners: Vec<_> =
            pod.keys.iter().map(|key| (key.key.as_str(), key.ours, key.others.join(" "))).collect();
        assert_eq!(
            owners,
            [
                (keys::CPU_BAND, true, String::new()),
                (keys::CPU_BASIS, true, "helm".into()),
                (keys::MEMORY_BAND, false, String::new()),
                (keys::EVIDENCE, true, String::new()),
                ("plimsoll.dev/of-a-later-version", false, "plimsoll".into()),
            ]
        );
        assert_eq!(pod.keys.iter().filter(|key| key.is_removable()).count(), 2);
    }

    #[test]
    fn a_pod_with_keys_of_users_alone_is_not_found() {
        let pod = json!({"metadata": {"name": "web", "labels": {keys::IGNORE: "true", "a": "b"}}});
        assert_eq!(found(&pod), None);
    }

    #[test]
    fn the_time_of_a_write_does_not_matter() {
        let fields = json!({"f:metadata": {"f:labels": {"f:plimsoll.dev/cpu-band": {}}}});
        let manager = json!({"manager": "plimsoll", "operation": "Apply", "time": "10000-01-01T23:58:59Z", "fieldsV1": fields});
        let pod = json!({"metadata": {"name": "web", "labels": {keys::CPU_BAND: "low"}, "managedFields": [manager]}});
        assert!(found(&pod).unwrap().has_removable_keys());
    }
}
