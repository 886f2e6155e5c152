//! What belongs to users is left alone.

use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::json;

use crate::Verdict;
use crate::history::Sight;
use crate::pods::{BURN, NODES, START, pod};
use crate::world::World;

const REQUESTS: [&str; 2] = ["10m", "8Mi"];
const LIMITS: [&str; 2] = ["30m", "16Mi"];
/// Labels come and go by the aggregator's decision: no dwell is in it.
const SOON: Duration = Duration::from_secs(30);
/// Longer than a first band takes.
const LONG: Duration = Duration::from_secs(45);

/// None of the keys that we write.
fn bare(sight: &Sight) -> bool {
    let written = keys::WRITTEN_LABELS.iter().chain(&keys::WRITTEN_ANNOTATIONS);
    written.into_iter().all(|key| sight.get(key).is_empty())
}

pub(crate) async fn a_key_that_a_user_set_is_left_alone_and_reported(world: &World) -> Verdict {
    world.namespace("owned").await?;
    let mut pod = pod("owned", NODES[0], BURN, REQUESTS, LIMITS);
    pod["metadata"]["namespace"] = json!("owned");
    pod["metadata"]["labels"] = json!({keys::CPU_BAND: "mine"});
    world.create(pod).await?;
    let ours = |sight: &Sight| sight.get(keys::MEMORY_BAND) == "low" && !sight.get(keys::EVIDENCE).is_empty();
    let sight = world.history.wait(("owned", "owned"), Timestamp::now(), START, ours).await?;
    ensure!(sight.get(keys::CPU_BAND) == "mine", "{sight:?}");
    let status = world.status("owned", "owned").await?;
    ensure!(status.conflicts.iter().any(|key| key == keys::CPU_BAND), "{status:?}");
    let said = async || {
        let events = world.kubectl(&["get", "events", "-n", "owned", "-o", "json"]).await?;
        Ok(events.contains(keys::CPU_BAND) && events.contains("plimsoll"))
    };
    let took = world.until("an Event about the conflict", SOON, said).await?;
    // A label of ours without its band would say nothing.
    let settled =
        |sight: &Sight| sight.get(keys::CPU_BASIS).is_empty() && sight.get(keys::CPU_BAND) == "mine";
    world.history.wait(("owned", "owned"), Timestamp::now(), SOON, settled).await?;
    Ok(format!("the Event came {:.1} s after the rest was applied", took.as_secs_f64()))
}

pub(crate) async fn an_ignored_pod_has_no_keys_of_ours(world: &World) -> Verdict {
    world.namespace("ignored").await?;
    let mut shy = pod("shy", NODES[1], BURN, REQUESTS, LIMITS);
    shy["metadata"]["labels"] = json!({keys::IGNORE: "true"});
    world.run("ignored", vec![shy, pod("open", NODES[1], BURN, REQUESTS, LIMITS)]).await?;
    let high = |sight: &Sight| sight.get(keys::CPU_BAND) == "high";
    world.history.wait(("ignored", "open"), Timestamp::now(), START, high).await?;
    let untouched = async || Ok(world.history.of("ignored", "shy").iter().all(bare));
    world.throughout("the ignored pod has no key of ours", LONG, untouched).await?;

    let change = Timestamp::now();
    let label =
        async |pod: &str, word: &str| world.kubectl(&["label", "pod", "-n", "ignored", pod, word]).await;
    label("open", &format!("{}=true", keys::IGNORE)).await?;
    label("shy", &format!("{}-", keys::IGNORE)).await?;
    let off = world.history.wait(("ignored", "open"), change, SOON, bare).await?;
    let on = world.history.wait(("ignored", "shy"), change, SOON, high).await?;
    let after = |sight: &Sight| sight.at.duration_since(change).as_secs_f64();
    Ok(format!("keys off after {:.1} s, on after {:.1} s", after(&off), after(&on)))
}

pub(crate) async fn an_ignored_namespace_has_no_keys_of_ours(world: &World) -> Verdict {
    let (namespace, name) = ("quiet", "burner");
    world.run(namespace, vec![pod(name, NODES[2], BURN, REQUESTS, LIMITS)]).await?;
    let high = |sight: &Sight| sight.get(keys::CPU_BAND) == "high";
    world.history.wait((namespace, name), Timestamp::now(), START, high).await?;
    let label = async |word: &str| world.kubectl(&["label", "namespace", namespace, word]).await;
    let change = Timestamp::now();
    label(&format!("{}=true", keys::IGNORE)).await?;
    let off = world.history.wait((namespace, name), change, SOON, bare).await?;
    let untouched = async || Ok(world.history.last(namespace, name).is_some_and(|sight| bare(&sight)));
    world.throughout("the pod has no key of ours", LONG, untouched).await?;
    let back = Timestamp::now();
    label(&format!("{}-", keys::IGNORE)).await?;
    let on = world.history.wait((namespace, name), back, SOON, high).await?;
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Ok(format!(
        "keys off after {:.1} s, on again after {:.1} s",
        seconds(change, off.at),
        seconds(back, on.at)
    ))
}
