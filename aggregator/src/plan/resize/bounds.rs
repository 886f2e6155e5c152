//! The least and the most that a request or limit may become: what the class says, within it what the owner says, and what a LimitRange
//! of the namespace enforces.

use plimsoll_sizing::policy::ResourcePolicy;
use plimsoll_sizing::size::{Bounds, Size, SizeBounds};

use crate::facts::{Range, UserBounds};

/// The bounds of one resource of a container. Bounds of the owner that cannot be read are an obstacle, not a bound.
pub(crate) fn bounds(
    policy: &ResourcePolicy,
    original: Size,
    size: Size,
    allocatable: Option<u64>,
    owner: UserBounds,
    range: Range,
) -> SizeBounds {
    let class = policy.bounds(original, size, allocatable);
    let within = |class: Bounds| {
        let min = [Some(class.min), owner.min, range.min].into_iter().flatten().max();
        let max = [Some(class.max), owner.max, range.max].into_iter().flatten().min();
        let max = max.unwrap_or(class.max);
        // Where they contradict each other, the smaller size holds: a LimitRange refuses the larger.
        Bounds { min: min.unwrap_or(class.min).min(max), max }
    };
    SizeBounds { request: within(class.request), limit: within(class.limit) }
}
