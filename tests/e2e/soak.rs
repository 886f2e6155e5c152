//! Half an hour of mixed loads of pods that are resized (`make soak`): nothing is evicted, restarted or killed, and no pod is resized more
//! often than its class allows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::TestResult;
use crate::audit::Attempt;
use crate::harness::Harness;
use crate::pods::{NODES, restarts};
use crate::resize::{RUNS, drop_namespace, sized};

const NAMESPACE: &str = "soak";
const MINUTES: u64 = 30;
/// Writes a second that the budget allows a cluster of three nodes, and those that it may have saved up.
const RATE: f64 = 5.03;
const BURST: f64 = 20.0;
/// Shortest time between two growths of CPU: seconds, by class. Memory grows after 5 s at the soonest.
const COOLDOWNS: [(&str, f64); 3] = [("gold", 10.0), ("silver", 20.0), ("bronze", 60.0)];
const MEMORY_COOLDOWN: f64 = 5.0;

/// Loads, by name: each a shell program.
const LOADS: [(&str, &str); 4] = [
    ("steady", "while :; do timeout -s KILL 0.1 sh -c 'while :; do :; done'; sleep 0.9; done 2>/dev/null"),
    (
        "wave",
        "while :; do timeout -s KILL 60 sh -c 'while :; do sleep 0.2; done'; sleep 60; done 2>/dev/null",
    ),
    ("spiky", "while :; do timeout -s KILL 3 sh -c 'while :; do :; done'; sleep 27; done 2>/dev/null"),
    (
        "breathing",
        "while :; do i=0; while [ $i -lt 20 ]; do head -c 1m /dev/zero >>/dev/shm/hoard; i=$((i+1)); sleep 2; done; sleep 30; rm /dev/shm/hoard; done",
    ),
];

pub(crate) async fn mixed_loads_for_half_an_hour_harm_nobody(harness: &Harness) -> TestResult {
    let since = Timestamp::now();
    let mut pods = Vec::new();
    for (number, (load, script)) in LOADS.iter().enumerate() {
        for (offset, (class, _)) in COOLDOWNS.iter().enumerate() {
            let (name, node) = (format!("{load}-{class}"), NODES[(number + offset) % 3]);
            let mut pod = sized(class, &name, node, script, ["20m", "16Mi"], ["80m", "40Mi"]);
            pod["metadata"]["labels"]["load"] = json!(load);
            pods.push(pod);
        }
    }
    let count = pods.len();
    harness.run(NAMESPACE, pods).await?;
    let running = async || harness.are_running(NAMESPACE, count).await;
    harness.until("all pods to run", RUNS * 2, running).await?;
    sleep(Duration::from_secs(MINUTES * 60)).await;

    for pod in harness.pods(NAMESPACE, "").await? {
        ensure!(restarts(&pod) == 0, "{} was restarted", pod.name_any());
    }
    ensure!(running().await?, "not all {count} pods run any more");
    let events: Value =
        serde_json::from_str(&harness.kubectl(&["get", "events", "-n", NAMESPACE, "-o", "json"]).await?)?;
    let bad = events["items"].as_array().into_iter().flatten().filter_map(|event| event["reason"].as_str());
    let bad: Vec<_> =
        bad.filter(|reason| ["Evicted", "OOMKilling", "Killing", "BackOff"].contains(reason)).collect();
    ensure!(bad.is_empty(), "{bad:?}");
    let attempts = harness.audit.attempts(since)?;
    within_budget(&attempts)?;
    let ours: Vec<_> = attempts
        .iter()
        .filter(|one| one.namespace == NAMESPACE && one.is_resize && one.code == 200)
        .collect();
    let resized = within_cooldowns(&ours)?;
    drop_namespace(harness, NAMESPACE).await?;
    let most = resized.values().max().copied().unwrap_or_default();
    Ok(format!(
        "{count} pods for {MINUTES} min: no eviction, restart or kill; {} writes, {} of them resizes of {} pods, at most {most} of one",
        attempts.len(),
        ours.len(),
        resized.len()
    ))
}

/// In every stretch of time no more writes than the rate allows, and what may be saved up.
fn within_budget(attempts: &[Attempt]) -> anyhow::Result<()> {
    for (first, from) in attempts.iter().enumerate() {
        let times = attempts
            .iter()
            .enumerate()
            .skip(first)
            .map(|(n, to)| (n, to.at.duration_since(from.at).as_secs_f64()));
        for (last, seconds) in times {
            let count = (last - first + 1) as f64;
            ensure!(
                count <= BURST + RATE * seconds + 1.0,
                "{count} writes within {seconds:.1} s from {}",
                from.at
            );
        }
    }
    Ok(())
}

/// How often each pod was resized. Two growths of one resource are at least its class's cooldown apart.
fn within_cooldowns(resizes: &[&Attempt]) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    let mut last: BTreeMap<(String, &str), (f64, Timestamp)> = BTreeMap::new();
    for resize in resizes {
        *counts.entry(resize.name.clone()).or_default() += 1;
        let container = &resize.body["spec"]["containers"][0]["resources"];
        for (resource, memory) in [("cpu", false), ("memory", true)] {
            let amount = ["limits", "requests"].iter().find_map(|kind| container[kind][resource].as_str());
            let Some(amount) = amount.and_then(|text| text.parse::<plimsoll_contract::Quantity>().ok())
            else {
                continue;
            };
            let amount = amount.as_f64();
            let cooldown =
                COOLDOWNS.iter().find(|(class, _)| resize.name.ends_with(class)).map_or(0.0, |(_, s)| *s);
            let cooldown = if memory { MEMORY_COOLDOWN } else { cooldown };
            if let Some((before, at)) = last.insert((resize.name.clone(), resource), (amount, resize.at)) {
                let apart = resize.at.duration_since(at).as_secs_f64();
                // Half a second: what a decision waits in the queue.
                ensure!(
                    amount <= before || apart >= cooldown - 0.5,
                    "{} grew again after {apart:.1} s",
                    resize.name
                );
            }
        }
    }
    Ok(counts)
}
