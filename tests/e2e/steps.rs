//! The time from a step in load until a watch observes the label.
//!
//! Each pod logs when its load changes, and after the time that a burst takes, how much CPU it has used by then; the container runtime
//! records the time of the line on the node.
//!
//! The load steps to the whole limit only if the node has that much CPU, and these nodes share two cores with everything
//! else. A pod that got less crosses the threshold later; [`Step::extra_delay`] computes by how much, and that is allowed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use plimsoll_agent::profile::Profile;
use plimsoll_contract::band::HIGH_FROM;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{BURN, NODES, SLEEP, START, pod};
use crate::summary::Summary;

const NAMESPACE: &str = "steps";
/// Pods, distributed over the nodes.
const PODS: u64 = 20;
/// Seconds before the first step: starting a container is a load too, and the bands must be low again by then.
const IDLE: u64 = 110;
/// Seconds from one pod's step to the next one's: a step to the whole limit needs a node that is otherwise idle.
const APART: u64 = 8;
/// Seconds of high load, in two parts: the first is as long as a burst, and shows how much CPU the pod got for it.
const HIGH: [u64; 2] = [8, 32];
/// Reads the CPU time used, in microseconds, and starts a log line: in the shell alone, because a process is a load.
const LOG: &str = "read -r _ used </sys/fs/cgroup/cpu.stat; echo";
/// The CPU limit, in cores.
const LIMIT: f64 = 0.080;
/// Maximum median, and target of the slowest, in seconds, rising: a burst of 7.1 s, up to a sweep, delivery.
const UP: [f64; 2] = [9.0, 12.0];
/// Maximum median in seconds, falling: at most a minute after the last burst, delivery.
const DOWN: f64 = 63.0;
/// Seconds that a busy machine may add to the slowest.
const BUSY: f64 = 10.0;

/// A load that rose and fell again.
struct Step {
    pod: String,
    up: LogLine,
    /// After the first part.
    on: LogLine,
    down: LogLine,
}

/// A log line of a pod.
#[derive(Clone, Copy)]
struct LogLine {
    at: Timestamp,
    /// CPU time it had used by then, in seconds.
    used: f64,
}

impl Step {
    /// The fraction of its limit that the pod got in the first part.
    fn utilization(&self) -> f64 {
        let time = self.on.at.duration_since(self.up.at).as_secs_f64();
        (self.on.used - self.up.used) / time / LIMIT
    }

    /// How much later a burst is complete than after a step to the whole limit, in seconds. Absent if there never is one.
    fn extra_delay(&self) -> Option<f64> {
        let burst = |utilization: f64| Profile::standard().burst / (utilization - HIGH_FROM);
        let utilization = self.utilization().min(1.0);
        (utilization > HIGH_FROM).then(|| burst(utilization) - burst(1.0))
    }
}

pub(crate) async fn a_step_in_load_is_a_label_in_time(harness: &Harness) -> TestResult {
    let names: Vec<String> = (0..PODS).map(|number| format!("step-{number}")).collect();
    let pods = names.iter().zip(NODES.iter().cycle()).zip(0..).map(|((name, node), number)| {
        let idle = IDLE + number * APART;
        let [burn, burn_on] = HIGH.map(|seconds| format!("timeout -s KILL {seconds} sh -c '{BURN}'"));
        let script = format!(
            "sleep {idle}; {LOG} up $used; {burn}; {LOG} on $used; {burn_on}; {LOG} down $used; {SLEEP}"
        );
        pod(name, node, &script, ["10m", "8Mi"], ["80m", "16Mi"])
    });
    harness.run(NAMESPACE, pods.collect()).await?;
    // Logs are read only after the steps: reading them takes CPU of the nodes away from the pods.
    let startup = Duration::from_secs(45);
    sleep(
        startup
            + Duration::from_secs(IDLE + PODS * APART + HIGH[0] + HIGH[1])
            + Duration::from_secs_f64(DOWN),
    )
    .await;
    let start = Instant::now();
    let steps = loop {
        let steps = finished_steps(harness, &names).await?;
        let is_over = |step: &Step| Timestamp::now().duration_since(step.down.at).as_secs_f64() > DOWN + BUSY;
        if steps.len() == names.len() && steps.iter().all(is_over) {
            break steps;
        }
        ensure!(start.elapsed() < START, "only {} of {PODS} pods have stepped up and down", steps.len());
        sleep(Duration::from_secs(15)).await;
    };
    let (mut ups, mut adjusted, mut downs) = (Vec::new(), Vec::new(), Vec::new());
    for step in &steps {
        let observations = harness.history.of(NAMESPACE, &step.pod);
        let extra_delay = step.extra_delay().with_context(|| {
            format!(
                "{} got {:.0} % of its limit: the machine is too busy",
                step.pod,
                100.0 * step.utilization()
            )
        })?;
        let up = seconds_until(&step.pod, step.up.at, &observations, ["low", "high"])?;
        ups.push(up);
        adjusted.push(up - extra_delay);
        downs.push(seconds_until(&step.pod, step.down.at, &observations, ["high", "low"])?);
        let after = observations.iter().filter(|seen| seen.at > step.down.at);
        let first = after.map(|seen| seen.get(keys::CPU_BAND)).find(|band| *band != "high");
        ensure!(
            first == Some("low"),
            "{}: {first:?} between high and low, which is one write more",
            step.pod
        );
    }
    // The next tests need the CPU of the nodes.
    harness.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).await?;
    let utilizations = steps.iter().map(|step| 100.0 * step.utilization()).collect();
    let summaries = [utilizations, ups, adjusted, downs].map(Summary::of);
    let [Some(utilizations), Some(ups), Some(adjusted), Some(downs)] = summaries else {
        bail!("no pod has stepped")
    };
    let result = format!(
        "0 to {} % of the limit (in the first {} s): high after {} s ({} s if it had been all of it); back: low after {} s (min/median/max of {PODS}; target of the slowest: {} s)",
        text(utilizations),
        HIGH[0],
        text(ups),
        text(adjusted),
        text(downs),
        UP[1],
    );
    // three nodes on two cores do not meet the target of the slowest in every run: the result says what it was
    ensure!(adjusted.median <= UP[0] && adjusted.max <= UP[1] + BUSY, "{result}");
    ensure!(downs.median <= DOWN && downs.max <= DOWN + BUSY, "{result}");
    Ok(result)
}

fn text(Summary { min, median, max }: Summary) -> String {
    format!("{min:.1}/{median:.1}/{max:.1}")
}

/// Seconds from a change of load until the band that follows from it was observed.
fn seconds_until(
    pod: &str,
    at: Timestamp,
    observations: &[Observation],
    [from, to]: [&str; 2],
) -> anyhow::Result<f64> {
    let before = observations.iter().rev().find(|observation| observation.at <= at);
    let band = before.map_or("", |observation| observation.get(keys::CPU_BAND));
    ensure!(band == from, "{pod}: {band:?} before it stepped to {to}");
    let first =
        observations.iter().find(|observation| observation.at > at && observation.get(keys::CPU_BAND) == to);
    let first = first.with_context(|| format!("{pod}: never {to} after {at}"))?;
    Ok(first.at.duration_since(at).as_secs_f64())
}

/// The steps of the pods whose load rose and fell again.
async fn finished_steps(harness: &Harness, names: &[String]) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for name in names {
        let text = harness.log(NAMESPACE, name).await?;
        let find = |word: &str| text.lines().find_map(|line| parse(line, word));
        if let (Some(up), Some(on), Some(down)) = (find("up"), find("on"), find("down")) {
            steps.push(Step { pod: name.clone(), up, on, down });
        }
    }
    Ok(steps)
}

/// `2026-11-24T10:36:49.915744471Z up 1234567`. The shell logs other lines, for instance when the burner is killed.
fn parse(line: &str, word: &str) -> Option<LogLine> {
    let (at, rest) = line.split_once(' ')?;
    let micros: f64 = rest.strip_prefix(word)?.trim().parse().ok()?;
    Some(LogLine { at: at.parse().ok()?, used: micros / 1e6 })
}
