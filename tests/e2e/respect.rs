//! Keys and pods of users are not touched.

use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::json;

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{BURN, NODES, START, pod};

const REQUESTS: [&str; 2] = ["10m", "8Mi"];
const LIMITS: [&str; 2] = ["30m", "16Mi"];
/// Timeout for a change that the aggregator makes at once.
const SOON: Duration = Duration::from_secs(30);
/// Longer than until a first band.
const LONG: Duration = Duration::from_secs(45);

/// Whether a pod has none of the keys that we write.
fn has_no_keys(observation: &Observation) -> bool {
    let written = keys::WRITTEN_LABELS.iter().chain(&keys::WRITTEN_ANNOTATIONS);
    written.into_iter().all(|key| observation.get(key).is_empty())
}

pub(crate) async fn a_key_that_a_user_set_is_left_alone_and_reported(harness: &Harness) -> TestResult {
    harness.namespace("owned").await?;
    let mut pod = pod("owned", NODES[0], BURN, REQUESTS, LIMITS);
    pod["metadata"]["namespace"] = json!("owned");
    pod["metadata"]["labels"] = json!({keys::CPU_BAND: "mine"});
    harness.create(pod).await?;
    let ours = |observation: &Observation| {
        observation.get(keys::MEMORY_BAND) == "low" && !observation.get(keys::EVIDENCE).is_empty()
    };
    let observation = harness.history.wait(("owned", "owned"), Timestamp::now(), START, ours).await?;
    ensure!(observation.get(keys::CPU_BAND) == "mine", "{observation:?}");
    let status = harness.status("owned", "owned").await?;
    ensure!(status.conflicts.iter().any(|conflict| conflict.key == keys::CPU_BAND), "{status:?}");
    let reported = async || {
        let events = harness.kubectl(&["get", "events", "-n", "owned", "-o", "json"]).await?;
        Ok(events.contains(keys::CPU_BAND) && events.contains("plimsoll"))
    };
    let took = harness.until("an Event about the conflict", SOON, reported).await?;
    // A basis without our band means nothing, so it is removed.
    let no_basis = |observation: &Observation| {
        observation.get(keys::CPU_BASIS).is_empty() && observation.get(keys::CPU_BAND) == "mine"
    };
    harness.history.wait(("owned", "owned"), Timestamp::now(), SOON, no_basis).await?;
    Ok(format!("the Event came {:.1} s after the rest was applied", took.as_secs_f64()))
}

pub(crate) async fn an_ignored_pod_has_no_keys_of_ours(harness: &Harness) -> TestResult {
    harness.namespace("ignored").await?;
    let mut ignored = pod("ignored", NODES[1], BURN, REQUESTS, LIMITS);
    ignored["metadata"]["labels"] = json!({keys::IGNORE: "true"});
    harness.run("ignored", vec![ignored, pod("labeled", NODES[1], BURN, REQUESTS, LIMITS)]).await?;
    let high = |observation: &Observation| observation.get(keys::CPU_BAND) == "high";
    harness.history.wait(("ignored", "labeled"), Timestamp::now(), START, high).await?;
    let untouched = async || Ok(harness.history.of("ignored", "ignored").iter().all(has_no_keys));
    harness.throughout("the ignored pod has none of our keys", LONG, untouched).await?;

    let change = Timestamp::now();
    let label =
        async |pod: &str, word: &str| harness.kubectl(&["label", "pod", "-n", "ignored", pod, word]).await;
    label("labeled", &format!("{}=true", keys::IGNORE)).await?;
    label("ignored", &format!("{}-", keys::IGNORE)).await?;
    let off = harness.history.wait(("ignored", "labeled"), change, SOON, has_no_keys).await?;
    let on = harness.history.wait(("ignored", "ignored"), change, SOON, high).await?;
    let after = |observation: &Observation| observation.at.duration_since(change).as_secs_f64();
    Ok(format!("keys off after {:.1} s, on after {:.1} s", after(&off), after(&on)))
}

pub(crate) async fn an_ignored_namespace_has_no_keys_of_ours(harness: &Harness) -> TestResult {
    let (namespace, name) = ("quiet", "burner");
    harness.run(namespace, vec![pod(name, NODES[2], BURN, REQUESTS, LIMITS)]).await?;
    let high = |observation: &Observation| observation.get(keys::CPU_BAND) == "high";
    harness.history.wait((namespace, name), Timestamp::now(), START, high).await?;
    let label = async |word: &str| harness.kubectl(&["label", "namespace", namespace, word]).await;
    let change = Timestamp::now();
    label(&format!("{}=true", keys::IGNORE)).await?;
    let off = harness.history.wait((namespace, name), change, SOON, has_no_keys).await?;
    let untouched = async || {
        Ok(harness.history.last(namespace, name).is_some_and(|observation| has_no_keys(&observation)))
    };
    harness.throughout("the pod has none of our keys", LONG, untouched).await?;
    let back = Timestamp::now();
    label(&format!("{}-", keys::IGNORE)).await?;
    let on = harness.history.wait((namespace, name), back, SOON, high).await?;
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Ok(format!(
        "keys off after {:.1} s, on again after {:.1} s",
        seconds(change, off.at),
        seconds(back, on.at)
    ))
}
