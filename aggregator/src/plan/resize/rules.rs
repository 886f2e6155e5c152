//! What must hold of every change, whatever the load: which values stay, and when nothing shrinks.

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::Policy;

use super::draft::Draft;
use super::refusal::Refusal;
use super::view::{ContainerView, NodeView, PodView};
use crate::resize::Blocked;

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
