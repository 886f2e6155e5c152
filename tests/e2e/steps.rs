//! How long it takes from a change of load until a watcher sees the label.
//!
//! Each pod says itself when its load changes and how much CPU it has had by then: a line in its log, whose time the
//! container runtime takes on the node.
//!
//! The step is to the whole limit only if the node gives as much, and these nodes share two cores with all else. A pod that
//! got less crosses the threshold later; by how much follows from its own numbers ([`Step::slower`]), and is allowed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use plimsoll_agent::profile::Profile;
use plimsoll_contract::band::HIGH_FROM;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::Verdict;
use crate::history::Sight;
use crate::pods::{BURN, NODES, SLEEP, START, pod};
use crate::spread::Spread;
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
/// Reads the CPU time used, in microseconds, and begins a line: with the shell alone, for a process is a load.
const SAY: &str = "read -r _ used </sys/fs/cgroup/cpu.stat; echo";
/// The CPU limit, in cores.
const LIMIT: f64 = 0.080;
/// DESIGN 9: half-lives until 0.66, a dwell of 10 s, delivery.
const UP: f64 = 20.0;
/// Half-lives until 0.30, a dwell of 60 s, delivery.
const DOWN: f64 = 75.0;
/// What a moment in which this machine was busy may add to the slowest.
const BUSY: f64 = 10.0;

/// A load that went up and down again.
struct Step {
    pod: String,
    up: Mark,
    down: Mark,
}

/// What a pod said of itself.
#[derive(Clone, Copy)]
struct Mark {
    at: Timestamp,
    /// CPU time it had used by then, in seconds.
    used: f64,
}

impl Step {
    /// Part of the limit that the pod got.
    fn share(&self) -> f64 {
        let time = self.down.at.duration_since(self.up.at).as_secs_f64();
        (self.down.used - self.up.used) / time / LIMIT
    }

    /// How much later the smoothed load is high than after a step to the whole limit, in seconds: from 0 it is at
    /// `share * (1 - 2^(-t / half-life))` after `t`. Absent if it never is.
    fn slower(&self) -> Option<f64> {
        let half_life = Profile::standard().half_life.as_secs_f64();
        let crosses = |share: f64| -half_life * (1.0 - HIGH_FROM / share).log2();
        let share = self.share().min(1.0);
        (share > HIGH_FROM).then(|| crosses(share) - crosses(1.0))
    }
}

pub(crate) async fn a_step_in_load_is_a_label_in_time(world: &World) -> Verdict {
    let names: Vec<String> = (0..PODS).map(|number| format!("step-{number}")).collect();
    let made = names.iter().zip(NODES.iter().cycle()).zip(0..).map(|((name, node), number)| {
        let calm = CALM + number * APART;
        let burn = format!("timeout -s KILL {HIGH} sh -c '{BURN}'");
        let script = format!("sleep {calm}; {SAY} up $used; {burn}; {SAY} down $used; {SLEEP}");
        pod(name, node, &script, ["10m", "8Mi"], ["80m", "16Mi"])
    });
    world.run(NAMESPACE, made.collect()).await?;
    // Nobody asks for logs while pods step: that takes the CPU of the nodes away from them.
    let start = Duration::from_secs(45);
    sleep(start + Duration::from_secs(CALM + PODS * APART + HIGH) + Duration::from_secs_f64(DOWN)).await;
    let begun = Instant::now();
    let steps = loop {
        let steps = said(world, &names).await?;
        let over = |step: &Step| Timestamp::now().duration_since(step.down.at).as_secs_f64() > DOWN + BUSY;
        if steps.len() == names.len() && steps.iter().all(over) {
            break steps;
        }
        ensure!(begun.elapsed() < START, "only {} of {PODS} pods have stepped up and down", steps.len());
        sleep(Duration::from_secs(15)).await;
    };
    let (mut ups, mut owed, mut downs) = (Vec::new(), Vec::new(), Vec::new());
    for step in &steps {
        let sights = world.history.of(NAMESPACE, &step.pod);
        let slower = step.slower().with_context(|| {
            format!("{} got {:.0} % of its limit: the machine is too busy", step.pod, 100.0 * step.share())
        })?;
        let up = took(&step.pod, step.up.at, &sights, ["low", "high"])?;
        ups.push(up);
        owed.push(up - slower);
        downs.push(took(&step.pod, step.down.at, &sights, ["high", "low"])?);
    }
    // Their nodes are needed by the tests to come.
    world.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).await?;
    let shares = steps.iter().map(|step| 100.0 * step.share()).collect();
    let spreads = [shares, ups, owed, downs].map(Spread::of);
    let [Some(shares), Some(ups), Some(owed), Some(downs)] = spreads else { bail!("no pod has stepped") };
    let words = format!(
        "0 to {} % of the limit: high after {} s ({} s, had it been all of it); back: low after {} s (min/median/max of {PODS})",
        text(shares),
        text(ups),
        text(owed),
        text(downs),
    );
    ensure!(owed.median <= UP && owed.max <= UP + BUSY, "{words}");
    ensure!(downs.median <= DOWN && downs.max <= DOWN + BUSY, "{words}");
    Ok(words)
}

fn text(Spread { min, median, max }: Spread) -> String {
    format!("{min:.1}/{median:.1}/{max:.1}")
}

/// Seconds from a change until a watcher saw the band that follows from it.
fn took(pod: &str, at: Timestamp, sights: &[Sight], [from, to]: [&str; 2]) -> anyhow::Result<f64> {
    let before = sights.iter().rev().find(|sight| sight.at <= at);
    let band = before.map_or("", |sight| sight.get(keys::CPU_BAND));
    ensure!(band == from, "{pod}: {band:?} before it stepped to {to}");
    let first = sights.iter().find(|sight| sight.at > at && sight.get(keys::CPU_BAND) == to);
    let first = first.with_context(|| format!("{pod}: never {to} after {at}"))?;
    Ok(first.at.duration_since(at).as_secs_f64())
}

/// The pods that have stepped up and down.
async fn said(world: &World, names: &[String]) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for name in names {
        let text = world.log(NAMESPACE, name).await?;
        let mark = |word: &str| text.lines().find_map(|line| mark(line, word));
        if let (Some(up), Some(down)) = (mark("up"), mark("down")) {
            steps.push(Step { pod: name.clone(), up, down });
        }
    }
    Ok(steps)
}

/// `2026-11-24T10:36:49.915744471Z up 1234567`; the shell has other words of its own, as when the burner is killed.
fn mark(line: &str, word: &str) -> Option<Mark> {
    let (at, said) = line.split_once(' ')?;
    let micros: f64 = said.strip_prefix(word)?.trim().parse().ok()?;
    Some(Mark { at: at.parse().ok()?, used: micros / 1e6 })
}
