//! What must hold of every change, whatever the load: which values stay, and when nothing shrinks.

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::Policy;

use super::draft::Draft;
use super::refusal::Refusal;
use super::view::{ContainerView, NodeView, PodView};
use crate::facts::{Range, Ranges};
use crate::resize::Blocked;

/// The rules for one resource of a container.
pub(super) fn apply(draft: &mut Draft, container: &ContainerView<'_>, pod: &PodView<'_>, range: Range) {
    if let Some(autoscaler) = container.resource(draft.resource).autoscaler {
        draft.keep_request(Refusal::Autoscaled(autoscaler.to_owned()));
    }
    if pod.facts.queue_managed && draft.grows() {
        draft.keep_request(Refusal::QueueManaged);
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
    keep_ratio(draft, range);
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

/// A limit is at most so many times the request.
fn keep_ratio(draft: &mut Draft, range: Range) {
    let Some(ratio) = range.max_ratio else { return };
    let fits = |draft: &Draft| match (draft.to.request, draft.to.limit) {
        (Some(request), Some(limit)) => limit as f64 <= request as f64 * ratio,
        _ => true,
    };
    if !draft.changes() || fits(draft) {
        return;
    }
    let Some((request, limit)) = draft.to.request.zip(draft.to.limit) else { return };
    if draft.grows() {
        draft.cap(u64::MAX, (request as f64 * ratio) as u64, Refusal::LimitRange);
    } else {
        let least = (limit as f64 / ratio).ceil() as u64;
        let least = least.div_ceil(draft.step()).saturating_mul(draft.step());
        draft.to.request = draft.from.request.map(|from| request.max(least).min(from));
        draft.refusal = Some(Refusal::LimitRange);
    }
    if !fits(draft) {
        draft.refuse(Refusal::LimitRange);
    }
}

/// The sums over a pod's containers stay within the LimitRange of pods. `drafts` are all of one pod: each container has one per resource.
pub(super) fn keep_pod_range(drafts: &mut [Draft], ranges: &Ranges) {
    for resource in Resource::ALL {
        let range = ranges.of(resource);
        if range == Range::default() {
            continue;
        }
        let (mut requests, mut limits) = (0_u64, 0_u64);
        for draft in drafts.iter().filter(|draft| draft.resource == resource) {
            requests = requests.saturating_add(draft.from.request.unwrap_or(0));
            limits = limits.saturating_add(draft.from.limit.unwrap_or(0));
        }
        for draft in drafts.iter_mut().filter(|draft| draft.resource == resource && draft.changes()) {
            if let Some(max) = range.max {
                let most =
                    |value: Option<u64>, sum: u64| value.unwrap_or(0).saturating_add(max.saturating_sub(sum));
                let (request, limit) = (most(draft.from.request, requests), most(draft.from.limit, limits));
                draft.cap(request, limit, Refusal::LimitRange);
            }
            let after = |sum: u64, from: Option<u64>, to: Option<u64>| {
                sum.saturating_add(to.unwrap_or(0)).saturating_sub(from.unwrap_or(0))
            };
            let sums = |draft: &Draft| {
                (
                    after(requests, draft.from.request, draft.to.request),
                    after(limits, draft.from.limit, draft.to.limit),
                )
            };
            let (request_sum, limit_sum) = sums(draft);
            let too_small = range.min.is_some_and(|min| request_sum < min);
            let too_far = range.max_ratio.is_some_and(|ratio| limit_sum as f64 > request_sum as f64 * ratio);
            if too_small || too_far {
                draft.refuse(Refusal::LimitRange);
            }
            (requests, limits) = sums(draft);
        }
    }
}
