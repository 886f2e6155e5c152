//! Many short lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use plimsoll_contract::keys;
use plimsoll_contract::status::PodStatus;

use crate::Verdict;
use crate::bands::right;
use crate::history::Sight;
use crate::pods::{KINDS, NODES, SHOP, SLEEP, START, pod};
use crate::restarts::quiet_are;
use crate::world::World;

const NAMESPACE: &str = "churn";
const PODS: usize = 60;
/// Lives under way on a node: it has one slow CPU, and starts no more pods a minute when more of them wait for it.
const AT_ONCE: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

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

/// A pod is made, runs, and is deleted at once.
async fn live(world: &World, name: String, node: &str) -> anyhow::Result<()> {
    let mut mayfly = pod(&name, node, SLEEP, ["1m", "1Mi"], ["900m", "16Mi"]);
    // A network of its own is much of the work of its life, and nothing that is looked at here.
    mayfly["spec"]["hostNetwork"] = true.into();
    world.run(NAMESPACE, vec![mayfly]).await?;
    let runs = async || {
        let status = world.pod(NAMESPACE, &name).await?.status;
        Ok(status.is_some_and(|status| status.phase.as_deref() == Some("Running")))
    };
    world.until(&format!("{name} to run"), PATIENCE, runs).await?;
    world.kubectl(&["delete", "pod", "-n", NAMESPACE, &name, "--wait=false"]).await?;
    let gone = async || Ok(world.pods(NAMESPACE, "").await?.iter().all(|pod| pod.name_any() != name));
    world.until(&format!("{name} to be gone"), PATIENCE, gone).await.map(drop)
}

pub(crate) async fn sixty_short_lives_leave_nothing_behind(world: &World) -> Verdict {
    let before = descriptors(world).await?;
    let (since, begun) = (Timestamp::now(), Instant::now());
    world.namespace(NAMESPACE).await?;
    let nodes = NODES.map(|node| {
        let names = (0..PODS / NODES.len()).map(move |number| format!("mayfly-{number}-{node}"));
        let lives = stream::iter(names).map(move |name| live(world, name, node)).buffer_unordered(AT_ONCE);
        lives.try_collect::<Vec<()>>()
    });
    try_join_all(nodes).await?;
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
    // Its node had little left for a burner meanwhile: that one's load did change.
    quiet_are(world, since, |kind| kind.cpu[0] == "low")?;
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
    // The burners have their nodes for themselves again: the tests to come find every band as it should be.
    for (kind, node) in KINDS.iter().flat_map(|kind| NODES.map(|node| (kind, node))) {
        let again = |sight: &Sight| right(kind, sight);
        world.history.wait((SHOP, &kind.on(node)), Timestamp::now(), START, again).await?;
    }
    Ok(format!(
        "{PODS} pods came and went in {took:.0} s; descriptors {before:?} before, {:?} after",
        descriptors(world).await?
    ))
}
