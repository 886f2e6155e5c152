//! What an SLA class says, as effective values: how one pod is to be sized.

use std::ops::Index;
use std::time::Duration;

use plimsoll_contract::Resource;
use serde::{Deserialize, Serialize};

use crate::size::{Bounds, Size, SizeBounds};

mod builtin;
#[cfg(test)]
mod tests;

/// A class, as it applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Name of the class, as its object is called: `gold`.
    pub class: String,
    /// Classes of a lower rank are served first: gold 0, silver 1, bronze 2.
    pub rank: u32,
    /// Share in the division `weighted`: gold 4, silver 2, bronze 1.
    pub weight: f64,
    /// Whether sizes are only recommended.
    pub mode: Mode,
    /// CPU; amounts in millicores.
    pub cpu: ResourcePolicy,
    /// Memory; amounts in bytes.
    pub memory: ResourcePolicy,
    /// Shortest time between two growths of CPU. That of memory is [`MEMORY_UP_COOLDOWN`] in every class.
    pub up_cooldown: Duration,
    /// How long nothing may have called for growth before a shrink, and from any growth to a shrink.
    pub down_hold: Duration,
    /// How long memory must have been watched before it may shrink: 24 h for gold, 6 h for the others.
    pub memory_window: Duration,
    /// Whether a resource whose resize restarts the container (`RestartContainer`) is resized.
    pub allow_restart: bool,
    /// When sizes may be decreased; empty: always.
    pub schedule: Vec<Window>,
}

/// Cooldown of memory growth.
pub const MEMORY_UP_COOLDOWN: Duration = Duration::from_secs(5);

/// How long a shrink is watched: throttling, pressure or a memory event undoes it. The next shrink waits as long.
pub const SHRINK_COOLDOWN: Duration = Duration::from_secs(60);

impl Policy {
    /// Whether sizes may be decreased at this time of the week: day (Monday 1 to Sunday 7) and minute after midnight, UTC.
    pub fn may_decrease_at(&self, weekday: u8, minute: u16) -> bool {
        self.schedule.is_empty() || self.schedule.iter().any(|window| window.contains(weekday, minute))
    }
}

impl Index<Resource> for Policy {
    type Output = ResourcePolicy;

    fn index(&self, resource: Resource) -> &ResourcePolicy {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }
}

/// Whether a class changes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Sizes are served to people; nothing is written.
    Recommend,
    /// Pods are resized.
    Apply,
}

/// How one resource is sized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourcePolicy {
    /// Usage over limit to reach, 0 to 1.
    pub target_of_limit: f64,
    /// Usage over request to reach, 0 to 1.
    pub target_of_request: f64,
    /// Largest growth at once, as a share of the current size: 1.0 doubles it.
    pub max_step: f64,
    /// Lower bound.
    pub min_allowed: Bound,
    /// Upper bound; absent: only [`NODE_SHARE`] of the node bounds it.
    pub max_allowed: Option<Bound>,
    /// What is changed.
    pub controlled_values: ControlledValues,
    /// Whether it may grow.
    pub allow_increase: bool,
    /// Whether it may shrink.
    pub allow_decrease: bool,
}

impl ResourcePolicy {
    /// Whether requests may be raised, as far as the class goes.
    pub(crate) fn raises_requests(&self) -> bool {
        self.allow_increase && self.controlled_values != ControlledValues::LimitsOnly
    }

    /// What a container is kept within.
    ///
    /// `original` is its size before our first resize: percentages are of that, and it is within the bounds, unless `maxAllowed` is less.
    /// `size` is its size now. `allocatable` is what its node has for pods: an original that is more than that was never given, and counts
    /// as that. While it is not known, nothing grows.
    pub fn bounds(&self, original: Size, size: Size, allocatable: Option<u64>) -> SizeBounds {
        // where only a limit is set, Kubernetes takes it for the request
        let request = |size: Size| size.request.or(size.limit).unwrap_or(0);
        let limit = |size: Size| size.limit.or(size.request).unwrap_or(0);
        SizeBounds {
            request: self.value_bounds(request(original), request(size), allocatable),
            limit: self.value_bounds(limit(original), limit(size), allocatable),
        }
    }

    fn value_bounds(&self, original: u64, now: u64, allocatable: Option<u64>) -> Bounds {
        let original = original.min(allocatable.unwrap_or(now).max(now));
        let node = allocatable.map_or(now, |all| (all as f64 * NODE_SHARE) as u64).max(original);
        let max = match self.max_allowed {
            Some(Bound::Amount(amount)) => amount,
            Some(share) => share.of(original).min(node),
            None => node,
        };
        Bounds { min: self.min_allowed.of(original).min(max), max }
    }
}

/// The most that one container may get of its node's allocatable, unless `maxAllowed` is an amount.
pub const NODE_SHARE: f64 = 0.5;

/// One bound of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Millicores or bytes.
    Amount(u64),
    /// Percent of the size before our first resize.
    OfOriginal(u32),
}

impl Bound {
    /// The amount, for a container of this original size.
    fn of(self, original: u64) -> u64 {
        match self {
            Bound::Amount(amount) => amount,
            Bound::OfOriginal(percent) => original.saturating_mul(u64::from(percent)) / 100,
        }
    }
}

/// Which of the two values of a resource are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlledValues {
    /// Both, where they are set.
    RequestsAndLimits,
    /// Requests.
    RequestsOnly,
    /// Limits.
    LimitsOnly,
}

/// A time of the week in which sizes may be decreased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Days, Monday 1 to Sunday 7; empty: every day.
    pub days: Vec<u8>,
    /// Minutes after midnight UTC.
    pub from: u16,
    /// Minutes after midnight UTC; not after `from`: it ends the next day.
    pub to: u16,
}

impl Window {
    /// Whether it is open then. One that ends the next day belongs to the day that it begins on.
    fn contains(&self, weekday: u8, minute: u16) -> bool {
        let begins_on = |day: u8| self.days.is_empty() || self.days.contains(&day);
        let day_before = if weekday <= 1 { 7 } else { weekday - 1 };
        if self.from < self.to {
            return begins_on(weekday) && (self.from..self.to).contains(&minute);
        }
        (begins_on(weekday) && minute >= self.from) || (begins_on(day_before) && minute < self.to)
    }
}
