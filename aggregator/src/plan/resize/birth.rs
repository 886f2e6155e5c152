//! A new replica starts at the size that its siblings have come to, instead of learning it again under load.
//!
//! Only upward, and at most to twice its template's size at once: a start often takes more than the time after it, and nothing is known of
//! this replica yet. Where its siblings are smaller it shrinks by its own numbers, later.

use plimsoll_contract::Resource;
use plimsoll_sizing::least_change;
use plimsoll_sizing::policy::{ControlledValues, ResourcePolicy};
use plimsoll_sizing::size::{Bounds, Size, SizeBounds};

use super::view::{ContainerView, PodView, size};
use crate::facts::ContainerFacts;

/// Time for which a pod counts as new. After it the numbers of its own 30 s decide.
pub(crate) const NEW_FOR: std::time::Duration = std::time::Duration::from_secs(60);
/// The numbers of a container that was watched for so many seconds decide: its 95th percentile is complete.
const OWN_DATA: f64 = 30.0;
/// Siblings that are looked at: enough for a median, also of a large DaemonSet.
pub(crate) const MAX_SIBLINGS: usize = 101;
/// Pods that are looked at to find them.
pub(crate) const MAX_LOOKED_AT: usize = 202;

/// The size at birth, and of how many siblings it is the median; absent where it is not larger than the size now by as much as is worth a
/// resize, where the class does not let it grow, or where the container has numbers of its own.
pub(super) fn size_at_birth(
    pod: &PodView<'_>,
    container: &ContainerView<'_>,
    resource: Resource,
    of_class: &ResourcePolicy,
    bounds: SizeBounds,
) -> Option<(Size, usize)> {
    let has_data = container.report.and_then(|report| report.window).is_some_and(|window| window >= OWN_DATA);
    if !pod.newborn || has_data || !of_class.allow_increase {
        return None;
    }
    let same = |sibling: &&ContainerFacts| sibling.name == container.facts.name && sibling.running;
    let siblings = pod.siblings.iter().filter_map(|sibling| sibling.containers.iter().find(same));
    let sizes: Vec<Size> = siblings.map(|sibling| size(&sibling.spec, resource)).collect();
    let from = container.size(resource);
    let value = |of: fn(&Size) -> Option<u64>, bounds: Bounds, is_fixed: bool| {
        let now = of(&from)?;
        let larger = median(sizes.iter().filter_map(of).collect())
            .map(|median| median.clamp(bounds.min, bounds.max.max(bounds.min)))
            .filter(|to| !is_fixed && *to >= now.saturating_add(least_change(now)));
        Some(larger.unwrap_or(now))
    };
    let controlled = of_class.controlled_values;
    let request = value(|size| size.request, bounds.request, controlled == ControlledValues::LimitsOnly);
    let limit = value(|size| size.limit, bounds.limit, controlled == ControlledValues::RequestsOnly);
    let to = match from.request == from.limit {
        true => Size { request: request.min(limit), limit: request.min(limit) },
        // The medians of the two may come from different siblings: the request stays below the limit.
        false => match (request, limit, from.request) {
            (Some(request), Some(limit), Some(now)) if request >= limit => {
                Size { request: Some(now), limit: Some(limit) }
            }
            _ => Size { request, limit },
        },
    };
    (to != from).then_some((to, sizes.len()))
}

/// The lower of the two in the middle.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}
