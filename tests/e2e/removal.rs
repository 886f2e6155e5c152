//! The account of the whole run, and the removal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use plimsoll_contract::keys;

use crate::Verdict;
use crate::bands::backed;
use crate::install::OVERLAY;
use crate::pods::{Kind, SHOP};
use crate::world::World;

/// A pod whose load never changes has never had another band of ours than its own or `unknown`, and no set of labels was
/// written on any pod twice in a row. Two loads do change: a burner's when its node has less for it, and all those of a node
/// that was lost, which begin anew. There the evidence must have the numbers for the band.
pub(crate) async fn nothing_was_written_wrongly_or_twice(world: &World) -> Verdict {
    let allowed = |band: &str, right: &str| band.is_empty() || band == right || band == "unknown";
    for (name, sights) in world.history.within(SHOP) {
        let Some(kind) = Kind::of(&name) else { bail!("{name} is of no kind") };
        let mut anew = false;
        for sight in &sights {
            let bands = [sight.get(keys::CPU_BAND), sight.get(keys::MEMORY_BAND)];
            anew |= bands == ["unknown", "unknown"];
            let [cpu, memory] = [allowed(bands[0], kind.cpu[0]), allowed(bands[1], kind.memory[0])];
            let starved = kind.cpu[0] == "high" && memory && backed(sight);
            let fine = (cpu && memory) || starved || (anew && backed(sight));
            ensure!(fine, "{name} was {bands:?} at {}: {}", sight.at, sight.get(keys::EVIDENCE));
        }
    }
    let attempts = world.audit.attempts(Timestamp::UNIX_EPOCH)?;
    let (mut last, mut codes) = (BTreeMap::new(), BTreeMap::<i64, usize>::new());
    for attempt in &attempts {
        *codes.entry(attempt.code).or_default() += 1;
        if attempt.code != 200 {
            continue;
        }
        let uid = attempt.body["metadata"]["uid"].as_str().unwrap_or_default();
        ensure!(!uid.is_empty(), "a write without a uid: {attempt:?}");
        let labels = keys::WRITTEN_LABELS.map(|key| attempt.label(key).unwrap_or_default().to_owned());
        let before = last.insert(uid.to_owned(), labels.clone());
        ensure!(before.as_ref() != Some(&labels), "written twice: {attempt:?}");
    }
    Ok(format!("{} writes on {} pods; answers: {codes:?}", attempts.len(), last.len()))
}

/// As `docs/install.md` says: `plimsoll cleanup`, then `kubectl delete -k`.
pub(crate) async fn nothing_of_ours_stays(world: &World) -> Verdict {
    let begun = Instant::now();
    let said = world.plimsoll(&["cleanup", "--yes"]).await?;
    let took = begun.elapsed();
    ensure!(said.contains("the aggregator says so"), "it was not seen to pause: {said}");
    if world.pod("owned", "owned").await.is_ok() {
        let kept = format!("owned/owned  label {}  owner: ", keys::CPU_BAND);
        ensure!(said.contains(&kept), "a key of a user's is not named: {said}");
    }
    let none = async || dirty(world).await.map(|dirty| dirty.is_empty());
    ensure!(none().await?, "still with keys of ours: {:?}", dirty(world).await?);
    world.throughout("no pod has a key of ours", Duration::from_secs(20), none).await?;
    let again = world.plimsoll(&["cleanup", "--yes"]).await?;
    ensure!(again.contains("nothing to do"), "a second run: {again}");

    world.kubectl(&["delete", "-k", OVERLAY, "--timeout=180s"]).await?;
    let kinds = "namespaces,pods,daemonsets,deployments,services,configmaps,secrets,serviceaccounts,clusterroles,\
                 clusterrolebindings,roles,rolebindings,priorityclasses,poddisruptionbudgets,leases,customresourcedefinitions,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let all = world.kubectl(&["get", kinds, "-A", "-o", "name", "--ignore-not-found"]).await?;
    let left: Vec<_> = all.lines().filter(|name| name.contains("plimsoll")).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    let after = world.plimsoll(&["cleanup", "--yes"]).await?;
    ensure!(after.contains("there is no namespace plimsoll-system"), "after the removal: {after}");
    let counted = said.lines().find(|line| line.contains("removed from")).unwrap_or_default();
    Ok(format!("{counted}, after {:.1} s", took.as_secs_f64()))
}

/// The pods with keys of ours. The label that a user set himself stays; it is the only one with this value.
async fn dirty(world: &World) -> anyhow::Result<Vec<String>> {
    let pods = Api::<Pod>::all(world.client.clone()).list_metadata(&ListParams::default()).await?;
    let written = |key: &str| keys::WRITTEN_LABELS.contains(&key) || keys::WRITTEN_ANNOTATIONS.contains(&key);
    let ours = |key: &String, value: &String| {
        written(key) && (key.as_str(), value.as_str()) != (keys::CPU_BAND, "mine")
    };
    let carries = |map: &BTreeMap<String, String>| map.iter().any(|(key, value)| ours(key, value));
    let dirty = pods.items.iter().filter(|pod| carries(pod.labels()) || carries(pod.annotations()));
    Ok(dirty.map(ResourceExt::name_any).collect())
}
