//! The numbers: as a table for people and the documentation, and as JSON.

use std::fmt;
use std::fs;

use jiff::Timestamp;
use plimsoll_contract::band::HIGH_FROM;
use plimsoll_contract::keys;
use serde::Serialize;
use serde_json::json;

use crate::answers::Answers;
use crate::sightings::Sightings;
use crate::spread::Spread;
use crate::stacks::Cost;
use crate::steps::{LIMIT, Resize, Step};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers");
const MIB: f64 = 1024.0 * 1024.0;

/// Whoever says that a pod's load is high.
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

    /// The label it writes.
    pub(crate) fn label(self) -> Option<&'static str> {
        match self {
            System::Plimsoll => Some(keys::CPU_BAND),
            System::Common => Some("peers.test/common"),
            System::Fast => Some("peers.test/fast"),
            System::MetricsServer => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            System::Plimsoll => "Plimsoll: the label `plimsoll.dev/cpu-band=high`",
            System::Common => "Prometheus, common settings: the webhook's label",
            System::Fast => "Prometheus, fastest sane settings: the webhook's label",
            System::MetricsServer => "metrics-server: an answer above 66 % of the limit (nothing acts)",
        }
    }
}

/// Seconds from each step until the system said high; `None` where it never did.
pub(crate) fn times(
    system: System,
    steps: &[Step],
    sightings: &Sightings,
    answers: &Answers,
) -> Vec<Option<f64>> {
    let first = |step: &Step| -> Option<Timestamp> {
        let Some(label) = system.label() else {
            return answers.first_above(&step.pod, HIGH_FROM * LIMIT, step.at);
        };
        let sights = sightings.of(&step.pod, label);
        sights.iter().find(|sight| sight.at > step.at && sight.value == "high").map(|sight| sight.at)
    };
    steps.iter().map(|step| Some(first(step)?.duration_since(step.at).as_secs_f64())).collect()
}

/// How often a label changed after the steps, over all pods: once a step is enough.
pub(crate) fn writes(system: System, steps: &[Step], sightings: &Sightings) -> usize {
    let Some(label) = system.label() else { return 0 };
    let after =
        |step: &Step| sightings.of(&step.pod, label).iter().filter(|sight| sight.at > step.at).count();
    steps.iter().map(after).sum()
}

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Seconds from each step until the system acted.
    pub(crate) systems: Vec<(System, Vec<Option<f64>>)>,
    /// Changes of the label after the steps, in the order of the systems.
    pub(crate) writes: Vec<usize>,
    /// Cost of each container.
    pub(crate) costs: Vec<Cost>,
    /// Cores of all kubelets: all pods idle, then stepping and burning.
    pub(crate) kubelets: [f64; 2],
    /// What part of its limit each pod used once it had stepped.
    pub(crate) reached: Vec<f64>,
    /// Seconds between two values of cAdvisor, of each pod.
    pub(crate) gaps: Vec<f64>,
    /// What VPA did.
    pub(crate) resizes: Vec<Resize>,
    /// Of each Prometheus: how many scrapes failed, and how long the slowest took, in seconds.
    pub(crate) scrapes: Vec<[Option<f64>; 2]>,
}

impl Findings {
    /// Writes `results.json`.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let acting = self.systems.iter().zip(&self.writes).map(
            |((system, seconds), writes)| json!({"system": system, "seconds": seconds, "writes": writes}),
        );
        let all = json!({
            "acting": acting.collect::<Vec<_>>(),
            "costs": self.costs,
            "kubelets": {"quietCores": self.kubelets[0], "busyCores": self.kubelets[1]},
            "reachedOfLimit": self.reached,
            "cadvisorGaps": self.gaps,
            "vpa": self.resizes,
            "scrapes": self.scrapes,
        });
        fs::create_dir_all(FOLDER)?;
        fs::write(format!("{FOLDER}/results.json"), serde_json::to_string_pretty(&all)? + "\n")?;
        Ok(())
    }

    fn acting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| from the step to | seconds: min, median, max | of ours | steps seen | label changes |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        // A step that was never seen counts as one that took for ever.
        let all =
            |times: &[Option<f64>]| Spread::of(times.iter().map(|seconds| seconds.unwrap_or(f64::INFINITY)));
        let ours =
            self.systems.first().and_then(|(_, times)| all(times)).map_or(f64::NAN, |ours| ours.median);
        for ((system, times), writes) in self.systems.iter().zip(&self.writes) {
            let seen = times.iter().flatten().count();
            let ratio = all(times).map_or(f64::NAN, |times| times.median) / ours;
            let changes = system.label().map_or("-".into(), |_| writes.to_string());
            let (words, numbers, count) = (system.words(), text(all(times)), times.len());
            writeln!(f, "| {words} | {numbers} | {ratio:.1} x | {seen} of {count} | {changes} |")?;
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
        let [quiet, busy] = self.kubelets.map(|cores| cores * 1000.0);
        writeln!(f, "| kubelets | 3 of them, for everybody | {quiet:.0} | {busy:.0} | | |")
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.acting(f)?;
        writeln!(f)?;
        self.cost(f)?;
        let percent = text(Spread::of(self.reached.iter().map(|share| share * 100.0)));
        writeln!(f, "\nPercent of its limit that a pod used once it had stepped: {percent}.")?;
        let gaps = text(Spread::of(self.gaps.iter().copied()));
        writeln!(f, "Seconds between two values of cAdvisor for one container: {gaps}.")?;
        writeln!(f, "Failed scrapes, and seconds of the slowest, of each Prometheus: {:?}.", self.scrapes)?;
        let each = |resize: &Resize| format!("{} {} after {:.0} s", resize.pod, resize.cpu, resize.seconds);
        let resizes: Vec<_> = self.resizes.iter().map(each).collect();
        writeln!(f, "VPA's pods, their requests, seconds after the step: {}.", resizes.join(", "))
    }
}

/// One line on the sum of some costs.
fn line<'a>(
    f: &mut fmt::Formatter<'_>,
    stack: &str,
    name: &str,
    costs: impl IntoIterator<Item = &'a Cost>,
) -> fmt::Result {
    let [mut quiet, mut busy, mut resident, mut working_set] = [0.0; 4];
    for cost in costs {
        quiet += cost.quiet * 1000.0;
        busy += cost.busy * 1000.0;
        resident += cost.resident as f64 / MIB;
        working_set += cost.working_set as f64 / MIB;
    }
    writeln!(f, "| {stack} | {name} | {quiet:.1} | {busy:.1} | {resident:.1} | {working_set:.1} |")
}

/// `min, median, max`, and `never` for what never came.
fn text(spread: Option<Spread>) -> String {
    let word = |number: f64| if number.is_finite() { format!("{number:.1}") } else { "never".into() };
    spread.map_or("none".into(), |all| [all.min, all.median, all.max].map(word).join(", "))
}
