//! What a killed process of ours changes: nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::Verdict;
use crate::pods::{Kind, NODES, SHOP};
use crate::world::World;

/// Longer than a first band takes.
const LONG: Duration = Duration::from_secs(30);

/// How often the only container of a pod was restarted, if it runs and is ready.
fn restarts(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first().filter(|one| one.ready).map(|one| one.restart_count)
}

/// No write was asked for since then on the pods that live through the whole run, whose load is steady.
pub(crate) fn quiet(world: &World, since: Timestamp) -> anyhow::Result<()> {
    quiet_are(world, since, |_| true)
}

/// As [`quiet`], of some kinds of pods.
pub(crate) fn quiet_are(
    world: &World,
    since: Timestamp,
    which: impl Fn(&Kind) -> bool,
) -> anyhow::Result<()> {
    let attempts = world.audit.attempts(since)?;
    let meant = |name: &str| Kind::of(name).is_none_or(&which);
    let loud = attempts.iter().filter(|attempt| attempt.namespace == SHOP && meant(&attempt.name));
    let loud: Vec<_> = loud.collect();
    ensure!(loud.is_empty(), "{} writes, the first: {:?}", loud.len(), loud.first());
    Ok(())
}

pub(crate) async fn a_killed_agent_comes_back_and_writes_nothing(world: &World) -> Verdict {
    let node = NODES[1];
    let agent = world.agent(node).await?;
    let before = restarts(&agent).context("the agent is not ready")?;
    let since = Timestamp::now();
    world.kill(&agent).await?;
    let back = async || Ok(restarts(&world.agent(node).await?).is_some_and(|count| count > before));
    let took = world.until("the agent to be ready again", Duration::from_secs(120), back).await?;
    let reports = async || {
        Ok(world
            .ask_agent(node, "/metrics")
            .await?
            .contains("plimsoll_agent_reports_total{result=\"accepted\"}"))
    };
    world.until("its reports to be accepted", Duration::from_secs(60), reports).await?;
    sleep(LONG).await;
    quiet(world, since)?;
    Ok(format!(
        "ready again after {:.1} s, no write in {:.0} s",
        took.as_secs_f64(),
        LONG.as_secs_f64() + took.as_secs_f64()
    ))
}

pub(crate) async fn a_killed_aggregator_comes_back_and_writes_nothing(world: &World) -> Verdict {
    let find = async || {
        let pods = world.pods(keys::SYSTEM_NAMESPACE, "app.kubernetes.io/name=plimsoll-aggregator").await?;
        pods.into_iter().next().context("no aggregator")
    };
    let aggregator = find().await?;
    let before = restarts(&aggregator).context("the aggregator is not ready")?;
    let since = Timestamp::now();
    world.kill(&aggregator).await?;
    let back = async || Ok(restarts(&find().await?).is_some_and(|count| count > before));
    let took = world.until("the aggregator to be ready again", Duration::from_secs(120), back).await?;
    let all = async || Ok(world.reporting().await?.len() == NODES.len());
    let reported = world.until("reports of all nodes", Duration::from_secs(60), all).await?;
    sleep(LONG).await;
    quiet(world, since)?;
    Ok(format!(
        "ready again after {:.1} s, reports of all nodes {:.1} s later, no write",
        took.as_secs_f64(),
        reported.as_secs_f64()
    ))
}
