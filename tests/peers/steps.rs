//! The pods whose load steps, and those that VPA looks after meanwhile. Each logs when it steps; the container runtime records
//! the time of the line on the node.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::time::sleep;

use crate::harness::{Harness, container_ids};
use crate::pods::{BURN, NODES, START, logged, pod};
use crate::resources::Reading;
use crate::stacks::{MANIFESTS, SIZED};

/// Namespace of the pods whose load steps.
pub(crate) const STEPS: &str = "steps";
/// The CPU limit of each, in cores: small, because three nodes share two cores with everything that is measured.
pub(crate) const LIMIT: f64 = 0.060;
const PODS: u64 = 12;
/// Seconds before the first step: starting a container is a load too, and must no longer count. The pods of `sized.yaml` wait
/// as long.
const IDLE: u64 = 150;
/// Seconds from one step to the next, so that they fall into every phase of a scrape interval.
const APART: u64 = 7;

/// A step from zero to the whole limit.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pod: String,
    pub(crate) at: Timestamp,
}

/// Creates all pods, and waits until they run.
pub(crate) async fn create_pods(harness: &Harness) -> anyhow::Result<()> {
    let nodes = NODES.iter().cycle();
    let pods = (0..PODS).zip(nodes).map(|(number, node)| {
        let script = format!("sleep {}; echo up; {BURN}", IDLE + APART * number);
        pod(&name(number), node, &script, ["10m", "8Mi"], ["60m", "16Mi"])
    });
    harness.run(STEPS, pods.collect()).await?;
    harness.kubectl(&["apply", "-f", &format!("{MANIFESTS}/sized.yaml")]).await?;
    for (namespace, count) in [(STEPS, PODS as usize), (SIZED, 2)] {
        let running = async || harness.are_running(namespace, count).await;
        harness.until(&format!("the pods in {namespace} to run"), START, running).await?;
    }
    Ok(())
}

/// Waits until every pod has stepped.
pub(crate) async fn wait_for_steps(harness: &Harness) -> anyhow::Result<Vec<Step>> {
    // Reading logs costs CPU of the kubelets, which is measured: not before the last steps are due.
    sleep(Duration::from_secs(IDLE + APART * PODS - 90)).await;
    harness
        .until("every pod to step", START, async || Ok(steps(harness).await?.len() == PODS as usize))
        .await?;
    steps(harness).await
}

async fn steps(harness: &Harness) -> anyhow::Result<Vec<Step>> {
    let pods: Vec<String> = (0..PODS).map(name).collect();
    let mut steps = Vec::new();
    for pod in pods {
        if let Some((at, _)) = logged(&harness.log(STEPS, &pod).await?, "up") {
            steps.push(Step { pod, at });
        }
    }
    Ok(steps)
}

fn name(number: u64) -> String {
    format!("step-{number}")
}

/// The utilization of each pod's limit since the first reading, or since its step if that was later.
pub(crate) async fn utilizations(
    harness: &Harness,
    from: &Reading,
    to: &Reading,
    steps: &[Step],
) -> anyhow::Result<Vec<f64>> {
    let mut utilizations = Vec::new();
    for step in steps {
        let pod = harness.pod(STEPS, &step.pod).await?;
        let id = container_ids(&pod).into_iter().next().context("no container")?.1;
        let used = to.cpu_since(from, &id).with_context(|| format!("no usage of {}", step.pod))?;
        let busy = to.at.duration_since(step.at.max(from.at)).as_secs_f64();
        utilizations.push(used / busy / LIMIT);
    }
    Ok(utilizations)
}
