//! What must hold of every change, whatever the load: which values stay, and when nothing shrinks.

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::size::Size;

use super::PURPOSES;
use super::draft::Draft;
use super::refusal::Refusal;
use super::view::{ContainerView, NodeView, PodView};
use crate::facts::{Range, Ranges};
use crate::resize::{Blocked, Purpose};
use crate::state::LimitRanges;

/// The rules for one resource of a container.
pub(super) fn apply(draft: &mut Draft, container: &ContainerView<'_>, pod: &PodView<'_>) {
    // What Kueue counted may become less; what an autoscaler divides by may not.
    if let Some(reason) = raise_obstacle(draft.resource, container, pod)
        && (draft.grows() || matches!(reason, Refusal::Autoscaled(_)))
    {
        draft.keep_request(reason);
    }
    if draft.grows() {
        draft.cap_at_twice();
        if let Some(Blocked::PodCgroupStale { text }) = &pod.blocked {
            draft.refuse(Refusal::PodCgroupStale(text.clone()));
        }
        // What the kubelet deferred is not asked for again: half of that growth may fit. Step by step would be a resize every minute for hours.
        let deferred = pod.deferred.and_then(|sizes| sizes.get(&container.facts.name));
        let deferred = deferred.and_then(|sizes| sizes[draft.resource].request);
        if let Some((from, deferred)) = draft.from.request.zip(deferred).filter(|(from, to)| to > from) {
            draft.cap(from + (deferred - from) / 2, u64::MAX, Refusal::NoRoom);
        }
    }
    draft.keep_ratio();
}

/// Why the request may not be raised, if that is so.
pub(super) fn raise_obstacle(
    resource: Resource,
    container: &ContainerView<'_>,
    pod: &PodView<'_>,
) -> Option<Refusal> {
    let autoscaler = container.resource(resource).autoscaler;
    let autoscaled = autoscaler.map(|name| Refusal::Autoscaled(name.to_owned()));
    autoscaled.or_else(|| pod.facts.queue_managed.then_some(Refusal::QueueManaged))
}

/// Why nothing shrinks now, if that is so.
pub(super) fn shrink_obstacle(node: &NodeView<'_>, resource: Resource, policy: &Policy) -> Option<Refusal> {
    if let Some(until) = node.decreases_paused {
        return Some(Refusal::DecreasesPaused(until));
    }
    if resource == Resource::Memory && node.memory_shrinks_stopped {
        return Some(Refusal::MemoryShrinksStopped);
    }
    let (weekday, minute) = node.week_time;
    (!policy.may_decrease_at(weekday, minute)).then_some(Refusal::OutsideSchedule)
}

/// The sums over a pod's containers stay within the LimitRange of pods. `drafts` are all of one pod: each container has one per resource.
/// One resize has one purpose: each of `purposes` is held against the sizes of now, as what is planned for another is not sent with it.
pub(super) fn keep_pod_range(drafts: &mut [Draft], ranges: &Ranges, purposes: &[Purpose]) {
    for resource in Resource::ALL {
        let range = ranges.of(resource);
        for purpose in purposes.iter().filter(|_| range != Range::default()) {
            let all = drafts.iter_mut().filter(|draft| draft.resource == resource);
            let all: Vec<&mut Draft> = all.collect();
            let sum = |of: fn(&Size) -> Option<u64>| {
                all.iter().filter_map(|draft| of(&draft.from)).fold(0, u64::saturating_add)
            };
            let (mut requests, mut limits) = (sum(|size| size.request), sum(|size| size.limit));
            let limited = limits > 0;
            for draft in all.into_iter().filter(|draft| draft.is_part_of(*purpose)) {
                // Those of the other containers.
                requests = requests.saturating_sub(draft.from.request.unwrap_or(0));
                limits = limits.saturating_sub(draft.from.limit.unwrap_or(0));
                let sums = |to: Size| {
                    let request = requests.saturating_add(to.request.unwrap_or(0));
                    (request, limits.saturating_add(to.limit.unwrap_or(0)))
                };
                if let Some(max) = range.max {
                    draft.cap(max.saturating_sub(requests), max.saturating_sub(limits), Refusal::LimitRange);
                }
                if let Some(ratio) = range.max_ratio {
                    let max = (sums(draft.to).0 as f64 * ratio) as u64;
                    draft.cap(u64::MAX, max.saturating_sub(limits), Refusal::LimitRange);
                }
                let (request, limit) = sums(draft.to);
                let too_small = range.min.is_some_and(|min| request < min || limited && limit < min);
                let too_far = range.max_ratio.is_some_and(|ratio| limit as f64 > request as f64 * ratio);
                if too_small || too_far {
                    draft.refuse(Refusal::LimitRange);
                }
                (requests, limits) = sums(draft.to);
            }
        }
    }
}

/// What would still be outside a LimitRange is not asked for: the API server holds all of a new size against it, however much nearer it
/// comes. `drafts` are all of one pod.
pub(super) fn keep_within(drafts: &mut [Draft], ranges: &LimitRanges) {
    if *ranges == LimitRanges::default() {
        return;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.changes()) {
        if !ranges.container.of(draft.resource).admits(draft.to) {
            draft.refuse(Refusal::LimitRange);
        }
    }
    let parts = Resource::ALL.into_iter().flat_map(|resource| PURPOSES.map(|purpose| (resource, purpose)));
    for (resource, purpose) in parts {
        let is_part = |draft: &Draft| draft.resource == resource && draft.is_part_of(purpose);
        let sum = |of: fn(&Size) -> Option<u64>| {
            let all = drafts.iter().filter(|draft| draft.resource == resource);
            let after = all.map(|draft| if is_part(draft) { draft.to } else { draft.from });
            after.filter_map(|size| of(&size)).reduce(u64::saturating_add)
        };
        let sums = Size { request: sum(|size| size.request), limit: sum(|size| size.limit) };
        if !ranges.pod.of(resource).admits(sums) {
            // all or none: together they may come within
            let parts = drafts.iter_mut().filter(|draft| is_part(draft));
            parts.for_each(|draft| draft.refuse(Refusal::LimitRange));
        }
    }
}
