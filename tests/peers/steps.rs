//! The pods that step, and those that VPA may size. Each says itself when it steps: a line in its log, whose time the
//! container runtime takes on the node.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use tokio::time::sleep;

use crate::costs::Reading;
use crate::pods::{BURN, NODES, START, pod};
use crate::sightings::{REQUEST, Sight, Sightings};
use crate::stacks::{MANIFESTS, SIZED};
use crate::world::{World, container_ids};

/// Namespace of the pods that step.
pub(crate) const STEPS: &str = "steps";
/// What each may use, in cores: small, for three nodes share two cores with all that is measured.
pub(crate) const LIMIT: f64 = 0.060;
const PODS: u64 = 12;
/// A container's start is a load, too: it must be forgotten before the step. The pods of `sized.yaml` wait as long.
const CALM: u64 = 150;
/// From one step to the next, so that they meet every phase of a scrape.
const APART: u64 = 7;

/// From nothing to the whole limit.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pod: String,
    pub(crate) at: Timestamp,
}

/// A new request that VPA gave to one of its pods.
#[derive(Debug, Serialize)]
pub(crate) struct Resize {
    /// Seconds from the first step of these pods until a watcher saw it.
    pub(crate) seconds: f64,
    pub(crate) pod: String,
    pub(crate) cpu: String,
}

/// Makes all pods; when this returns, they run.
pub(crate) async fn begin(world: &World) -> anyhow::Result<()> {
    let nodes = NODES.iter().cycle();
    let made = (0..PODS).zip(nodes).map(|(number, node)| {
        let script = format!("sleep {}; echo up; {BURN}", CALM + APART * number);
        pod(&name(number), node, &script, ["10m", "8Mi"], ["60m", "16Mi"])
    });
    world.run(STEPS, made.collect()).await?;
    world.kubectl(&["apply", "-f", &format!("{MANIFESTS}/sized.yaml")]).await?;
    for (namespace, count) in [(STEPS, PODS as usize), (SIZED, 2)] {
        let running = async || {
            let pods = world.pods(namespace, "").await?;
            let running =
                |pod: &&Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
            Ok(pods.iter().filter(running).count() == count)
        };
        world.until(&format!("the pods in {namespace} to run"), START, running).await?;
    }
    Ok(())
}

/// Waits until every pod has stepped.
pub(crate) async fn done(world: &World) -> anyhow::Result<Vec<Step>> {
    // To ask for logs costs the kubelets, whose cost is measured: no sooner than the last steps may come.
    sleep(Duration::from_secs(CALM + APART * PODS - 90)).await;
    world.until("every pod to step", START, async || Ok(said(world).await?.len() == PODS as usize)).await?;
    said(world).await
}

async fn said(world: &World) -> anyhow::Result<Vec<Step>> {
    let pods: Vec<String> = (0..PODS).map(name).collect();
    let mut steps = Vec::new();
    for pod in pods {
        if let Some(at) = up(world, STEPS, &pod).await? {
            steps.push(Step { pod, at });
        }
    }
    Ok(steps)
}

/// When a pod said that it steps.
async fn up(world: &World, namespace: &str, pod: &str) -> anyhow::Result<Option<Timestamp>> {
    let text = world.log(namespace, pod).await?;
    let at = text.lines().next().and_then(|line| line.split_once(' ')).map(|(at, _)| at.parse());
    at.transpose().with_context(|| format!("no time in the log of {pod}"))
}

fn name(number: u64) -> String {
    format!("step-{number}")
}

/// What part of its limit each pod really used since the first reading; of one that stepped after it, less time counts.
pub(crate) async fn reached(
    world: &World,
    from: &Reading,
    to: &Reading,
    steps: &[Step],
) -> anyhow::Result<Vec<f64>> {
    let mut shares = Vec::new();
    for step in steps {
        let pod = world.pod(STEPS, &step.pod).await?;
        let id = container_ids(&pod).into_iter().next().context("no container")?.1;
        let used = to.cpu_since(from, &id).with_context(|| format!("no usage of {}", step.pod))?;
        let busy = to.at.duration_since(step.at.max(from.at)).as_secs_f64();
        shares.push(used / busy / LIMIT);
    }
    Ok(shares)
}

/// What VPA did to its pods; the first request is the one they were made with.
pub(crate) async fn resizes(world: &World, sightings: &Sightings) -> anyhow::Result<Vec<Resize>> {
    let mut begun = Vec::new();
    for pod in world.pods(SIZED, "app=sized").await? {
        begun.extend(up(world, SIZED, &pod.metadata.name.unwrap_or_default()).await?);
    }
    let first = begun.into_iter().min().context("none of VPA's pods has stepped")?;
    let resize = |Sight { at, pod, value, .. }: Sight| Resize {
        seconds: at.duration_since(first).as_secs_f64(),
        pod,
        cpu: value,
    };
    Ok(sightings.all(REQUEST).into_iter().map(resize).collect())
}
