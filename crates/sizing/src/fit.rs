//! From what a container needs to the size that it gets: whole steps, bounds, the largest change at once, and what must not change.
//! CPU and memory share it.

use crate::policy::{ControlledValues, ResourcePolicy};
use crate::size::{Bounds, Size, SizeBounds};
use crate::verdict::Keep;

/// The largest shrink at once, as a share of the current size; at least one step.
const SHRINK_STEP: f64 = 0.20;

/// What limits the change of one resource of one container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit<'a> {
    pub(crate) policy: &'a ResourcePolicy,
    pub(crate) size: Size,
    pub(crate) bounds: SizeBounds,
    /// Sizes are multiples of this, millicores or bytes.
    pub(crate) step: u64,
}

/// What a container needs, in millicores or bytes; absent: that value is not to change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Need {
    pub(crate) request: Option<f64>,
    pub(crate) limit: Option<f64>,
}

/// Growth or shrink of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fitted {
    To(u64),
    Kept(Keep),
}

impl Fit<'_> {
    /// Whether request and limit are the same: then they stay so, and the limit's target decides.
    pub(crate) fn is_equal(&self) -> bool {
        self.size.request.is_some() && self.size.request == self.size.limit
    }

    /// The size after growth toward `need`. No value falls.
    ///
    /// # Errors
    /// Why nothing grows.
    pub(crate) fn grow(&self, need: Need) -> Result<Size, Keep> {
        if self.size == Size::default() {
            return Err(Keep::NotSet);
        }
        let (requests, limits) = self.controlled(self.policy.allow_increase);
        let needed = |size: Option<u64>, need: Option<f64>| size.zip(need.filter(|need| need.is_finite()));
        let limit = needed(self.size.limit, need.limit);
        if self.is_equal() {
            let bounds = self.common_bounds();
            return both(limit.map(|(size, need)| self.up(size, need, bounds).allowed(requests && limits)));
        }
        let limit = limit.map(|(size, need)| self.up(size, need, self.bounds.limit).allowed(limits));
        let request = needed(self.size.request, need.request).map(|(size, need)| {
            // below the limit, where it was: the QoS class of the pod cannot change
            let below_limit = after(self.size.limit, limit).map(|limit| limit.saturating_sub(self.step));
            let max = below_limit.unwrap_or(u64::MAX).min(self.bounds.request.max);
            self.up(size, need, Bounds { max, ..self.bounds.request }).allowed(requests)
        });
        self.combine(request, limit)
    }

    /// The size after a shrink toward `need`. No value rises.
    ///
    /// # Errors
    /// Why nothing shrinks.
    pub(crate) fn shrink(&self, need: Need) -> Result<Size, Keep> {
        if self.size == Size::default() {
            return Err(Keep::NotSet);
        }
        let (requests, limits) = self.controlled(self.policy.allow_decrease);
        let needed = |size: Option<u64>, need: Option<f64>| size.zip(need.filter(|need| need.is_finite()));
        let limit = needed(self.size.limit, need.limit);
        if self.is_equal() {
            let bounds = self.common_bounds();
            return both(limit.map(|(size, need)| self.down(size, need, bounds).allowed(requests && limits)));
        }
        let request = needed(self.size.request, need.request)
            .map(|(size, need)| self.down(size, need, self.bounds.request).allowed(requests));
        let limit = limit.map(|(size, need)| {
            let request = after(self.size.request, request);
            let above_request = request.map_or(0, |request| request.saturating_add(self.step));
            let min = self.bounds.limit.min.max(above_request);
            self.down(size, need, Bounds { min, ..self.bounds.limit }).allowed(limits)
        });
        self.combine(request, limit)
    }

    /// Whether requests and limits may change.
    fn controlled(&self, direction_allowed: bool) -> (bool, bool) {
        let (requests, limits) = match self.policy.controlled_values {
            ControlledValues::RequestsAndLimits => (true, true),
            ControlledValues::RequestsOnly => (true, false),
            ControlledValues::LimitsOnly => (false, true),
        };
        (requests && direction_allowed, limits && direction_allowed)
    }

    /// What request and limit may be where they are the same.
    fn common_bounds(&self) -> Bounds {
        let (request, limit) = (self.bounds.request, self.bounds.limit);
        Bounds { min: request.min.max(limit.min), max: request.max.min(limit.max) }
    }

    fn up(&self, size: u64, need: f64, bounds: Bounds) -> Fitted {
        // always enough for a change that is made: 10m cannot grow by half of itself, and nothing by 4 %
        let at_once = (size as f64 * (1.0 + self.policy.max_step.max(0.0))) as u64;
        let smallest = size.saturating_add(least_change(size)).div_ceil(self.step).saturating_mul(self.step);
        let at_once = (at_once / self.step * self.step).max(self.next_step(size)).max(smallest);
        let wanted = self.whole_steps(need).max(bounds.min).max(self.step).min(at_once);
        if wanted <= size {
            return Fitted::Kept(Keep::Fits);
        }
        let bounded = wanted.min(bounds.max);
        match bounded > size && !is_small(size, bounded) {
            true => Fitted::To(bounded),
            false if is_small(size, wanted) => Fitted::Kept(Keep::TooSmall),
            false => Fitted::Kept(Keep::AtMaximum),
        }
    }

    fn down(&self, size: u64, need: f64, bounds: Bounds) -> Fitted {
        // always enough for a change that is made: a fifth of 40m rounds to nothing
        let smallest = size.saturating_sub(least_change(size)) / self.step * self.step;
        let at_once =
            self.whole_steps(size as f64 * (1.0 - SHRINK_STEP)).min(self.previous_step(size)).min(smallest);
        let wanted = self.whole_steps(need).max(self.step).max(at_once);
        if wanted >= size {
            return Fitted::Kept(Keep::Fits);
        }
        let bounded = wanted.max(bounds.min);
        match bounded < size && !is_small(size, bounded) {
            true => Fitted::To(bounded),
            false if is_small(size, wanted) => Fitted::Kept(Keep::TooSmall),
            false => Fitted::Kept(Keep::AtMinimum),
        }
    }

    /// A size, if one of the two changes; else the reason that tells most.
    fn combine(&self, request: Option<Fitted>, limit: Option<Fitted>) -> Result<Size, Keep> {
        let after = Size { request: after(self.size.request, request), limit: after(self.size.limit, limit) };
        if after != self.size {
            return Ok(after);
        }
        let kept = [limit, request].into_iter().flatten().filter_map(|fitted| match fitted {
            Fitted::Kept(keep) => Some(keep),
            Fitted::To(_) => None,
        });
        Err(kept
            .reduce(|first, second| if matches!(first, Keep::Fits) { second } else { first })
            .unwrap_or(Keep::Fits))
    }

    /// Rounded up to whole steps.
    fn whole_steps(&self, amount: f64) -> u64 {
        // less a billionth, so that a quotient such as 0.3 / 0.6 does not become one step more
        ((amount / self.step as f64 - 1e-9).ceil().max(0.0) as u64).saturating_mul(self.step)
    }

    fn next_step(&self, size: u64) -> u64 {
        (size / self.step).saturating_add(1).saturating_mul(self.step)
    }

    fn previous_step(&self, size: u64) -> u64 {
        size.saturating_sub(1) / self.step * self.step
    }
}

impl Fitted {
    /// The same, unless the class keeps the value from changing.
    fn allowed(self, allowed: bool) -> Self {
        match self {
            Fitted::To(_) if !allowed => Fitted::Kept(Keep::NotAllowed),
            fitted => fitted,
        }
    }
}

fn after(size: Option<u64>, fitted: Option<Fitted>) -> Option<u64> {
    match fitted {
        Some(Fitted::To(to)) => Some(to),
        _ => size,
    }
}

/// One value for request and limit.
fn both(fitted: Option<Fitted>) -> Result<Size, Keep> {
    match fitted {
        Some(Fitted::To(to)) => Ok(Size { request: Some(to), limit: Some(to) }),
        Some(Fitted::Kept(keep)) => Err(keep),
        None => Err(Keep::Fits),
    }
}

/// The least change of a value that is worth a resize: 5 % of it.
pub fn least_change(of: u64) -> u64 {
    of.div_ceil(20)
}

fn is_small(from: u64, to: u64) -> bool {
    from.abs_diff(to) < least_change(from)
}

/// A number that a decision may rest on.
pub(crate) fn known(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

/// The larger one; absent only if both are.
pub(crate) fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().reduce(f64::max)
}
