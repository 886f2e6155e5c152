//! How long it takes from a change of load until a watcher sees the label.
//!
//! Each pod says itself when its load changes: a line in its log, whose time the container runtime takes on the node.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::Verdict;
use crate::history::Sight;
use crate::pods::{BURN, NODES, SLEEP, START, pod};
use crate::world::World;

const NAMESPACE: &str = "steps";
/// Pods, spread over the nodes.
const PODS: u64 = 20;
/// A container's start is a load, too: the bands must be low again before the step.
const CALM: u64 = 110;
/// Time from one pod's step to the next one's: a step to the whole limit needs a node that can give it.
const APART: u64 = 8;
/// How long the load is high.
const HIGH: u64 = 40;
/// DESIGN 9, and what this machine's two cores under three nodes may add to the slowest.
const UP: Duration = Duration::from_secs(20);
/// Half-lives until 0.30, a dwell of 60 s, delivery.
const DOWN: Duration = Duration::from_secs(75);

/// A change of load.
struct Step {
    pod: String,
    at: Timestamp,
    up: bool,
}

pub(crate) async fn a_step_in_load_is_a_label_in_time(world: &World) -> Verdict {
    let names: Vec<String> = (0..PODS).map(|number| format!("step-{number}")).collect();
    let made = names.iter().zip(NODES.iter().cycle()).zip(0..).map(|((name, node), number)| {
        let calm = CALM + number * APART;
        let burn = format!("timeout -s KILL {HIGH} sh -c '{BURN}'");
        let script = format!("sleep {calm}; echo up; {burn}; echo down; {SLEEP}");
        pod(name, node, &script, ["10m", "8Mi"], ["80m", "16Mi"])
    });
    world.run(NAMESPACE, made.collect()).await?;
    sleep(Duration::from_secs(CALM + PODS * APART + HIGH)).await;
    let down = async || Ok(said(world, &names).await?.len() == 2 * names.len());
    world.until("every pod to step up and down", START, down).await?;
    sleep(DOWN).await;
    let steps = said(world, &names).await?;
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for step in &steps {
        let sights = world.history.of(NAMESPACE, &step.pod);
        let before = sights.iter().rev().find(|sight| sight.at <= step.at);
        let (from, to, times) = if step.up { ("low", "high", &mut ups) } else { ("high", "low", &mut downs) };
        let band = before.map_or("", |sight| sight.get(keys::CPU_BAND));
        ensure!(band == from, "{}: {band:?} before it stepped to {to}", step.pod);
        times.push(
            took(step, &sights, to).with_context(|| format!("{}: never {to} after {}", step.pod, step.at))?,
        );
    }
    // Their nodes are needed by the tests to come.
    world.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).await?;
    let (up, down) = (Spread::of(ups), Spread::of(downs));
    ensure!(up.middle <= UP && down.middle <= DOWN, "up {up}, down {down}");
    ensure!(
        up.most <= UP + Duration::from_secs(2) && down.most <= DOWN + Duration::from_secs(5),
        "up {up}, down {down}"
    );
    Ok(format!("0 to the limit: high after {up}; back: low after {down}"))
}

fn took(step: &Step, sights: &[Sight], wanted: &str) -> Option<Duration> {
    let first = sights.iter().find(|sight| sight.at > step.at && sight.get(keys::CPU_BAND) == wanted)?;
    Duration::try_from(first.at.duration_since(step.at)).ok()
}

/// What the pods have said so far.
async fn said(world: &World, names: &[String]) -> anyhow::Result<Vec<Step>> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), NAMESPACE);
    let mut steps = Vec::new();
    for name in names {
        let text = pods.logs(name, &LogParams { timestamps: true, ..LogParams::default() }).await?;
        for line in text.lines() {
            let (at, word) = line.split_once(' ').with_context(|| format!("no time in `{line}`"))?;
            // The shell has words of its own, as when the burner is killed.
            if ["up", "down"].contains(&word) {
                steps.push(Step { pod: name.clone(), at: at.parse()?, up: word == "up" });
            }
        }
    }
    Ok(steps)
}

/// Of some durations.
struct Spread {
    count: usize,
    least: Duration,
    middle: Duration,
    most: Duration,
}

impl Spread {
    fn of(mut all: Vec<Duration>) -> Spread {
        all.sort();
        let at = |index: usize| all.get(index).copied().unwrap_or_default();
        Spread {
            count: all.len(),
            least: at(0),
            middle: at(all.len() / 2),
            most: at(all.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, middle, most] = [self.least, self.middle, self.most].map(|time| time.as_secs_f64());
        write!(f, "{least:.1}/{middle:.1}/{most:.1} s (min/median/max of {})", self.count)
    }
}
