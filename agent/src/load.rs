//! From usage to utilization: what a share is of, and how it is smoothed.
//!
//! Pure. Smoothing is done in *usage units* (cores, bytes) and divided by the basis of the day: a basis that changes rescales
//! the utilization at once, and [`Path`] says so by having no length, so that `classify` starts its clock at the change.
//! Nothing here answers with a number that was not measured. Proof: `load/tests.rs`.

use std::time::Duration;

use plimsoll_contract::report::UnknownReason;
use plimsoll_contract::{Basis, Bytes, Cores, Limit};

use crate::profile::Profile;
use crate::sample::{Moment, NodeCapacity};

/// What a utilization is a share of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Denominator {
    /// Which kind.
    pub basis: Basis,
    /// How much: cores or bytes, positive and finite.
    pub amount: f64,
}

/// What is known of a container's CPU request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// The roster has not said.
    Unknown,
    /// There is none, or nobody to ask.
    None,
    /// So many cores.
    Of(Cores),
}

/// The smallest amounts ever divided by: a thousandth of a core, one byte.
const LEAST_CORES: f64 = 0.001;
const LEAST_BYTES: f64 = 1.0;

/// The basis of a CPU share: an enforced quota (clipped to the node), else the request (floored), else the node.
///
/// # Errors
/// Why there is none.
pub fn cpu_basis(
    limit: Limit<Cores>,
    request: Request,
    node: Option<NodeCapacity>,
    floor: f64,
) -> Result<Denominator, UnknownReason> {
    let (basis, amount) = match (limit, request) {
        (Limit::Of(limit), _) if limit.0.is_nan() => return Err(UnknownReason::Malformed),
        (Limit::Of(limit), _) => (Basis::Limit, node.map_or(limit.0, |node| limit.0.min(node.cpus.0))),
        (Limit::Unlimited, Request::Unknown) => return Err(UnknownReason::RequestUnknown),
        (Limit::Unlimited, Request::Of(request)) if request.0 > 0.0 => (Basis::Request, request.0.max(floor)),
        (Limit::Unlimited, _) => (Basis::Node, node.ok_or(UnknownReason::WarmingUp)?.cpus.0),
    };
    denominator(basis, amount, LEAST_CORES)
}

/// The basis of a memory share: an enforced limit (clipped to the node), else the node.
///
/// # Errors
/// Why there is none.
pub fn memory_basis(limit: Limit<Bytes>, node: Option<NodeCapacity>) -> Result<Denominator, UnknownReason> {
    let (basis, amount) = match limit {
        Limit::Of(limit) => (Basis::Limit, node.map_or(limit, |node| limit.min(node.memory))),
        Limit::Unlimited => (Basis::Node, node.ok_or(UnknownReason::WarmingUp)?.memory),
    };
    denominator(basis, amount.as_f64(), LEAST_BYTES)
}

fn denominator(basis: Basis, amount: f64, least: f64) -> Result<Denominator, UnknownReason> {
    if amount.is_finite() && amount >= 0.0 {
        Ok(Denominator { basis, amount: amount.max(least) })
    } else {
        Err(UnknownReason::Malformed)
    }
}

/// Memory in use that cannot simply be dropped.
pub fn working_set(memory: Bytes, inactive_file: Bytes) -> Bytes {
    memory.saturating_sub(inactive_file)
}

/// A smoothed usage (EWMA with a half-life), and the way it went in its last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothed {
    value: f64,
    first: f64,
    /// Share of `first` that is still in `value`.
    remainder: f64,
    from: f64,
    toward: f64,
    start: Moment,
    end: Moment,
    since: Moment,
}

impl Smoothed {
    /// Starts at the first sample.
    pub fn new(start: Moment, end: Moment, usage: f64) -> Self {
        Smoothed {
            value: usage,
            first: usage,
            remainder: 1.0,
            from: usage,
            toward: usage,
            start: end,
            end,
            since: start,
        }
    }

    /// Takes in the mean usage between two moments. After more than `profile.memory` without data it starts anew.
    pub fn step(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        if start.since(self.end) > profile.memory {
            *self = Smoothed::new(start, end, usage);
            return;
        }
        let start = start.max(Moment(end.0.saturating_sub(profile.longest_gap())));
        let kept = kept(end.since(start), profile.half_life);
        (self.from, self.toward, self.start, self.end) = (self.value, usage, start, end);
        self.value = usage + (self.value - usage) * kept;
        self.remainder *= kept;
    }

    /// As if it had started from where `earlier` stopped: exact, because smoothing is linear in its start.
    pub fn continue_from(&mut self, earlier: &Smoothed) {
        let shift = earlier.value - self.first;
        self.value = (self.value + shift * self.remainder).max(0.0);
        (self.from, self.start) = (self.value, self.end);
        self.toward = self.value;
        self.first = earlier.first;
        self.remainder *= earlier.remainder;
        self.since = earlier.since;
    }

    /// The smoothed usage: cores or bytes.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The last sample as it was.
    pub fn latest(&self) -> f64 {
        self.toward
    }

    /// Since when there is data.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Until when there is data.
    pub fn until(&self) -> Moment {
        self.end
    }

    /// The way of the utilization in the last step, of this amount. `rescaled`: the amount was another before.
    pub fn path(&self, amount: f64, rescaled: bool) -> Path {
        if rescaled {
            return Path::jump(self.value / amount, self.end);
        }
        Path {
            from: self.from / amount,
            toward: self.toward / amount,
            to: self.value / amount,
            start: self.start,
            end: self.end,
        }
    }
}

/// The share of the old value kept after `time`.
fn kept(time: Duration, half_life: Duration) -> f64 {
    (-time.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

/// How a utilization went between two sweeps: exponentially from `from` toward `toward`, as far as `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// Where it was.
    pub from: f64,
    /// Where it was going.
    pub toward: f64,
    /// Where it is.
    pub to: f64,
    /// When it was at `from`.
    pub start: Moment,
    /// When it came to `to`.
    pub end: Moment,
}

impl Path {
    /// A utilization that is there without having gone anywhere.
    pub fn jump(to: f64, at: Moment) -> Path {
        Path { from: to, toward: to, to, start: at, end: at }
    }

    /// When it crossed `threshold`; absent if both ends are on the same side.
    pub fn crossing(&self, threshold: f64) -> Option<Moment> {
        if (self.from < threshold) == (self.to < threshold) {
            return None;
        }
        // distance to the target falls exponentially: its logarithm falls linearly in time
        let ln_all = ((self.from - self.toward) / (self.to - self.toward)).ln();
        let ln_part = ((self.from - self.toward) / (threshold - self.toward)).ln();
        let share = (ln_part / ln_all).clamp(0.0, 1.0);
        let share = if share.is_finite() { share } else { 1.0 };
        Some(Moment(self.start.0 + self.end.since(self.start).mul_f64(share)))
    }
}

#[cfg(test)]
mod tests;
