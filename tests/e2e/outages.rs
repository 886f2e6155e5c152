//! Parts of the cluster go away and come back.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::Verdict;
use crate::bands::{backed, right};
use crate::history::Sight;
use crate::pods::{BURN, KINDS, NODES, SHOP, START, pod};
use crate::restarts::quiet;
use crate::world::World;

const NAMESPACE: &str = "outages";

/// A new pod gets its band: everything works.
async fn works(world: &World, name: &str) -> anyhow::Result<()> {
    world.run(NAMESPACE, vec![pod(name, NODES[0], BURN, ["10m", "8Mi"], ["40m", "16Mi"])]).await?;
    let high = |sight: &Sight| sight.get(keys::CPU_BAND) == "high";
    world.history.wait((NAMESPACE, name), Timestamp::now(), START, high).await.map(drop)
}

pub(crate) async fn a_restart_of_the_api_server_writes_nothing_and_work_goes_on(world: &World) -> Verdict {
    let since = Timestamp::now();
    world.cluster(&["restart-apiserver"]).await?;
    sleep(Duration::from_secs(30)).await;
    quiet(world, since)?;
    let begun = Instant::now();
    works(world, "after-restart").await?;
    Ok(format!("a new pod was labeled {:.1} s after it was made", begun.elapsed().as_secs_f64()))
}

pub(crate) async fn etcd_may_stand_still_for_half_a_minute(world: &World) -> Verdict {
    let since = Timestamp::now();
    world.cluster(&["pause-etcd"]).await?;
    sleep(Duration::from_secs(30)).await;
    world.cluster(&["resume-etcd"]).await?;
    sleep(Duration::from_secs(30)).await;
    quiet(world, since)?;
    let begun = Instant::now();
    works(world, "after-pause").await?;
    Ok(format!("a new pod was labeled {:.1} s after it was made", begun.elapsed().as_secs_f64()))
}

/// DESIGN 5: after 120 s of silence, within 150 s; known again within 30 s of the return: of the node's first report, and of
/// the pod's container, which the kubelet starts again in its own time. Then as before, once the load is.
pub(crate) async fn the_pods_of_a_lost_node_are_unknown_and_right_again_when_it_returns(
    world: &World,
) -> Verdict {
    // Not the aggregator's own: with one replica, nobody would be there to write until it was moved.
    let aggregator = world.pods(keys::SYSTEM_NAMESPACE, "app.kubernetes.io/name=plimsoll-aggregator").await?;
    let theirs: Vec<_> =
        aggregator.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
    let node = NODES.into_iter().rev().find(|node| !theirs.contains(node)).context("no node without it")?;
    let number = node.trim_start_matches("node-");
    let lost = Timestamp::now();
    world.cluster(&["kill-node", number]).await?;
    let silent = unknown(world, node, number, lost).await;
    let booted = Instant::now();
    // Whatever was found: the tests to come need the node.
    world.cluster(&["start-node", number]).await?;
    let (first, last) = silent?;

    let reports = async || Ok(world.reporting().await?.iter().any(|one| one == node));
    world.until("a report of the node", Duration::from_secs(240), reports).await?;
    let returned = Timestamp::now();
    let ready = booted.elapsed().as_secs_f64();
    let mut slowest = 0.0_f64;
    for kind in &KINDS {
        let name = kind.on(node);
        let known = |sight: &Sight| sight.at > lost && backed(sight);
        let sight = world.history.wait((SHOP, &name), returned, Duration::from_secs(150), known).await?;
        let back = started(world, &name).await?.max(returned);
        slowest = slowest.max(sight.at.duration_since(back).as_secs_f64());
        let again = |sight: &Sight| sight.at > lost && right(kind, sight);
        world.history.wait((SHOP, &name), returned, Duration::from_secs(150), again).await?;
    }
    ensure!(slowest <= 30.0, "a pod was known only {slowest:.1} s after its return");
    Ok(format!(
        "unknown after {first:.1} to {last:.1} s; reports {ready:.1} s after the boot began, all known {slowest:.1} s later, then right"
    ))
}

/// When the container of a pod was started.
async fn started(world: &World, name: &str) -> anyhow::Result<Timestamp> {
    let status = world.pod(SHOP, name).await?.status.unwrap_or_default();
    let state = status.container_statuses.unwrap_or_default().into_iter().next().and_then(|one| one.state);
    let running = state.and_then(|state| state.running).with_context(|| format!("{name} does not run"))?;
    Ok(running.started_at.with_context(|| format!("{name} runs since when?"))?.0)
}

/// When the first and the last pod of a lost node were unknown, in seconds since then; no other pod was written to.
async fn unknown(world: &World, node: &str, number: &str, lost: Timestamp) -> anyhow::Result<(f64, f64)> {
    let mut times = Vec::new();
    for kind in &KINDS {
        let bands = |sight: &Sight| [keys::CPU_BAND, keys::MEMORY_BAND].map(|key| sight.get(key).to_owned());
        let unknown = |sight: &Sight| bands(sight) == ["unknown", "unknown"];
        let sight =
            world.history.wait((SHOP, &kind.on(node)), lost, Duration::from_secs(170), unknown).await?;
        times.push(sight.at.duration_since(lost).as_secs_f64());
    }
    let (first, last) =
        times.iter().fold((f64::MAX, 0.0_f64), |(least, most), t| (least.min(*t), most.max(*t)));
    ensure!((110.0..=150.0).contains(&first) && last <= 150.0, "unknown after {first:.1} to {last:.1} s");
    let elsewhere = world.audit.attempts(lost)?.into_iter().filter(|attempt| attempt.namespace == SHOP);
    let elsewhere: Vec<_> =
        elsewhere.filter(|attempt| !attempt.name.ends_with(&format!("-{number}"))).collect();
    ensure!(elsewhere.is_empty(), "pods of other nodes were written to: {:?}", elsewhere.first());
    Ok((first, last))
}
