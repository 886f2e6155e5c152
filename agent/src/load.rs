//! From usage to utilization: what it is relative to, and how it is smoothed.
//!
//! Pure. Smoothing is done in *usage units* (cores, bytes), then divided by the current basis: a basis that changes rescales
//! the utilization at once, and [`Path`] shows this by having no length, so that `classify` starts its dwell at the change.
//! Nothing here returns a number that was not measured. Proof: `load/tests.rs`.

use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{Basis, Bytes, Cores, Limit, Moment};

use crate::profile::Profile;

/// What a utilization is relative to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Denominator {
    pub(crate) basis: Basis,
    /// Cores or bytes, positive and finite.
    pub(crate) amount: f64,
}

/// What is known of a container's CPU request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Request {
    /// The roster does not list the container yet.
    Unknown,
    /// There is none, or no roster to name it.
    None,
    /// This many cores.
    Of(Cores),
}

/// The smallest denominators: a thousandth of a core, one byte.
const MIN_CORES: f64 = 0.001;
const MIN_BYTES: f64 = 1.0;

/// The basis of CPU utilization, or why there is none: an enforced quota (at most the node's CPUs), else the request (at least
/// `floor`), else the node.
pub(crate) fn cpu_basis(
    limit: Limit<Cores>,
    request: Request,
    node: Option<Capacity>,
    floor: f64,
) -> Result<Denominator, UnknownReason> {
    let (basis, amount) = match (limit, request) {
        (Limit::Of(limit), _) if limit.0.is_nan() => return Err(UnknownReason::Malformed),
        (Limit::Of(limit), _) => (Basis::Limit, node.map_or(limit.0, |node| limit.0.min(node.cores.0))),
        (Limit::Unlimited, Request::Unknown) => return Err(UnknownReason::RequestUnknown),
        (Limit::Unlimited, Request::Of(request)) if request.0 > 0.0 => (Basis::Request, request.0.max(floor)),
        (Limit::Unlimited, _) => (Basis::Node, node.ok_or(UnknownReason::WarmingUp)?.cores.0),
    };
    denominator(basis, amount, MIN_CORES)
}

/// The basis of memory utilization, or why there is none: an enforced limit (at most the node's memory), else the node.
pub(crate) fn memory_basis(
    limit: Limit<Bytes>,
    node: Option<Capacity>,
) -> Result<Denominator, UnknownReason> {
    let (basis, amount) = match limit {
        Limit::Of(limit) => (Basis::Limit, node.map_or(limit, |node| limit.min(node.bytes))),
        Limit::Unlimited => (Basis::Node, node.ok_or(UnknownReason::WarmingUp)?.bytes),
    };
    denominator(basis, amount.as_f64(), MIN_BYTES)
}

fn denominator(basis: Basis, amount: f64, min: f64) -> Result<Denominator, UnknownReason> {
    if amount.is_finite() && amount >= 0.0 {
        Ok(Denominator { basis, amount: amount.max(min) })
    } else {
        Err(UnknownReason::Malformed)
    }
}

/// A smoothed usage (EWMA with a half-life), and how it changed during the last sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Smoothed {
    value: f64,
    /// The first sample, and the share of it that is still in `value`.
    first: f64,
    remainder: f64,
    /// The value before the last sample.
    from: f64,
    /// The last sample, unsmoothed.
    latest: f64,
    start: Moment,
    end: Moment,
    since: Moment,
}

impl Smoothed {
    /// Starts at the first sample.
    pub(crate) fn new(start: Moment, end: Moment, usage: f64) -> Self {
        Smoothed {
            value: usage,
            first: usage,
            remainder: 1.0,
            from: usage,
            latest: usage,
            start: end,
            end,
            since: start,
        }
    }

    /// Adds the mean usage between two moments. After more than `profile.retention` without data it starts over.
    pub(crate) fn add(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        if start.since(self.end) > profile.retention {
            *self = Smoothed::new(start, end, usage);
            return;
        }
        let start = start.max(end.earlier_by(profile.longest_gap()));
        let remaining = remaining_share(end.since(start), profile.half_life);
        (self.from, self.latest, self.start, self.end) = (self.value, usage, start, end);
        self.value = usage + (self.value - usage) * remaining;
        self.remainder *= remaining;
    }

    /// As if it had started from where `earlier` stopped: exact, because smoothing is linear in its start.
    pub(crate) fn continue_from(&mut self, earlier: &Smoothed) {
        let shift = earlier.value - self.first;
        self.value = (self.value + shift * self.remainder).max(0.0);
        (self.from, self.start) = (self.value, self.end);
        self.latest = self.value;
        self.first = earlier.first;
        self.remainder *= earlier.remainder;
        self.since = earlier.since;
    }

    /// The smoothed usage: cores or bytes.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    /// The last sample, unsmoothed.
    pub(crate) fn latest(&self) -> f64 {
        self.latest
    }

    /// Start of the first sample.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// End of the last sample.
    pub(crate) fn until(&self) -> Moment {
        self.end
    }

    /// How the utilization relative to this amount changed during the last sample. `rescaled`: the amount was another before.
    pub(crate) fn path(&self, amount: f64, rescaled: bool) -> Path {
        if rescaled {
            return Path::jump(self.value / amount, self.end);
        }
        Path {
            from: self.from / amount,
            toward: self.latest / amount,
            to: self.value / amount,
            start: self.start,
            end: self.end,
        }
    }
}

/// The share of the old value that remains after `time`.
fn remaining_share(time: Duration, half_life: Duration) -> f64 {
    (-time.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

/// How a utilization changed between two sweeps: exponentially from `from` toward `toward`, as far as `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Path {
    pub(crate) from: f64,
    pub(crate) toward: f64,
    pub(crate) to: f64,
    /// When it was at `from`.
    pub(crate) start: Moment,
    /// When it reached `to`.
    pub(crate) end: Moment,
}

impl Path {
    /// A utilization of which only the last value is known.
    pub(crate) fn jump(to: f64, at: Moment) -> Path {
        Path { from: to, toward: to, to, start: at, end: at }
    }

    /// When it crossed `threshold`; absent if both ends are on the same side.
    pub(crate) fn crossing(&self, threshold: f64) -> Option<Moment> {
        if (self.from < threshold) == (self.to < threshold) {
            return None;
        }
        // the distance to `toward` decays exponentially, so its logarithm is linear in time
        let ln_all = ((self.from - self.toward) / (self.to - self.toward)).ln();
        let ln_part = ((self.from - self.toward) / (threshold - self.toward)).ln();
        let share = (ln_part / ln_all).clamp(0.0, 1.0);
        let share = if share.is_finite() { share } else { 1.0 };
        Some(self.start + self.end.since(self.start).mul_f64(share))
    }
}

#[cfg(test)]
mod tests;
