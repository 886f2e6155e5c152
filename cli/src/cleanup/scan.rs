//! Which pods have keys of ours, and who owns each key. Reads only.
//!
//! A key is ours if it has our prefix and is not one that users write. Its owners are in `metadata.managedFields`; we own
//! only what our field manager *applied*, because an apply removes nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{Api, PartialObjectMeta};
use plimsoll_contract::keys;
use serde::Serialize;

use crate::connect::Failure;
use crate::pods;

/// Keys with our prefix that users write.
const USER_KEYS: [&str; 3] = [keys::SLA, keys::IGNORE, keys::BOUNDS];

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
pub(super) struct OwnedKey {
    pub(super) kind: KeyKind,
    pub(super) key: String,
    /// Whether our field manager applied it.
    pub(super) ours: bool,
    /// The other field managers that own it.
    pub(super) others: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyKind {
    Label,
    Annotation,
}

/// Every pod with keys of ours.
pub(super) async fn scan(api: &Api<PartialObjectMeta<Pod>>) -> Result<Vec<PodKeys>, Failure> {
    pods::collect(api, None, PodKeys::of).await
}

impl PodKeys {
    /// `None` for a pod without keys of ours.
    fn of(pod: &PartialObjectMeta<Pod>) -> Option<PodKeys> {
        let managers = pod.metadata.managed_fields.as_deref().unwrap_or_default();
        let owned = |kind, map: &BTreeMap<String, String>| {
            let ours =
                map.keys().filter(|key| key.starts_with(keys::PREFIX) && !USER_KEYS.contains(&key.as_str()));
            ours.map(|key| OwnedKey::of(kind, key, managers)).collect::<Vec<_>>()
        };
        let keys =
            [owned(KeyKind::Label, pod.labels()), owned(KeyKind::Annotation, pod.annotations())].concat();
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        (!keys.is_empty()).then(|| PodKeys { namespace, name, uid: pod.uid().unwrap_or_default(), keys })
    }

    pub(super) fn has_removable_keys(&self) -> bool {
        self.keys.iter().any(OwnedKey::is_removable)
    }
}

impl OwnedKey {
    fn of(kind: KeyKind, key: &str, managers: &[ManagedFieldsEntry]) -> OwnedKey {
        let map = match kind {
            KeyKind::Label => "f:labels",
            KeyKind::Annotation => "f:annotations",
        };
        let field = format!("f:{key}");
        let owns = |entry: &&ManagedFieldsEntry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:metadata"][map].get(&field).is_some())
        };
        let is_us = |entry: &&ManagedFieldsEntry| {
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
    use serde_json::json;

    use super::*;

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
        let pod = PodKeys::of(&serde_json::from_value(pod).unwrap()).unwrap();
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
        assert_eq!(PodKeys::of(&serde_json::from_value(pod).unwrap()), None);
    }
}
