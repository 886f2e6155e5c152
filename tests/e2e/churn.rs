//! Many short lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use plimsoll_contract::status::PodStatus;
use tokio::time::sleep;

use crate::Verdict;
use crate::pods::{NODES, SLEEP, pod};
use crate::restarts::quiet;
use crate::world::World;

const NAMESPACE: &str = "churn";
const PODS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(300);

/// Open descriptors of the agents, by node.
async fn descriptors(world: &World) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let mut counts = BTreeMap::new();
    for node in NODES {
        let text = world.ask_agent(node, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix("process_open_fds "));
        let count: f64 = line.context("no process_open_fds")?.parse()?;
        counts.insert(node, format!("{count:.0}").parse()?);
    }
    Ok(counts)
}

pub(crate) async fn sixty_short_lives_leave_nothing_behind(world: &World) -> Verdict {
    let before = descriptors(world).await?;
    let (since, begun) = (Timestamp::now(), Instant::now());
    let names: Vec<_> = (0..PODS).map(|number| format!("mayfly-{number}")).collect();
    let made = names.iter().zip(NODES.iter().cycle());
    let made = made.map(|(name, node)| pod(name, node, SLEEP, ["1m", "1Mi"], ["900m", "16Mi"])).collect();
    world.run(NAMESPACE, made).await?;
    let mut left = names.clone();
    while !left.is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "{} pods never ran: {:?}", left.len(), left.first());
        let pods = world.pods(NAMESPACE, "").await?;
        let runs = |name: &String| {
            pods.iter().any(|pod| {
                pod.metadata.name.as_ref() == Some(name)
                    && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
            })
        };
        let (running, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(runs);
        left = rest;
        for name in running {
            world.kubectl(&["delete", "pod", "-n", NAMESPACE, &name, "--wait=false"]).await?;
        }
        sleep(Duration::from_millis(500)).await;
    }
    let gone = async || Ok(world.pods(NAMESPACE, "").await?.is_empty());
    world.until("all to be gone", PATIENCE, gone).await?;
    let took = begun.elapsed().as_secs_f64();

    for (name, sights) in world.history.within(NAMESPACE) {
        for sight in sights {
            let bands = [keys::CPU_BAND, keys::MEMORY_BAND].map(|key| sight.get(key).to_owned());
            ensure!(
                bands.iter().all(|band| matches!(band.as_str(), "" | "low")),
                "{name} slept, and was {bands:?}"
            );
        }
    }
    quiet(world, since)?;
    let forgotten = async || {
        let pods: Vec<PodStatus> = world.ask("/v1/pods").await?;
        let mut stale = pods.iter().any(|pod| pod.namespace == NAMESPACE);
        for node in NODES {
            stale |= world.ask_agent(node, "/metrics").await?.contains("namespace=\"churn\"");
        }
        Ok(!stale)
    };
    world.until("no series of them to be left", Duration::from_secs(30), forgotten).await?;
    let settled = async || {
        let after = descriptors(world).await?;
        // A scrape or a delivery of its own may be under way.
        Ok(before.iter().all(|(node, count)| after.get(node).is_some_and(|now| *now <= count + 3)))
    };
    world
        .until(&format!("as many descriptors as before ({before:?})"), Duration::from_secs(60), settled)
        .await?;
    Ok(format!(
        "{PODS} pods came and went in {took:.0} s; descriptors {before:?} before, {:?} after",
        descriptors(world).await?
    ))
}
