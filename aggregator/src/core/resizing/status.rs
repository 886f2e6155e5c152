//! Where a pod stands with resizing, for people.

use std::collections::BTreeMap;

use plimsoll_contract::report::ContainerReport;
use plimsoll_contract::resize::{ContainerResources, ContainerSizing, PodResources, ResizeStatus};
use plimsoll_contract::{Limit, Moment, keys};
use plimsoll_sizing::policy::Mode;
use plimsoll_sizing::size::Sizes;

use super::Sizing;
use crate::core::{Core, Counts};
use crate::facts::{ContainerFacts, PodFacts, Resources};
use crate::plan::resize::{Outcome, Refusal};
use crate::resize::{Blocked, NotPlanned, Purpose, decision_on, in_quantities, sizes_of};
use crate::state::{Pod, PolicyProblem};

impl Core {
    /// Where a pod stands; absent where it has no class, or this replica does not resize.
    pub(in crate::core) fn resize_status(&self, pod: &Pod) -> Option<Box<ResizeStatus>> {
        let facts = &pod.facts;
        let policy = self.state.policy(facts).filter(|_| self.resizes())?;
        let mode = policy.map_or("", |policy| match policy.mode {
            Mode::Recommend => "Recommend",
            Mode::Apply => "Apply",
        });
        let sizing = self.resizing.pods.get(&facts.pod);
        let verdict = sizing.and_then(|sizing| sizing.verdict.as_ref());
        let wanted = verdict.and_then(|verdict| match &verdict.outcome {
            Outcome::Wanted(wanted) | Outcome::Recommended(wanted) => Some(wanted),
            Outcome::Fits | Outcome::Refused(_) | Outcome::Waiting(_) => None,
        });
        // A wait is no refusal: the state says that a resize is under way, and the arithmetic how long a cooldown lasts.
        let waits = verdict.and_then(|verdict| verdict.outcome.refusal()).is_some_and(Refusal::is_wait);
        let refusal = match verdict {
            Some(_) => self.held_by_quota(pod).or_else(|| self.refusal_of(sizing).filter(|_| !waits)),
            None => Some(unplanned(facts, policy.err())),
        };
        let (refusal, refused) = refusal.unzip();
        // What is withdrawn is no need.
        let under_way = pod.resize.asked().filter(|_| pod.resize.purpose() != Some(Purpose::Revert));
        let asked = wanted.map(|wanted| &wanted.sizes).or(under_way);
        let probed = sizing.and_then(|sizing| sizing.probed.as_ref());
        let probed = probed.filter(|probed| wanted.is_some_and(|wanted| probed.covers(&wanted.sizes)));
        let original = facts.annotations.get(keys::ORIGINAL_RESOURCES);
        let counting = facts.containers.iter().filter(|container| container.kind.counts());
        let container = |container: &ContainerFacts| {
            let report = pod.containers.iter().find(|report| Some(&report.id) == container.id.as_ref());
            container_sizing(container, report)
        };
        Some(Box::new(ResizeStatus {
            mode: mode.to_owned(),
            refused,
            refusal: refusal.map(str::to_owned),
            state: pod.resize.state().to_owned(),
            containers: counting.map(container).collect(),
            wanted: asked.map(|sizes| changes(facts, sizes)).unwrap_or_default(),
            why: verdict
                .map(|verdict| verdict.sizing.iter().map(|sized| sized.line.clone()).collect())
                .unwrap_or_default(),
            verdict: probed.and_then(|probed| probed.verdict.clone()),
            original: original.and_then(|text| serde_json::from_str(text).ok()),
            last: decision_on(facts),
        }))
    }

    /// As [`Core::refusal_of`], where a quota of the namespace refused a growth.
    fn held_by_quota(&self, pod: &Pod) -> Option<(&'static str, String)> {
        let until = self.resizing.quotas.until(self.now, &self.state, &pod.facts, pod.resize.purpose()?)?;
        let seconds = until.since(self.now).as_secs();
        Some(("quota", format!("a quota of the namespace refused a growth: asked again within {seconds} s")))
    }

    /// Why a pod is not resized, as a word and for people.
    fn refusal_of(&self, sizing: Option<&Sizing>) -> Option<(&'static str, String)> {
        let sizing = sizing?;
        let outcome = &sizing.verdict.as_ref()?.outcome;
        if matches!(outcome, Outcome::Wanted(_)) {
            return not_planned(sizing.not_planned.as_ref()?);
        }
        let refusal = outcome.refusal()?;
        Some((refusal.as_str(), refusal.words(self.now).into_owned()))
    }

    /// Adds a pod to the counts for metrics.
    pub(in crate::core) fn count_sizing(&self, pod: &Pod, counts: &mut Counts) {
        if !self.resizes() {
            return;
        }
        let Some(sizing) = self.resizing.pods.get(&pod.facts.pod) else { return };
        *counts.resize_states.entry(pod.resize.state()).or_default() += 1;
        if let Some((refusal, _)) = self.held_by_quota(pod).or_else(|| self.refusal_of(Some(sizing))) {
            *counts.resize_refusals.entry(refusal).or_default() += 1;
        }
    }
}

/// Why the state machine did not take on what is wanted.
fn not_planned(why: &NotPlanned) -> Option<(&'static str, String)> {
    match why {
        // What is wanted is what is under way, or what there is.
        NotPlanned::Busy | NotPlanned::Unchanged => None,
        NotPlanned::Blocked(blocked) => Some(match blocked {
            Blocked::Yielding { owner, .. } => {
                ("yielding", format!("another writer, {owner}, put its own size back"))
            }
            Blocked::Failed { message, .. } => ("failed", format!("the last resize failed: {message}")),
            Blocked::Unsupported { message } => ("unsupported", message.clone()),
            Blocked::PodCgroupStale { text } => ("pod_cgroup_stale", text.clone()),
            Blocked::Drift { text } => ("drift", text.clone()),
            Blocked::Original { message } => ("original_unreadable", message.clone()),
        }),
        NotPlanned::Harmful { text } => Some(("harmful", text.clone())),
        NotPlanned::Rejected { message } => {
            Some(("rejected", format!("this size was not given before: {message}")))
        }
        NotPlanned::Shape { container } => {
            Some(("shape", format!("container {container} has no such requests or limits, or is not there")))
        }
    }
}

/// Why a pod was never planned.
fn unplanned(facts: &PodFacts, problem: Option<PolicyProblem<'_>>) -> (&'static str, String) {
    let refusal = match (problem, &facts.node) {
        (Some(problem), _) => Refusal::from(problem),
        (None, None) => Refusal::NotRunning,
        (None, Some(_)) => Refusal::NoReport,
    };
    (refusal.as_str(), refusal.words(Moment::default()).into_owned())
}

/// What sizes that are asked for change.
fn changes(facts: &PodFacts, sizes: &BTreeMap<String, Sizes>) -> PodResources {
    let before: BTreeMap<_, _> =
        facts.containers.iter().map(|container| (&container.name, sizes_of(&container.spec))).collect();
    let mut changes = in_quantities(sizes);
    for (name, resources) in &mut changes {
        let Some(before) = before.get(name) else { continue };
        let spec = in_quantities(&BTreeMap::from([(name.clone(), *before)])).remove(name).unwrap_or_default();
        resources.requests.retain(|resource, amount| spec.requests.get(resource) != Some(amount));
        resources.limits.retain(|resource, amount| spec.limits.get(resource) != Some(amount));
    }
    changes.retain(|_, resources| *resources != ContainerResources::default());
    changes
}

fn container_sizing(container: &ContainerFacts, report: Option<&ContainerReport>) -> ContainerSizing {
    let name = &container.name;
    let resources = |resources: &Resources| {
        in_quantities(&BTreeMap::from([(name.clone(), sizes_of(resources))])).remove(name).unwrap_or_default()
    };
    let cpu = report.map(|report| &report.cpu);
    let memory = report.map(|report| &report.memory);
    let uses = cpu.into_iter().flat_map(|cpu| [cpu.p95, cpu.mean3]).flatten().map(|cores| cores.0);
    ContainerSizing {
        name: name.clone(),
        spec: resources(&container.spec),
        allocated: container.allocated.as_ref().map(resources),
        actual: container.actual.as_ref().map(resources),
        kernel_cpu: cpu.and_then(|cpu| cpu.limit_cores).and_then(Limit::bound).map(|cores| cores.0),
        kernel_memory: memory.and_then(|memory| memory.limit).and_then(Limit::bound).map(|bytes| bytes.0),
        cpu_use: uses.reduce(f64::max),
        memory_use: memory
            .and_then(|memory| memory.unreclaimable2.or(memory.unreclaimable))
            .map(|bytes| bytes.0),
    }
}
