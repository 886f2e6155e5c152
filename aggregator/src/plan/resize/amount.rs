//! From facts and reports to what each resource of a container should have, before anything is divided.

use std::time::Duration;

use plimsoll_contract::report::ContainerMemory;
use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::cpu::{self, CpuInput};
use plimsoll_sizing::memory::{self, MemoryInput};
use plimsoll_sizing::policy::{Mode, Policy};
use plimsoll_sizing::size::{Size, SizeBounds};
use plimsoll_sizing::verdict::{Keep, Trigger, Verdict};

use super::PURPOSES;
use super::birth::size_at_birth;
use super::bounds::bounds;
use super::draft::Draft;
use super::eligible::{GROWTH_SEEN_WITHIN, LATE_AFTER, container_obstacle};
use super::refusal::Refusal;
use super::view::{ContainerView, NodeView, PodView, millicores};
use super::{limit_ranges, rules};
use crate::resize::Purpose;
use crate::state::LimitRanges;

/// The most steps of one recommended decrease. Each takes a fifth, so fewer lead from the largest number of bytes to the smallest size.
const MOST_STEPS: usize = 200;

/// A share is kept for what may grow again within this time. Longer, and room would be kept from others for too long.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// What the containers of one pod should have: a draft for each resource of each. `number` is its place among the pods of the node.
pub(super) fn drafts(
    node: &NodeView<'_>,
    number: usize,
    pod: &PodView<'_>,
    policy: &Policy,
    now: Moment,
) -> Vec<Draft> {
    let ranges = node.limit_ranges_of(pod);
    let planned = Planned { node, number, pod, policy, ranges, now };
    let mut drafts = Vec::with_capacity(pod.containers.len() * Resource::ALL.len());
    for (place, container) in pod.containers.iter().enumerate() {
        drafts.extend(Resource::ALL.map(|resource| planned.draft(place, resource, container.size(resource))));
    }
    limit_ranges::trim_to_pod_range(&mut drafts, &ranges.pod, &PURPOSES);
    if policy.mode == Mode::Recommend {
        planned.follow_decreases(&mut drafts);
    }
    limit_ranges::keep_within(&mut drafts, pod, &ranges);
    drafts
}

/// A pod, and all that its drafts are made from.
struct Planned<'a> {
    node: &'a NodeView<'a>,
    number: usize,
    pod: &'a PodView<'a>,
    policy: &'a Policy,
    ranges: LimitRanges,
    now: Moment,
}

impl Planned<'_> {
    /// What one resource of a container should have if its size were this.
    fn draft(&self, place: usize, resource: Resource, size: Size) -> Draft {
        let Planned { node, pod, policy, .. } = *self;
        let container = &pod.containers[place];
        let of_class = &policy[resource];
        let owner = container.resource(resource).bounds.and_then(Result::ok).unwrap_or_default();
        let range = self.ranges.container.of(resource);
        let original = container.original[resource];
        let bounds = bounds(of_class, original, size, allocatable(node, resource), owner, range);
        let kept = rules::raise_obstacle(resource, container, pod);
        let decided = decide(container, resource, size, policy, bounds, kept.is_some());
        let Decided { verdict, pressure, wants_request, is_kept } = decided;
        let mut draft = Draft::new(self.number, place, resource, size, verdict);
        draft.pressure = pressure;
        draft.max_ratio = range.max_ratio;
        if let Some(obstacle) = container_obstacle(container, resource, policy) {
            draft.refuse(obstacle);
        } else if let Some((to, siblings)) =
            size_at_birth(pod, container, resource, of_class, bounds).filter(|_| !draft.changes())
        {
            draft.to = to;
            draft.purpose = Some(Purpose::Birth);
            draft.siblings = siblings;
        } else if container.report.is_none() && !container.is_down_after_kill() {
            draft.refuse(Refusal::NoReport);
        } else if verdict == Verdict::Keep(Keep::AtMaximum) && allocatable(node, resource).is_none() {
            draft.refuse(Refusal::RoomUnknown);
        } else if verdict == Verdict::Keep(Keep::AtMaximum) && range.max == Some(bounds.limit.max) {
            draft.refuse(Refusal::LimitRange);
        }
        if is_stale(&draft, pod) && !container.is_down_after_kill() {
            draft.refuse(Refusal::StaleReport);
        }
        if draft.shrinks()
            && let Some(obstacle) = rules::shrink_obstacle(node, resource, policy)
        {
            draft.refuse(obstacle);
        }
        if let Some((message, until)) = container.resource(resource).held
            && draft.changes()
        {
            draft.refuse(Refusal::Failed { message: message.to_owned(), until });
        }
        if let Some(text) = container.resource(resource).drift
            && draft.changes()
        {
            draft.refuse(Refusal::Drift(text.to_owned()));
        }
        rules::apply(&mut draft, container, pod);
        draft.missed = kept.filter(|_| wants_request);
        if let Verdict::Cooldown { left, .. } = verdict
            && draft.changes()
        {
            let until = self.now + left;
            if left <= KEPT_FOR && is_kept {
                draft.waits = Some(until);
            } else {
                draft.refuse(Refusal::Cooldown(until));
            }
        }
        draft
    }

    /// Takes decreases, each planned as one step, to where they end. Nothing is resized, so every further step would be planned from the
    /// same measurements. Growth stays one step: what a container uses once it has more is not known.
    fn follow_decreases(&self, drafts: &mut [Draft]) {
        // What is outside a LimitRange is followed until it comes within; what is within stays so.
        limit_ranges::stay_within(drafts, self.pod, &self.ranges, Purpose::Shrink);
        drafts.iter_mut().for_each(|draft| draft.steps = u32::from(draft.shrinks()));
        let mut follows = drafts.iter().any(Draft::shrinks);
        for _ in 1..MOST_STEPS {
            if !follows {
                return;
            }
            let next = drafts.iter().map(|draft| match draft.purpose {
                Some(Purpose::Shrink) => self.draft(draft.container, draft.resource, draft.to),
                // A growth comes first, or is not made.
                _ => Draft::new(
                    self.number,
                    draft.container,
                    draft.resource,
                    draft.from,
                    Verdict::Keep(Keep::Fits),
                ),
            });
            let mut next: Vec<Draft> = next.collect();
            limit_ranges::trim_to_pod_range(&mut next, &self.ranges.pod, &[Purpose::Shrink]);
            limit_ranges::stay_within(&mut next, self.pod, &self.ranges, Purpose::Shrink);
            follows = false;
            for (draft, next) in drafts.iter_mut().zip(next) {
                follows |= draft.follow(next);
            }
        }
    }
}

/// Whether a change is for a load that was seen too long ago. A birth is for none.
fn is_stale(draft: &Draft, pod: &PodView<'_>) -> bool {
    let within = if draft.grows() { GROWTH_SEEN_WITHIN } else { LATE_AFTER };
    draft.changes() && draft.purpose != Some(Purpose::Birth) && pod.report_age.is_none_or(|age| age > within)
}

/// What the load of one resource of a container calls for.
struct Decided {
    verdict: Verdict,
    pressure: Option<Trigger>,
    /// See [`cpu::wants_request`].
    wants_request: bool,
    /// Whether a share is kept for a growth that waits. Memory only where what cannot be reclaimed is about to reach the limit: another container
    /// might be killed for want of it, and events from before the last growth are known until that is verified.
    is_kept: bool,
}

impl Decided {
    const UNKNOWN: Decided = Decided {
        verdict: Verdict::Keep(Keep::NoData),
        pressure: None,
        wants_request: false,
        is_kept: false,
    };
}

fn decide(
    container: &ContainerView<'_>,
    resource: Resource,
    size: Size,
    policy: &Policy,
    bounds: SizeBounds,
    request_kept: bool,
) -> Decided {
    // Of one that is down its kill is known: it had used its limit.
    let no_usage = ContainerMemory::default();
    let memory = container.report.map(|report| &report.memory);
    let memory = memory.or(container.is_down_after_kill().then_some(&no_usage));
    let seen = container.resource(resource);
    let window = container.report.and_then(|report| report.window);
    let window = window.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match resource {
        Resource::Cpu => {
            let Some(report) = container.report else { return Decided::UNKNOWN };
            let input = CpuInput {
                policy: &policy.cpu,
                up_cooldown: policy.up_cooldown,
                down_hold: policy.down_hold,
                size,
                bounds,
                request_kept,
                usage: &report.cpu,
                window,
                since_growth: seen.since_growth,
                since_shrink: seen.since_shrink,
                since_pressure: seen.since_pressure,
                grown_for: container.cpu_growth.map(|growth| growth.used),
                throttled_to: container.cpu_growth.and_then(|growth| growth.throttled_to),
            };
            Decided {
                verdict: cpu::decide(&input),
                pressure: cpu::calls_for_growth(&input),
                wants_request: cpu::wants_request(&input),
                is_kept: true,
            }
        }
        Resource::Memory => {
            let Some(usage) = memory else { return Decided::UNKNOWN };
            let input = MemoryInput {
                policy: &policy.memory,
                down_hold: policy.down_hold,
                min_window: policy.memory_window,
                size,
                bounds,
                request_kept,
                usage,
                events: container.memory_events,
                window,
                since_growth: seen.since_growth,
                since_shrink: seen.since_shrink,
                since_pressure: seen.since_pressure,
            };
            Decided {
                verdict: memory::decide(&input),
                pressure: memory::calls_for_growth(&input),
                wants_request: memory::wants_request(&input),
                is_kept: memory::nears_limit(&input),
            }
        }
    }
}

/// What pods may request on a node in total, in millicores or bytes.
fn allocatable(node: &NodeView<'_>, resource: Resource) -> Option<u64> {
    match resource {
        Resource::Cpu => node.facts?.allocatable_cpu.map(millicores),
        Resource::Memory => node.facts?.allocatable_memory.map(|bytes| bytes.0),
    }
}
