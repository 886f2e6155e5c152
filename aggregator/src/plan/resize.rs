//! Which size each container of a node is to have: one plan for all its pods together. Pure.
//!
//! ```text
//!   view --> eligible --> amount (crates/sizing) --> rules --> urgency --> division --> verdict per pod, with its arithmetic
//!             refusals     what each needs         what holds   who first   who gets what
//!                                                  of all                   (quota, headroom)
//! ```
//!
//! | module | idea |
//! |---|---|
//! | [`view`] | what a plan is made from; [`of_state`] builds it |
//! | [`refusal`] | why something is not resized |
//! | [`eligible`] | which pods, containers and resources may be resized |
//! | [`amount`], [`bounds`], [`birth`] | what each should have |
//! | [`draft`], [`rules`], [`limit_ranges`] | one change while it is planned, and what must hold of it |
//! | [`urgency`] | who is served first |
//! | [`headroom`], [`division`] | what there is, and who gets it |
//! | [`explain`] | the arithmetic, for people |
//! | [`guard`] | when so many decreases are to be sent that none is |
//!
//! A pod that is to grow and to shrink grows first: one resize has one purpose. What a shrink frees counts once the node has it back, and
//! in a LimitRange of pods once the pod has shrunk.

mod amount;
mod birth;
mod bounds;
mod division;
mod draft;
mod eligible;
mod explain;
pub(crate) mod guard;
pub(crate) mod headroom;
mod limit_ranges;
pub(crate) mod of_state;
mod refusal;
mod rules;
#[cfg(test)]
mod tests;
mod urgency;
pub(crate) mod view;

use std::collections::BTreeMap;

use plimsoll_contract::{Moment, PodName, Resource};
use plimsoll_sizing::policy::{Bound, Mode, Policy};
use plimsoll_sizing::size::Sizes;
use plimsoll_sizing::urgency::Weights;
use plimsoll_sizing::verdict::{Keep, Trigger, Verdict};

use draft::Draft;
use headroom::headroom;
pub(crate) use refusal::Refusal;
use urgency::Urgency;
use view::{NodeView, PodView};

use crate::resize::{CpuGrowth, Purpose, Wanted, sizes_of};
use crate::settings::Division;
use crate::state::LimitRanges;

/// What was decided for one pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PodVerdict {
    /// CPU and memory of each container that counts, also where nothing may change.
    pub(crate) sizing: Vec<ContainerVerdict>,
    pub(crate) outcome: Outcome,
}

/// One resource of one container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContainerVerdict {
    pub(crate) container: String,
    pub(crate) resource: Resource,
    /// What its load calls for, before anything is divided.
    pub(crate) verdict: Verdict,
    /// What calls for growth now, whether or not it may grow: while something does, and for the class's hold after it, nothing shrinks.
    pub(crate) pressure: Option<Trigger>,
    /// Why it gets less, or nothing.
    pub(crate) refused: Option<Refusal>,
    /// The arithmetic.
    pub(crate) line: String,
}

/// What follows for the pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing is wanted.
    Fits,
    /// It is not resized, whatever it needs.
    Refused(Refusal),
    /// It is to be resized.
    Wanted(Wanted),
    /// It would be, if its class did not only recommend; a decrease to where its steps would end.
    Recommended(Wanted),
    /// A change is wanted, and cannot be made now.
    Waiting(Refusal),
}

impl Outcome {
    /// Why it is not resized, or not now.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Outcome::Refused(refusal) | Outcome::Waiting(refusal) => Some(refusal),
            Outcome::Fits | Outcome::Wanted(_) | Outcome::Recommended(_) => None,
        }
    }
}

/// What a resize is planned for, one at a time: growth before shrinks, and what was seen before what siblings have come to.
const PURPOSES: [Purpose; 3] = [Purpose::Grow, Purpose::Birth, Purpose::Shrink];

/// How growth is divided.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PlanSettings {
    pub(crate) division: Division,
    pub(crate) weights: Weights,
}

/// Plans for the pods of a node that have a class, in the order of their names.
pub(crate) fn plan_node(
    node: &NodeView<'_>,
    now: Moment,
    settings: &PlanSettings,
) -> Vec<(PodName, PodVerdict)> {
    let mut drafts = Vec::new();
    let mut refused: BTreeMap<usize, Refusal> = BTreeMap::new();
    let mut floor = [0, 0];
    let node_obstacle = eligible::node_obstacle(node);
    for (number, pod) in node.pods.iter().enumerate() {
        let policy = match eligible::class(pod) {
            Ok(policy) => policy,
            Err(reason) => {
                refused.insert(number, reason);
                continue;
            }
        };
        floor = [floor[0].max(least(policy, Resource::Cpu)), floor[1].max(least(policy, Resource::Memory))];
        let mut of_pod = amount::drafts(node, number, pod, policy, now);
        let is_applied = policy.mode == Mode::Apply;
        let default_obstacle = || {
            limit_ranges::default_obstacle(pod, &node.limit_ranges_of(pod).container).filter(|_| is_applied)
        };
        let obstacle = eligible::obstacle(pod).or_else(|| node_obstacle.clone()).or_else(default_obstacle);
        if let Some(reason) = obstacle {
            // What waits for its cooldown waits beside the resize that began it, too.
            let stays = |draft: &Draft| draft.waits.is_some() && reason == Refusal::InFlight;
            let refused_too = of_pod.iter_mut().filter(|draft| draft.changes() && !stays(draft));
            refused_too.for_each(|draft| draft.refuse(reason.clone()));
            refused.insert(number, reason);
        }
        for draft in &mut of_pod {
            draft.urgency = Urgency::of(draft.resource, &pod.containers[draft.container], &settings.weights);
        }
        drafts.append(&mut of_pod);
    }
    division::divide(&mut drafts, node, headroom(node, floor), settings.division);

    let mut verdicts = Vec::new();
    let mut rest = drafts.as_mut_slice();
    for (number, pod) in node.pods.iter().enumerate() {
        let count = rest.iter().take_while(|draft| draft.pod == number).count();
        let (of_pod, others) = std::mem::take(&mut rest).split_at_mut(count);
        rest = others;
        if pod.class.is_some() {
            let ranges = node.limit_ranges_of(pod);
            verdicts
                .push((pod.facts.pod.clone(), verdict(of_pod, pod, &ranges, refused.remove(&number), now)));
        }
    }
    verdicts
}

/// What follows for a pod from what became of its drafts.
fn verdict(
    drafts: &[Draft],
    pod: &PodView<'_>,
    ranges: &LimitRanges,
    refused: Option<Refusal>,
    now: Moment,
) -> PodVerdict {
    let class = pod.policy().map_or("", |policy| policy.class.as_str());
    let sizing: Vec<ContainerVerdict> = drafts
        .iter()
        .map(|draft| {
            let container = &pod.containers[draft.container].facts.name;
            ContainerVerdict {
                container: container.clone(),
                resource: draft.resource,
                verdict: draft.verdict,
                pressure: draft.pressure,
                refused: draft.refused().cloned(),
                line: explain::line(draft, container, class, now),
            }
        })
        .collect();
    let outcome = match (refused, pod.policy()) {
        (Some(reason), _) => Outcome::Refused(reason),
        (None, Some(policy)) => outcome(drafts, &sizing, pod, policy, ranges),
        (None, None) => Outcome::Refused(Refusal::NoClass),
    };
    PodVerdict { sizing, outcome }
}

fn outcome(
    drafts: &[Draft],
    sizing: &[ContainerVerdict],
    pod: &PodView<'_>,
    policy: &Policy,
    ranges: &LimitRanges,
) -> Outcome {
    // Memory that runs out grows alone: what is refused for CPU refuses all of a resize.
    let runs_out = |draft: &Draft| {
        draft.resource == Resource::Memory && draft.grows() && draft.pressure.is_some_and(is_danger)
    };
    let alone = |draft: &Draft| match draft.resource {
        Resource::Memory if draft.is_part_of(Purpose::Grow) => draft.to,
        _ => draft.from,
    };
    let only_memory = drafts.iter().any(runs_out) && limit_ranges::is_admitted(drafts, pod, ranges, alone);
    for purpose in PURPOSES {
        let is_part = |draft: &Draft| {
            let is_first = !only_memory || draft.resource == Resource::Memory;
            draft.changes() && draft.purpose == Some(purpose) && is_first
        };
        let mut sizes: BTreeMap<String, Sizes> = BTreeMap::new();
        let (mut why, mut growths) = (Vec::new(), BTreeMap::new());
        for (draft, said) in drafts.iter().zip(sizing).filter(|(draft, _)| is_part(draft)) {
            let facts = pod.containers[draft.container].facts;
            let sizes = sizes.entry(facts.name.clone()).or_insert_with(|| sizes_of(&facts.spec));
            match draft.resource {
                Resource::Cpu => sizes.cpu = draft.to,
                Resource::Memory => sizes.memory = draft.to,
            }
            if let (Resource::Cpu, Verdict::Grow(change)) = (draft.resource, draft.verdict) {
                let throttled = matches!(change.trigger, Trigger::Throttled(_));
                let throttled_to = draft.to.limit.filter(|_| throttled);
                growths.insert(facts.name.clone(), CpuGrowth { used: change.usage, throttled_to });
            }
            why.push(said.line.clone());
        }
        if !sizes.is_empty() {
            let wanted = Wanted { sizes, purpose, class: policy.class.clone(), why, growths };
            return match policy.mode {
                Mode::Apply => Outcome::Wanted(wanted),
                Mode::Recommend => Outcome::Recommended(wanted),
            };
        }
    }
    let is_wanted =
        |draft: &&Draft| draft.purpose.is_some() || draft.pressure.is_some() || draft.missed.is_some();
    // That something waits hides nothing that is refused.
    let mut unmet = drafts.iter().filter(is_wanted).filter_map(Draft::refused);
    let unmet = unmet.clone().find(|refusal| !refusal.is_wait()).or_else(|| unmet.next()).cloned();
    let unseen = || {
        let all = !drafts.is_empty() && drafts.iter().all(|draft| draft.refusal == Some(Refusal::NoReport));
        all.then_some(Refusal::NoReport)
    };
    unmet.or_else(unseen).map_or(Outcome::Fits, Outcome::Waiting)
}

/// Whether what follows, if memory does not grow, is a kill.
fn is_danger(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::OomKill(_) | Trigger::MemoryMax(_) | Trigger::NearLimit(_) | Trigger::Trend(_))
}

/// What of a pod needs more than it may ever have, for people: container and resource, with the words.
pub(crate) fn at_maximum(verdict: &PodVerdict) -> Vec<(&str, Resource, String)> {
    if matches!(verdict.outcome, Outcome::Refused(_)) {
        return Vec::new();
    }
    let known = |sized: &&ContainerVerdict| {
        sized.verdict == Verdict::Keep(Keep::AtMaximum) && sized.refused != Some(Refusal::RoomUnknown)
    };
    let at_maximum = verdict.sizing.iter().filter(known).filter_map(|sized| {
        // A request that is below its limit by one step cannot grow, and the limit is not what it needs.
        let trigger = sized.pressure.filter(|trigger| *trigger != Trigger::RequestBelowUse)?;
        let ContainerVerdict { container, resource, line, .. } = sized;
        Some((container.as_str(), *resource, format!("{line} ({trigger})")))
    });
    at_maximum.collect()
}

/// The least that a class gives to a container, where it says an amount: a part of a container's own size is booked already.
fn least(policy: &Policy, resource: Resource) -> u64 {
    match policy[resource].min_allowed {
        Bound::Amount(amount) => amount,
        Bound::OfOriginal(_) => 0,
    }
}
