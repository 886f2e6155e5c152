//! From usage to utilization: what it is relative to, its recent past, its bursts, and its smoothed value for metrics.
//!
//! Pure. Usage is kept in *usage units* (cores, bytes) of the current basis: when the basis changes, the past is rescaled, so that
//! its utilization stays what it was. Nothing here returns a number that was not measured. Proof: `load/tests.rs`.

mod burst;
mod window;

use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{Basis, Bytes, Cores, Limit, Moment};

pub(crate) use burst::{Burst, Excess};
pub(crate) use window::{Mean, Window};

use crate::profile::Profile;

/// What a utilization is relative to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Denominator {
    pub(crate) basis: Basis,
    /// Cores or bytes, positive and finite.
    pub(crate) amount: f64,
    /// The request, in cores, where it is too small to be the amount; of a sum, with what else is in the sum.
    pub(crate) request: Option<f64>,
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
    let (basis, amount, floored) = match (limit, request) {
        (Limit::Of(limit), _) if limit.0.is_nan() => return Err(UnknownReason::Malformed),
        (Limit::Of(limit), _) => (Basis::Limit, node.map_or(limit.0, |node| limit.0.min(node.cores.0)), None),
        (Limit::Unlimited, Request::Unknown) => return Err(UnknownReason::RequestUnknown),
        (Limit::Unlimited, Request::Of(request)) if request.0 > 0.0 => {
            let floored = (request.0 < floor).then_some(request.0);
            (Basis::Request, request.0.max(floor), floored)
        }
        (Limit::Unlimited, _) => (Basis::Node, node.ok_or(UnknownReason::WarmingUp)?.cores.0, None),
    };
    Ok(Denominator { request: floored, ..denominator(basis, amount, MIN_CORES)? })
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

/// The basis of a pod's own cgroup without a limit: what its containers are relative to, added up. If each of them is below a
/// threshold, so is their sum; if one has only the node, so has the pod.
pub(crate) fn sum_of_bases(
    bases: impl Iterator<Item = Result<Denominator, UnknownReason>>,
    node: Denominator,
) -> Result<Denominator, UnknownReason> {
    let mut sum: Option<Denominator> = None;
    for of in bases {
        let of = of?;
        sum = Some(sum.map_or(of, |sum| {
            let requested = |of: Denominator| of.request.unwrap_or(of.amount);
            let floored = sum.request.or(of.request).is_some();
            Denominator {
                // the weakest of the two words: a sum of limits and requests is no limit
                basis: sum.basis.max(of.basis),
                amount: sum.amount + of.amount,
                request: floored.then(|| requested(sum) + requested(of)),
            }
        }));
    }
    Ok(sum.filter(|sum| sum.basis != Basis::Node && sum.amount < node.amount).unwrap_or(node))
}

fn denominator(basis: Basis, amount: f64, min: f64) -> Result<Denominator, UnknownReason> {
    if amount.is_finite() && amount >= 0.0 {
        Ok(Denominator { basis, amount: amount.max(min), request: None })
    } else {
        Err(UnknownReason::Malformed)
    }
}

/// A smoothed usage (EWMA with a half-life), for metrics and for people: bands do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Smoothed {
    value: f64,
    /// The first sample, and the share of it that is still in `value`.
    first: f64,
    remainder: f64,
    end: Moment,
    since: Moment,
}

impl Smoothed {
    /// Starts at the first sample.
    pub(crate) fn new(start: Moment, end: Moment, usage: f64) -> Self {
        Smoothed { value: usage, first: usage, remainder: 1.0, end, since: start }
    }

    /// Adds the mean usage between two moments. After more than `profile.retention` without data it starts over.
    pub(crate) fn add(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        if start.since(self.end) > profile.retention {
            *self = Smoothed::new(start, end, usage);
            return;
        }
        let start = start.max(end.earlier_by(profile.longest_gap()));
        let remaining = remaining_share(end.since(start), profile.half_life);
        self.end = end;
        self.value = usage + (self.value - usage) * remaining;
        self.remainder *= remaining;
    }

    /// As if it had started from where `earlier` stopped: exact, because smoothing is linear in its start.
    pub(crate) fn continue_from(&mut self, earlier: &Smoothed) {
        let shift = earlier.value - self.first;
        self.value = (self.value + shift * self.remainder).max(0.0);
        self.first = earlier.first;
        self.remainder *= earlier.remainder;
        self.since = earlier.since;
    }

    /// The smoothed usage: cores or bytes.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    /// Start of the first sample.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// End of the last sample.
    pub(crate) fn until(&self) -> Moment {
        self.end
    }
}

/// The share of the old value that remains after `time`.
fn remaining_share(time: Duration, half_life: Duration) -> f64 {
    (-time.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

#[cfg(test)]
mod tests;
