//! LimitRanges. With each resize the API server holds all of the pod against them as if it were new, and sets their defaults: what comes nearer
//! to a range and is outside still is refused, and so is any change beside something else that is outside.

use plimsoll_contract::Resource;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_sizing::policy::Mode;
use plimsoll_sizing::size::Size;

use super::PURPOSES;
use super::draft::Draft;
use super::headroom::at_once;
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

/// What the API server would refuse is not asked for. `drafts` are all of one pod. What is only recommended is held against ranges where it changes
/// something: the API server is asked about the rest.
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
        Resource::ALL.iter().for_each(|resource| keep_one_within(drafts, pod, ranges, *resource, purpose));
        let is_applied = pod.policy().is_some_and(|policy| policy.mode == Mode::Apply);
        if is_applied && !is_admitted(drafts, pod, ranges, |draft| draft.after(purpose)) {
            let parts = drafts.iter_mut().filter(|draft| draft.is_part_of(purpose));
            parts.for_each(|draft| draft.refuse(Refusal::LimitRange));
        }
    }
}

/// Keeps a resize for this purpose from leaving ranges. What is outside of one may change as if there were none.
pub(super) fn stay_within(drafts: &mut [Draft], pod: &PodView<'_>, ranges: &LimitRanges, purpose: Purpose) {
    for resource in Resource::ALL {
        if sums_fit(drafts, pod, &ranges.pod, resource, |draft| draft.from) {
            keep_one_within(drafts, pod, ranges, resource, purpose);
        }
    }
}

/// Keeps one resource within its ranges in a resize for this purpose, as far as it begins there, and takes it there together or not at all.
fn keep_one_within(
    drafts: &mut [Draft],
    pod: &PodView<'_>,
    ranges: &LimitRanges,
    resource: Resource,
    purpose: Purpose,
) {
    let parts = |drafts: &[Draft]| -> Vec<usize> {
        let is_part = |i: &usize| drafts[*i].resource == resource && drafts[*i].is_part_of(purpose);
        (0..drafts.len()).filter(is_part).collect()
    };
    let range = ranges.container.of(resource);
    for part in parts(drafts) {
        if range.admits(drafts[part].from) && !range.admits(drafts[part].to) {
            drafts[part].refuse(Refusal::LimitRange);
        }
    }
    let fits = |drafts: &[Draft]| sums_fit(drafts, pod, &ranges.pod, resource, |draft| draft.after(purpose));
    if fits(drafts) {
        return;
    }
    let parts = parts(drafts);
    let wanted: Vec<Size> = parts.iter().map(|part| drafts[*part].to).collect();
    parts.iter().for_each(|part| drafts[*part].to = drafts[*part].from);
    let begins_within = fits(drafts);
    for (part, to) in parts.iter().zip(&wanted) {
        drafts[*part].to = *to;
        if begins_within && !fits(drafts) {
            drafts[*part].refuse(Refusal::LimitRange);
        }
    }
    // Together they may come within where each alone would not: one after the other is left out.
    for part in parts.into_iter().rev() {
        if fits(drafts) {
            return;
        }
        drafts[part].refuse(Refusal::LimitRange);
    }
}

/// Whether the API server admits the pod with these sizes. Containers without a draft have those of the spec.
pub(super) fn is_admitted(
    drafts: &[Draft],
    pod: &PodView<'_>,
    ranges: &LimitRanges,
    size_of: impl Fn(&Draft) -> Size + Copy,
) -> bool {
    *ranges == LimitRanges::default()
        || Resource::ALL.into_iter().all(|resource| {
            let range = ranges.container.of(resource);
            sizes(drafts, pod, resource, size_of).all(|(_, size)| range.admits(size))
                && sums_fit(drafts, pod, &ranges.pod, resource, size_of)
        })
}

/// Whether the range of pods admits the sums of these sizes.
pub(super) fn sums_fit(
    drafts: &[Draft],
    pod: &PodView<'_>,
    ranges: &Ranges,
    resource: Resource,
    size_of: impl Fn(&Draft) -> Size + Copy,
) -> bool {
    let range = ranges.of(resource);
    let sum = |of: fn(Size) -> Option<u64>| {
        let all = || sizes(drafts, pod, resource, size_of).map(|(kind, size)| (kind, of(size)));
        let is_set = all().any(|(_, value)| value.is_some());
        is_set.then(|| at_once(all().map(|(kind, value)| (kind, value.unwrap_or(0)))))
    };
    range == Range::default()
        || range.admits(Size { request: sum(|size| size.request), limit: sum(|size| size.limit) })
}

/// The sizes of all containers, in the order of the spec.
fn sizes<'a>(
    drafts: &'a [Draft],
    pod: &'a PodView<'_>,
    resource: Resource,
    size_of: impl Fn(&Draft) -> Size + 'a,
) -> impl Iterator<Item = (ContainerKind, Size)> + 'a {
    let containers = pod.facts.containers.iter().filter(|one| one.kind != ContainerKind::Ephemeral);
    containers.map(move |container| {
        let is_its = |draft: &&Draft| {
            draft.resource == resource && pod.containers[draft.container].facts.name == container.name
        };
        let draft = drafts.iter().find(is_its);
        (container.kind, draft.map_or_else(|| size(&container.spec, resource), &size_of))
    })
}
