//! Which pods carry keys of ours, and who owns them. Reads only.
//!
//! A key is of ours if it has our prefix and is not one that users write. Who owns it is what `metadata.managedFields`
//! says; only what our field manager *applied* is owned by us, for only that does an apply take away.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{Api, PartialObjectMeta};
use plimsoll_contract::keys;
use serde::Serialize;

use crate::connect::Failure;
use crate::pods;

/// Keys with our prefix that users write.
const OF_USERS: [&str; 3] = [keys::SLA, keys::IGNORE, keys::BOUNDS];

/// A pod with keys of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The keys, each with its owners.
    pub(super) claims: Vec<Claim>,
}

/// A key of ours on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) kind: KeyKind,
    pub(super) key: String,
    /// Whether our field manager applied it.
    pub(super) ours: bool,
    /// The other field managers that own it.
    pub(super) others: Vec<String>,
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyKind {
    Label,
    Annotation,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KeyKind::Label => "label",
            KeyKind::Annotation => "annotation",
        })
    }
}

impl Claim {
    /// Whether it goes away when our manager lets go of it.
    pub(super) fn is_removable(&self) -> bool {
        self.ours && self.others.is_empty()
    }
}

impl Found {
    /// The keys that go away when our manager lets go of them.
    pub(super) fn removable(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(|claim| claim.is_removable())
    }

    /// The keys that stay.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(|claim| !claim.is_removable())
    }

    /// Whether our manager owns anything here.
    pub(super) fn is_held(&self) -> bool {
        self.claims.iter().any(|claim| claim.ours)
    }

    fn read(pod: &PartialObjectMeta<Pod>) -> Option<Found> {
        let managers = pod.metadata.managed_fields.as_deref().unwrap_or_default();
        let claims_in = |kind, map: &BTreeMap<String, String>| {
            let keys = map.keys().filter(|key| is_ours(key));
            keys.map(|key| Claim::read(kind, key, managers)).collect::<Vec<_>>()
        };
        let mut claims = claims_in(KeyKind::Label, pod.labels());
        claims.extend(claims_in(KeyKind::Annotation, pod.annotations()));
        let found = Found {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            claims,
        };
        Some(found).filter(|found| !found.claims.is_empty())
    }
}

impl Claim {
    fn read(kind: KeyKind, key: &str, managers: &[ManagedFieldsEntry]) -> Claim {
        let map = match kind {
            KeyKind::Label => "f:labels",
            KeyKind::Annotation => "f:annotations",
        };
        let field = format!("f:{key}");
        let owns = |entry: &&ManagedFieldsEntry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:metadata"][map].get(&field).is_some())
        };
        let (ours, others): (Vec<_>, Vec<_>) = managers.iter().filter(owns).partition(|entry| is_us(entry));
        let mut others: Vec<String> =
            others.into_iter().map(|entry| entry.manager.clone().unwrap_or_default()).collect();
        others.dedup();
        Claim { kind, key: key.to_owned(), ours: !ours.is_empty(), others }
    }
}

/// Every pod with keys of ours.
///
/// # Errors
/// The failure of a page.
pub(super) async fn survey(api: &Api<PartialObjectMeta<Pod>>) -> Result<Vec<Found>, Failure> {
    pods::collect(api, None, Found::read).await
}

fn is_ours(key: &str) -> bool {
    key.starts_with(keys::PREFIX) && !OF_USERS.contains(&key)
}

fn is_us(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(keys::FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_keys_of_users_and_of_strangers_are_not_ours_and_each_of_ours_has_its_owners() {
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
        let found = Found::read(&serde_json::from_value(pod).unwrap()).unwrap();
        let told: Vec<_> = found
            .claims
            .iter()
            .map(|claim| (claim.key.as_str(), claim.ours, claim.others.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                (keys::CPU_BAND, true, String::new()),
                (keys::CPU_BASIS, true, "helm".into()),
                (keys::MEMORY_BAND, false, String::new()),
                (keys::EVIDENCE, true, String::new()),
                ("plimsoll.dev/of-a-later-version", false, "plimsoll".into()),
            ]
        );
        assert_eq!((found.removable().count(), found.kept().count(), found.is_held()), (2, 3, true));
    }

    #[test]
    fn a_pod_with_keys_of_users_alone_is_not_found() {
        let pod = json!({"metadata": {"name": "web", "labels": {keys::IGNORE: "true", "a": "b"}}});
        assert_eq!(Found::read(&serde_json::from_value(pod).unwrap()), None);
    }
}
