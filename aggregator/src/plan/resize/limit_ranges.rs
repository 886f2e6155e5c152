//! LimitRanges. With each resize the API server holds all of the pod against them as if it were new, and sets their defaults: what comes nearer
//! to a range and is outside still is refused, and so is any change beside something else that is outside.

use plimsoll_contract::Resource;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_sizing::size::Size;

use super::PURPOSES;
use super::draft::Draft;
use super::refusal::Refusal;
use super::view::{PodView, size};
use crate::facts::{Range, Ranges};
use crate::resize::Purpose;
use crate::state::LimitRanges;

/// What keeps a pod from being resized that is older than a LimitRange of its namespace: with any resize the API server sets the range's
/// defaults on all containers without requests or limits of their own, and a limit may be less than what is used.
pub(super) fn default_obstacle(pod: &PodView<'_>, ranges: &Ranges) -> Option<Refusal> {
    let containers =
        pod.facts.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral);
    let mut all = containers.flat_map(|container| Resource::ALL.map(|resource| (container, resource)));
    all.find_map(|(container, resource)| {
        let (Size { request, limit }, range) = (size(&container.spec, resource), ranges.of(resource));
        let value = match (request, limit) {
            (_, None) if range.default_limit => "limit",
            // a limit alone is the request too
            (None, None) if range.default_request => "request",
            _ => return None,
        };
        let what = format!("{} {value} of container {}", resource.as_str(), container.name);
        Some(Refusal::LimitRangeDefault(what))
    })
}

/// Trims growth so that the sums over a pod's containers stay within the range of pods. `drafts` are all of one pod: each container has one per
/// resource. One resize has one purpose: each of `purposes` is held against the sizes of now, as what is planned for another is not sent with it.
pub(super) fn trim_to_pod_range(drafts: &mut [Draft], ranges: &Ranges, purposes: &[Purpose]) {
    for resource in Resource::ALL {
        let range = ranges.of(resource);
        for purpose in purposes.iter().filter(|_| range != Range::default()) {
            let all = drafts.iter_mut().filter(|draft| draft.resource == resource);
            let all: Vec<&mut Draft> = all.collect();
            let sum = |of: fn(&Size) -> Option<u64>| {
                all.iter().filter_map(|draft| of(&draft.from)).fold(0, u64::saturating_add)
            };
            let (mut requests, mut limits) = (sum(|size| size.request), sum(|size| size.limit));
            for draft in all.into_iter().filter(|draft| draft.is_part_of(*purpose)) {
                // Those of the other containers.
                requests = requests.saturating_sub(draft.from.request.unwrap_or(0));
                limits = limits.saturating_sub(draft.from.limit.unwrap_or(0));
                if let Some(max) = range.max {
                    draft.cap(max.saturating_sub(requests), max.saturating_sub(limits), Refusal::LimitRange);
                }
                if let Some(ratio) = range.max_ratio {
                    let request = requests.saturating_add(draft.to.request.unwrap_or(0));
                    let max = (request as f64 * ratio) as u64;
                    draft.cap(u64::MAX, max.saturating_sub(limits), Refusal::LimitRange);
                }
                requests = requests.saturating_add(draft.to.request.unwrap_or(0));
                limits = limits.saturating_add(draft.to.limit.unwrap_or(0));
            }
        }
    }
}

/// What the API server would refuse is not asked for. `drafts` are all of one pod.
pub(super) fn keep_within(drafts: &mut [Draft], pod: &PodView<'_>, ranges: &LimitRanges) {
    if *ranges == LimitRanges::default() {
        return;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.changes()) {
        if !ranges.container.of(draft.resource).admits(draft.to) {
            draft.refuse(Refusal::LimitRange);
        }
    }
    for purpose in PURPOSES {
        let after = |draft: &Draft| if draft.is_part_of(purpose) { draft.to } else { draft.from };
        // Together they may come within where each alone would not: one after the other is left out.
        while let Some(last) = drafts.iter().rposition(|draft| draft.is_part_of(purpose)) {
            if is_admitted(drafts, pod, ranges, after) {
                break;
            }
            drafts[last].refuse(Refusal::LimitRange);
        }
    }
}

/// Whether the API server admits the pod with these sizes; init containers have those of its spec.
pub(super) fn is_admitted(
    drafts: &[Draft],
    pod: &PodView<'_>,
    ranges: &LimitRanges,
    size_of: impl Fn(&Draft) -> Size,
) -> bool {
    *ranges == LimitRanges::default()
        || Resource::ALL.into_iter().all(|resource| {
            let at_once = drafts.iter().filter(|draft| draft.resource == resource).map(&size_of);
            let before = pod.facts.containers.iter().filter(|one| one.kind == ContainerKind::Init);
            let before = before.map(|container| size(&container.spec, resource));
            let sum = |of: fn(&Size) -> Option<u64>| {
                let together = at_once.clone().filter_map(|size| of(&size)).reduce(u64::saturating_add);
                before.clone().filter_map(|size| of(&size)).chain(together).max()
            };
            let sums = Size { request: sum(|size| size.request), limit: sum(|size| size.limit) };
            let range = ranges.container.of(resource);
            at_once.clone().chain(before.clone()).all(|size| range.admits(size))
                && ranges.pod.of(resource).admits(sums)
        })
}
