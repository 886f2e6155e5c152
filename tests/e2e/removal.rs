//! All writes of the run, then cleanup and uninstallation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use plimsoll_contract::keys;

use crate::TestResult;
use crate::bands::fits_evidence;
use crate::fairness::STRIPPED;
use crate::harness::{Harness, OVERLAY};
use crate::pods::{Kind, SHOP};
use crate::resize::undone;

/// A pod with a constant load never had a band other than its own or `unknown`, and no pod was written the same labels twice
/// in a row. Two kinds of load do change: that of a burner whose node has less CPU for it, and those of a lost node, which
/// start again. There the evidence must contain the numbers of the band.
pub(crate) async fn every_write_was_right_and_made_once(harness: &Harness) -> TestResult {
    let allowed = |band: &str, expected: &str| band.is_empty() || band == expected || band == "unknown";
    for (name, observations) in harness.history.within(SHOP) {
        let Some(kind) = Kind::of(&name) else { bail!("{name} is of no kind") };
        let mut restarted = false;
        for observation in &observations {
            let bands = [observation.get(keys::CPU_BAND), observation.get(keys::MEMORY_BAND)];
            restarted |= bands == ["unknown", "unknown"];
            let [cpu, memory] = [allowed(bands[0], kind.cpu[0]), allowed(bands[1], kind.memory[0])];
            let starved = kind.cpu[0] == "high" && memory && fits_evidence(observation);
            let right = (cpu && memory) || starved || (restarted && fits_evidence(observation));
            ensure!(right, "{name} was {bands:?} at {}: {}", observation.at, observation.get(keys::EVIDENCE));
        }
    }
    let attempts = harness.audit.attempts(Timestamp::UNIX_EPOCH)?;
    let (mut last, mut codes) = (BTreeMap::new(), BTreeMap::<i64, usize>::new());
    for attempt in &attempts {
        *codes.entry(attempt.code).or_default() += 1;
        // In one namespace another test removes the labels all the time.
        if attempt.code != 200 || attempt.namespace == STRIPPED || attempt.is_resize {
            continue;
        }
        let uid = attempt.body["metadata"]["uid"].as_str().unwrap_or_default();
        ensure!(!uid.is_empty(), "a write without a uid: {attempt:?}");
        let labels = keys::WRITTEN_LABELS.map(|key| attempt.label(key).unwrap_or_default().to_owned());
        // The same labels again are right with another decision to resize.
        let decision = attempt.body["metadata"]["annotations"][keys::DECISION].as_str().map(str::to_owned);
        let before = last.insert(uid.to_owned(), (labels.clone(), decision.clone()));
        ensure!(before != Some((labels, decision)), "written twice: {attempt:?}");
    }
    Ok(format!("{} writes on {} pods; responses: {codes:?}", attempts.len(), last.len()))
}

/// As `docs/install.md` says: `plimsoll cleanup`, then `kubectl delete -k`.
pub(crate) async fn cleanup_and_uninstallation_leave_nothing(harness: &Harness) -> TestResult {
    let start = Instant::now();
    let output = harness.plimsoll(&["cleanup", "--yes"]).await?;
    let took = start.elapsed();
    ensure!(output.contains("the aggregator confirmed it"), "the pause was not confirmed: {output}");
    if harness.pod(undone::NAMESPACE, undone::KEPT).await.is_ok() {
        let restored = async || Ok(undone::limit(harness, undone::KEPT).await? == 40.0);
        harness.until("the original size of a resized pod", Duration::from_secs(20), restored).await?;
    }
    if harness.pod("owned", "owned").await.is_ok() {
        let owned = format!("owned/owned  label {}  owner: ", keys::CPU_BAND);
        ensure!(output.contains(&owned), "a key of a user is not listed: {output}");
    }
    let none = async || pods_with_keys(harness).await.map(|pods| pods.is_empty());
    ensure!(none().await?, "keys remain on {:?}", pods_with_keys(harness).await?);
    harness.throughout("no pod has our keys", Duration::from_secs(20), none).await?;
    let again = harness.plimsoll(&["cleanup", "--yes"]).await?;
    ensure!(again.contains("nothing to do") && again.contains("is still paused"), "a second run: {again}");

    // The classes are gone with their definition.
    harness.kubectl(&["delete", "-k", OVERLAY, "--ignore-not-found", "--timeout=180s"]).await?;
    let kinds = "namespaces,pods,daemonsets,deployments,services,configmaps,secrets,serviceaccounts,clusterroles,\
                 clusterrolebindings,roles,rolebindings,priorityclasses,poddisruptionbudgets,leases,customresourcedefinitions,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let all = harness.kubectl(&["get", kinds, "-A", "-o", "name", "--ignore-not-found"]).await?;
    let left: Vec<_> = all.lines().filter(|name| name.contains("plimsoll")).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    let after = harness.plimsoll(&["cleanup", "--yes"]).await?;
    ensure!(after.contains("nothing to do") && after.contains("is not paused"), "after the removal: {after}");
    let counts = output.lines().find(|line| line.contains("removed from")).unwrap_or_default();
    Ok(format!("{counts}, after {:.1} s", took.as_secs_f64()))
}

/// The pods with our keys. The label that a user set stays; it is the only one with this value.
async fn pods_with_keys(harness: &Harness) -> anyhow::Result<Vec<String>> {
    let pods = Api::<Pod>::all(harness.client.clone()).list_metadata(&ListParams::default()).await?;
    let written = |key: &str| keys::WRITTEN_LABELS.contains(&key) || keys::WRITTEN_ANNOTATIONS.contains(&key);
    let ours = |key: &String, value: &String| {
        written(key) && (key.as_str(), value.as_str()) != (keys::CPU_BAND, "mine")
    };
    let has_ours = |map: &BTreeMap<String, String>| map.iter().any(|(key, value)| ours(key, value));
    let found = pods.items.iter().filter(|pod| has_ours(pod.labels()) || has_ours(pod.annotations()));
    Ok(found.map(ResourceExt::name_any).collect())
}
