//! Many short-lived pods.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use plimsoll_contract::keys;
use plimsoll_contract::status::PodStatus;

use crate::TestResult;
use crate::bands;
use crate::harness::{Harness, is_running};
use crate::pods::{NODES, SLEEP, pod};
use crate::restarts::ensure_no_write_on;

const NAMESPACE: &str = "churn";
const PODS: usize = 60;
/// Pods of a node at once: its one slow CPU starts no more pods per minute if more of them wait.
const CONCURRENCY: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(120);

/// Open descriptors of the agents, by node.
async fn descriptors(harness: &Harness) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let mut counts = BTreeMap::new();
    for node in NODES {
        let text = harness.ask_agent(node, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix("process_open_fds "));
        let count: f64 = line.context("no process_open_fds")?.parse()?;
        counts.insert(node, format!("{count:.0}").parse()?);
    }
    Ok(counts)
}

/// Creates a pod, waits until it runs, and deletes it at once.
async fn run_and_delete(harness: &Harness, name: String, node: &str) -> anyhow::Result<()> {
    let mut pod = pod(&name, node, SLEEP, ["1m", "1Mi"], ["900m", "16Mi"]);
    // Setting up a pod network is slow and not tested here.
    pod["spec"]["hostNetwork"] = true.into();
    harness.run(NAMESPACE, vec![pod]).await?;
    let runs = async || Ok(is_running(&harness.pod(NAMESPACE, &name).await?));
    harness.until(&format!("{name} to run"), TIMEOUT, runs).await?;
    harness.kubectl(&["delete", "pod", "-n", NAMESPACE, &name, "--wait=false"]).await?;
    let gone = async || Ok(harness.pods(NAMESPACE, "").await?.iter().all(|pod| pod.name_any() != name));
    harness.until(&format!("{name} to be gone"), TIMEOUT, gone).await.map(drop)
}

pub(crate) async fn sixty_short_lived_pods_leave_nothing_behind(harness: &Harness) -> TestResult {
    let before = descriptors(harness).await?;
    let (since, start) = (Timestamp::now(), Instant::now());
    harness.namespace(NAMESPACE).await?;
    let nodes = NODES.map(|node| {
        let names = (0..PODS / NODES.len()).map(move |number| format!("short-{number}-{node}"));
        let pods = stream::iter(names)
            .map(move |name| run_and_delete(harness, name, node))
            .buffer_unordered(CONCURRENCY);
        pods.try_collect::<Vec<()>>()
    });
    try_join_all(nodes).await?;
    let took = start.elapsed().as_secs_f64();

    for (name, observations) in harness.history.within(NAMESPACE) {
        for observation in observations {
            let bands = [keys::CPU_BAND, keys::MEMORY_BAND].map(|key| observation.get(key).to_owned());
            ensure!(
                bands.iter().all(|band| matches!(band.as_str(), "" | "low")),
                "{name} was idle, and had the bands {bands:?}"
            );
        }
    }
    // A burner had less of its node's CPU meanwhile, so its load did change.
    ensure_no_write_on(harness, since, |kind| kind.cpu[0] == "low")?;
    let forgotten = async || {
        let pods: Vec<PodStatus> = harness.ask("/v1/pods").await?;
        let mut stale = pods.iter().any(|pod| pod.namespace == NAMESPACE);
        for node in NODES {
            stale |= harness.ask_agent(node, "/metrics").await?.contains("namespace=\"churn\"");
        }
        Ok(!stale)
    };
    harness.until("their series to be gone", Duration::from_secs(30), forgotten).await?;
    let released = async || {
        let after = descriptors(harness).await?;
        // A scrape or a delivery may be in progress.
        Ok(before.iter().all(|(node, count)| after.get(node).is_some_and(|now| *now <= count + 3)))
    };
    harness
        .until(&format!("as many descriptors as before ({before:?})"), Duration::from_secs(60), released)
        .await?;
    bands::all_right_again(harness).await?;
    Ok(format!(
        "{PODS} pods were created and deleted in {took:.0} s; descriptors {before:?} before, {:?} after",
        descriptors(harness).await?
    ))
}
