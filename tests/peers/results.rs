//! The results, as a table for people and the documentation, and as JSON.

use std::fmt;
use std::fs;

use jiff::Timestamp;
use plimsoll_contract::band::HIGH_FROM;
use plimsoll_contract::keys;
use serde::Serialize;
use serde_json::json;

use crate::example::Outcome;
use crate::observations::Observations;
use crate::stacks::Cost;
use crate::steps::{LIMIT, Step};
use crate::summary::Summary;
use crate::usage::UsageSamples;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers");
const MIB: f64 = 1024.0 * 1024.0;

/// A system that detects a high load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum System {
    Plimsoll,
    Common,
    Fast,
    MetricsServer,
}

impl System {
    pub(crate) const ALL: [System; 4] =
        [System::Plimsoll, System::Common, System::Fast, System::MetricsServer];

    /// The label that it writes.
    pub(crate) fn label(self) -> Option<&'static str> {
        match self {
            System::Plimsoll => Some(keys::CPU_BAND),
            System::Common => Some("peers.test/common"),
            System::Fast => Some("peers.test/fast"),
            System::MetricsServer => None,
        }
    }

    fn description(self) -> &'static str {
        match self {
            System::Plimsoll => "Plimsoll: the label `plimsoll.dev/cpu-band=high`",
            System::Common => "Prometheus, common settings: the webhook's label",
            System::Fast => "Prometheus, fastest sane settings: the webhook's label",
            System::MetricsServer => "metrics-server: a value above 66 % of the limit (nothing acts)",
        }
    }
}

/// Seconds from each step until the system detected it; `None` if it never did.
pub(crate) fn times(
    system: System,
    steps: &[Step],
    observations: &Observations,
    usage: &UsageSamples,
) -> Vec<Option<f64>> {
    let first = |step: &Step| -> Option<Timestamp> {
        let Some(label) = system.label() else {
            return usage.first_above(&step.pod, HIGH_FROM * LIMIT, step.at);
        };
        let observations = observations.of(&step.pod, label);
        observations
            .iter()
            .find(|observation| observation.at > step.at && observation.value == "high")
            .map(|observation| observation.at)
    };
    steps.iter().map(|step| Some(first(step)?.duration_since(step.at).as_secs_f64())).collect()
}

/// Changes of a label after the steps, over all pods: one per step is enough.
pub(crate) fn writes(system: System, steps: &[Step], observations: &Observations) -> usize {
    let Some(label) = system.label() else { return 0 };
    let after = |step: &Step| {
        observations.of(&step.pod, label).iter().filter(|observation| observation.at > step.at).count()
    };
    steps.iter().map(after).sum()
}

/// All measurements.
#[derive(Debug)]
pub(crate) struct Results {
    /// Seconds from each step until the system acted.
    pub(crate) systems: Vec<(System, Vec<Option<f64>>)>,
    /// Changes of the label after the steps, in the order of the systems.
    pub(crate) writes: Vec<usize>,
    /// Cost of each container.
    pub(crate) costs: Vec<Cost>,
    /// Cores of all kubelets: all pods idle, then stepping and burning.
    pub(crate) kubelets: [f64; 2],
    /// The utilization of each pod's limit after its step.
    pub(crate) utilizations: Vec<f64>,
    /// Seconds between two values of cAdvisor, for each pod.
    pub(crate) gaps: Vec<f64>,
    /// What became of the original project's example, as gold and under VPA.
    pub(crate) examples: [Vec<Outcome>; 2],
    /// For each Prometheus: the number of failed scrapes, and the seconds of the slowest.
    pub(crate) scrapes: Vec<[Option<f64>; 2]>,
}

impl Results {
    /// Writes `results.json`.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let acting = self.systems.iter().zip(&self.writes).map(
            |((system, seconds), writes)| json!({"system": system, "seconds": seconds, "writes": writes}),
        );
        let all = json!({
            "acting": acting.collect::<Vec<_>>(),
            "costs": self.costs,
            "kubelets": {"quietCores": self.kubelets[0], "busyCores": self.kubelets[1]},
            "reachedOfLimit": self.utilizations,
            "cadvisorGaps": self.gaps,
            "example": {"gold": self.examples[0], "vpa": self.examples[1]},
            "scrapes": self.scrapes,
        });
        fs::create_dir_all(FOLDER)?;
        fs::write(format!("{FOLDER}/results.json"), serde_json::to_string_pretty(&all)? + "\n")?;
        Ok(())
    }

    fn acting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| from the step to | seconds: min, median, max | of ours | steps detected | label changes |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        // A step that was never detected counts as infinitely late.
        let all =
            |times: &[Option<f64>]| Summary::of(times.iter().map(|seconds| seconds.unwrap_or(f64::INFINITY)));
        let ours =
            self.systems.first().and_then(|(_, times)| all(times)).map_or(f64::NAN, |ours| ours.median);
        for ((system, times), writes) in self.systems.iter().zip(&self.writes) {
            let detected = times.iter().flatten().count();
            let ratio = all(times).map_or(f64::NAN, |times| times.median) / ours;
            let changes = system.label().map_or("-".into(), |_| writes.to_string());
            let (description, numbers, count) = (system.description(), text(all(times)), times.len());
            writeln!(f, "| {description} | {numbers} | {ratio:.1} x | {detected} of {count} | {changes} |")?;
        }
        Ok(())
    }

    fn cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| stack | container | millicores: pods idle | pods stepping | resident, MiB | working set, MiB |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        let mut stack = "";
        for cost in &self.costs {
            if cost.stack != stack {
                stack = cost.stack;
                line(f, &format!("**{stack}**"), "all", self.costs.iter().filter(|one| one.stack == stack))?;
            }
            let count = if cost.count > 1 { format!(", {} of them", cost.count) } else { String::new() };
            let restarts =
                if cost.restarts > 0 { format!(" ({} restarts)", cost.restarts) } else { String::new() };
            line(f, "", &format!("{}{count}{restarts}", cost.container), [cost])?;
        }
        let [idle, busy] = self.kubelets.map(|cores| cores * 1000.0);
        writeln!(f, "| kubelets | 3 of them, for all | {idle:.0} | {busy:.0} | | |")
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.acting(f)?;
        writeln!(f)?;
        self.cost(f)?;
        let percent = text(Summary::of(self.utilizations.iter().map(|utilization| utilization * 100.0)));
        writeln!(f, "\nPercent of its limit that a pod used after its step: {percent}.")?;
        let gaps = text(Summary::of(self.gaps.iter().copied()));
        writeln!(f, "Seconds between two values of cAdvisor for one container: {gaps}.")?;
        writeln!(f, "Failed scrapes, and seconds of the slowest, of each Prometheus: {:?}.", self.scrapes)?;
        for (system, outcomes) in ["Plimsoll, gold", "VPA"].into_iter().zip(&self.examples) {
            let each: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
            writeln!(f, "The original project's example under {system}: {}.", each.join("; "))?;
        }
        Ok(())
    }
}

/// One line with the sum of some costs.
fn line<'a>(
    f: &mut fmt::Formatter<'_>,
    stack: &str,
    name: &str,
    costs: impl IntoIterator<Item = &'a Cost>,
) -> fmt::Result {
    let [mut idle, mut busy, mut resident, mut working_set] = [0.0; 4];
    for cost in costs {
        idle += cost.idle * 1000.0;
        busy += cost.busy * 1000.0;
        resident += cost.resident as f64 / MIB;
        working_set += cost.working_set as f64 / MIB;
    }
    writeln!(f, "| {stack} | {name} | {idle:.1} | {busy:.1} | {resident:.1} | {working_set:.1} |")
}

/// `min, median, max`, with `never` for infinity.
fn text(spread: Option<Summary>) -> String {
    let word = |number: f64| if number.is_finite() { format!("{number:.1}") } else { "never".into() };
    spread.map_or("none".into(), |all| [all.min, all.median, all.max].map(word).join(", "))
}
