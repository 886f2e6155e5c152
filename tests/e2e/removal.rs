//! The account of the whole run, and the removal.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;

use crate::Verdict;
use crate::install::OVERLAY;
use crate::pods::{Kind, SHOP};
use crate::world::World;

/// A pod whose load never changes has never had another band of ours than its own or `unknown`, and no set of labels was
/// written on any pod twice in a row.
pub(crate) async fn nothing_was_written_wrongly_or_twice(world: &World) -> Verdict {
    let allowed = |band: &str, right: &str| band.is_empty() || band == right || band == "unknown";
    for (name, sights) in world.history.within(SHOP) {
        let Some(kind) = Kind::of(&name) else { bail!("{name} is of no kind") };
        for sight in &sights {
            let bands = [sight.get(keys::CPU_BAND), sight.get(keys::MEMORY_BAND)];
            let fine = allowed(bands[0], kind.cpu[0]) && allowed(bands[1], kind.memory[0]);
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

/// As `docs/install.md` says: ignore the namespaces, then `kubectl delete -k`.
pub(crate) async fn nothing_of_ours_stays(world: &World) -> Verdict {
    let label = format!("{}=true", keys::IGNORE);
    world.kubectl(&["label", "namespace", "--all", "--overwrite", &label]).await?;
    let bare = async || {
        let pods = world.kubectl(&["get", "pods", "-A", "-o", "json"]).await?;
        let ours = keys::WRITTEN_LABELS.iter().chain(&keys::WRITTEN_ANNOTATIONS);
        // The label that a user set himself stays; it is the only one with this value.
        let pods = pods.replace(&format!("\"{}\": \"mine\"", keys::CPU_BAND), "");
        Ok(!ours.into_iter().any(|key| pods.contains(&format!("\"{key}\":"))))
    };
    let took = world.until("all keys of ours to be gone", Duration::from_secs(120), bare).await?;
    world.kubectl(&["delete", "-k", OVERLAY, "--timeout=180s"]).await?;
    let kinds = "namespaces,pods,daemonsets,deployments,services,configmaps,secrets,serviceaccounts,clusterroles,\
                 clusterrolebindings,roles,rolebindings,priorityclasses,poddisruptionbudgets,leases,customresourcedefinitions,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let all = world.kubectl(&["get", kinds, "-A", "-o", "name", "--ignore-not-found"]).await?;
    let left: Vec<_> = all.lines().filter(|name| name.contains("plimsoll")).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(format!("{} keys were off after {:.1} s", keys::PREFIX, took.as_secs_f64()))
}
