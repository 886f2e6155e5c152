//! Killed agents and aggregators restart and cause no write.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{Kind, NODES, SHOP};

/// Longer than until a first band.
const LONG: Duration = Duration::from_secs(30);

/// Restarts of the only container of a pod, if it is ready.
fn restarts(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first().filter(|one| one.ready).map(|one| one.restart_count)
}

/// Fails if a write to a pod of [`SHOP`] was requested since then: their load is constant.
pub(crate) fn ensure_no_write(harness: &Harness, since: Timestamp) -> anyhow::Result<()> {
    ensure_no_write_on(harness, since, |_| true)
}

/// As [`ensure_no_write`], for some kinds of pods.
pub(crate) fn ensure_no_write_on(
    harness: &Harness,
    since: Timestamp,
    which: impl Fn(&Kind) -> bool,
) -> anyhow::Result<()> {
    let attempts = harness.audit.attempts(since)?;
    let selected = |name: &str| Kind::of(name).is_none_or(&which);
    let writes = attempts.iter().filter(|attempt| attempt.namespace == SHOP && selected(&attempt.name));
    let writes: Vec<_> = writes.collect();
    ensure!(writes.is_empty(), "{} writes, the first: {:?}", writes.len(), writes.first());
    Ok(())
}

pub(crate) async fn a_killed_agent_restarts_and_causes_no_write(harness: &Harness) -> TestResult {
    let node = NODES[1];
    let agent = harness.agent(node).await?;
    let before = restarts(&agent).context("the agent is not ready")?;
    let since = Timestamp::now();
    harness.kill(&agent).await?;
    let back = async || Ok(restarts(&harness.agent(node).await?).is_some_and(|count| count > before));
    let took = harness.until("the agent to be ready again", Duration::from_secs(120), back).await?;
    let reports = async || {
        Ok(harness
            .ask_agent(node, "/metrics")
            .await?
            .contains("plimsoll_agent_reports_total{result=\"accepted\"}"))
    };
    harness.until("its reports to be accepted", Duration::from_secs(60), reports).await?;
    sleep(LONG).await;
    ensure_no_write(harness, since)?;
    Ok(format!(
        "ready again after {:.1} s, no write in {:.0} s",
        took.as_secs_f64(),
        LONG.as_secs_f64() + took.as_secs_f64()
    ))
}

/// Kills the aggregator and waits until it is ready again; how long that took.
pub(crate) async fn restart_the_aggregator(harness: &Harness) -> anyhow::Result<Duration> {
    let find = async || {
        let pods = harness.pods(keys::SYSTEM_NAMESPACE, "app.kubernetes.io/name=plimsoll-aggregator").await?;
        pods.into_iter().next().context("no aggregator")
    };
    let aggregator = find().await?;
    let before = restarts(&aggregator).context("the aggregator is not ready")?;
    harness.kill(&aggregator).await?;
    let back = async || Ok(restarts(&find().await?).is_some_and(|count| count > before));
    harness.until("the aggregator to be ready again", Duration::from_secs(120), back).await
}

pub(crate) async fn a_killed_aggregator_restarts_and_writes_nothing(harness: &Harness) -> TestResult {
    let since = Timestamp::now();
    let took = restart_the_aggregator(harness).await?;
    let all = async || Ok(harness.reporting().await?.len() == NODES.len());
    let reported = harness.until("reports of all nodes", Duration::from_secs(60), all).await?;
    sleep(LONG).await;
    ensure_no_write(harness, since)?;
    Ok(format!(
        "ready again after {:.1} s, reports of all nodes {:.1} s later, no write",
        took.as_secs_f64(),
        reported.as_secs_f64()
    ))
}
