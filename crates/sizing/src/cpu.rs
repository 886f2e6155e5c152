//! Whether a container's CPU grows or shrinks, by how much, and why.
//!
//! Growth is called for by throttling, by utilization (a runtime that sets its threads from the limit saturates without
//! throttling), by pressure of the node, and by a request below what is used. `u` is the larger of p95 over 30 s and the mean of 3 s:
//!
//! ```text
//! limit'   = u / targetOfLimit        throttled: usage is censored, so at least limit x (1 + maxStep x min(1, throttled / 0.5))
//! request' = u / targetOfRequest      below limit'; where request = limit, both are limit', and pressure of the node changes nothing
//! shrink   = the same with max(u, largest 1-minute mean and largest u of a growth in 24 h), at most 20 % at once
//! ```

use std::time::Duration;

use plimsoll_contract::load::BoundBy;
use plimsoll_contract::report::ContainerCpu;

use crate::fit::{Fit, Need, known, larger};
use crate::policy::{ResourcePolicy, SHRINK_COOLDOWN};
use crate::size::{Size, SizeBounds};
use crate::timing::{Quiet, growth_after, remaining};
use crate::verdict::{Change, Keep, Trigger, Verdict};

#[cfg(test)]
mod tests;

/// Sizes are multiples of this: the kubelet's smallest quota, 1 ms in 100 ms.
pub const STEP: u64 = 10;
/// More than this share of the periods of 3 s throttled calls for growth.
pub const THROTTLED3_FROM: f64 = 0.05;
/// More than this share of the periods of 2 s does so sooner.
pub const THROTTLED2_FROM: f64 = 0.25;
/// From this share of throttled periods on a throttled limit grows by a whole step.
pub const THROTTLED_FULL: f64 = 0.5;
/// For so long after a growth, or for the cooldown if that is longer, the container may need more than is measured.
pub const MEASURED_WITHIN: Duration = Duration::from_secs(5);

/// What the size of a container's CPU is decided from.
#[derive(Debug, Clone)]
pub struct CpuInput<'a> {
    /// Its class.
    pub policy: &'a ResourcePolicy,
    /// See [`crate::policy::Policy::up_cooldown`].
    pub up_cooldown: Duration,
    /// See [`crate::policy::Policy::down_hold`].
    pub down_hold: Duration,
    /// Its size now, millicores.
    pub size: Size,
    /// What it is kept within, millicores.
    pub bounds: SizeBounds,
    /// Whether something other than its class keeps its request from being raised.
    pub request_kept: bool,
    /// What its agent measured.
    pub usage: &'a ContainerCpu,
    /// How long it has been watched without a gap.
    pub window: Option<Duration>,
    /// Time since its CPU grew last; absent: it never did.
    pub since_growth: Option<Duration>,
    /// Time since its CPU shrank last; absent: it never did.
    pub since_shrink: Option<Duration>,
    /// The largest use that it grew for in the last 24 h ([`Change::usage`]), millicores; absent: it did not grow, or that is not known. It
    /// counts as the peak does: spikes and noise are shorter than the minute that the peak is a mean of.
    pub grown_for: Option<u64>,
    /// The largest limit that it grew to in the last 24 h because it was throttled, millicores: it does not shrink below that.
    pub throttled_to: Option<u64>,
    /// Time since something last called for growth of its CPU ([`calls_for_growth`]); absent: nothing ever did.
    pub since_pressure: Option<Duration>,
}

/// Decides.
pub fn decide(input: &CpuInput) -> Verdict {
    if input.size == Size::default() {
        return Verdict::Keep(Keep::NotSet);
    }
    let decided = match calls_for_growth(input) {
        Some(trigger) => grow(input, trigger),
        None => not_measured_yet(input).map_or_else(|| shrink(input), Ok),
    };
    decided.unwrap_or_else(Verdict::Keep)
}

/// What it may need after a growth until its throttling under the new limit is known: one more step. Never a growth to make.
fn not_measured_yet(input: &CpuInput) -> Option<Verdict> {
    let left = remaining(MEASURED_WITHIN.max(input.up_cooldown), input.since_growth)?;
    let throttled = known(input.usage.throttled2).or(known(input.usage.throttled3));
    let limit = input.size.limit.filter(|_| throttled.is_none())?;
    let step = |size: u64| size as f64 * (1.0 + input.policy.max_step);
    let need = Need { request: input.size.request.map(step), limit: Some(step(limit)) };
    let growth = Change { to: fit(input).grow(need).ok()?, trigger: Trigger::NotMeasuredYet, usage: limit };
    Some(Verdict::Cooldown { growth, left })
}

/// What calls for growth now, whether or not it may grow. While something does, and for the class's hold after it, nothing shrinks.
/// Each number that is known counts alone.
pub fn calls_for_growth(input: &CpuInput) -> Option<Trigger> {
    let usage = input.usage;
    if input.size.limit.is_some() {
        let (of2, of3) = (known(usage.throttled2), known(usage.throttled3));
        let is_throttled = of3 > Some(THROTTLED3_FROM) || of2 > Some(THROTTLED2_FROM);
        if let Some(throttled) = larger(of2, of3).filter(|_| is_throttled) {
            return Some(Trigger::Throttled(throttled));
        }
    }
    if usage.bound_by == Some(BoundBy::Node) {
        return known(usage.pressure).map(Trigger::NodePressure);
    }
    let target = match input.size.limit {
        Some(_) => input.policy.target_of_limit,
        None => input.policy.target_of_request,
    };
    if let Some(utilization) = known(usage.utilization3).filter(|used| *used >= f64::midpoint(1.0, target)) {
        return Some(Trigger::Utilization(utilization));
    }
    // what may not be raised calls for nothing: the limit could never shrink
    (wants_request(input) && !input.request_kept).then_some(Trigger::RequestBelowUse)
}

/// Whether its request is less than what it uses, and its class would raise it. That calls for growth, unless the request is kept.
pub fn wants_request(input: &CpuInput) -> bool {
    let request = input.size.request.filter(|_| input.size.request != input.size.limit);
    let is_below = |request: u64| used(input.usage).is_some_and(|used| used > request as f64);
    input.policy.raises_requests() && request.is_some_and(is_below)
}

/// The larger of p95 over 30 s and the mean of 3 s that is known, in millicores.
fn used(usage: &ContainerCpu) -> Option<f64> {
    larger(known(usage.p95.map(|c| c.0)), known(usage.mean3.map(|c| c.0))).map(|cores| cores * 1000.0)
}

fn grow(input: &CpuInput, trigger: Trigger) -> Result<Verdict, Keep> {
    let (policy, used) = (input.policy, used(input.usage));
    // what is used is not known: then at least all of the basis times its utilization is
    let used = used.or(match trigger {
        Trigger::Utilization(of) => input.size.limit.or(input.size.request).map(|basis| of * basis as f64),
        _ => None,
    });
    let limit = match trigger {
        Trigger::Throttled(share) => {
            let grown = 1.0 + policy.max_step * (share / THROTTLED_FULL).min(1.0);
            larger(used.map(|used| used / policy.target_of_limit), input.size.limit.map(|l| l as f64 * grown))
        }
        // a higher limit gives no more of a busy node, and where request = limit the request does not grow without it
        Trigger::NodePressure(_) if fit(input).is_equal() => return Err(Keep::NodeBusy),
        Trigger::NodePressure(_) => None,
        _ => used.map(|used| used / policy.target_of_limit),
    };
    let request = used.map(|used| used / policy.target_of_request);
    let to = fit(input).grow(Need { request, limit })?;
    let usage = used.or(input.size.limit.map(|limit| limit as f64)).unwrap_or_default();
    let growth = Change { to, trigger, usage: usage as u64 };
    Ok(growth_after(input.up_cooldown, input.since_growth, growth))
}

fn shrink(input: &CpuInput) -> Result<Verdict, Keep> {
    let usage = input.usage;
    // every number must be known: less use is not shown by what is missing
    let numbers = [usage.p95, usage.mean3, usage.peak].map(|cores| known(cores.map(|c| c.0)));
    let [Some(p95), Some(mean3), Some(peak)] = numbers else { return Err(Keep::NoData) };
    let window = input.window.ok_or(Keep::NoData)?;
    let used = (p95.max(mean3).max(peak) * 1000.0).max(input.grown_for.unwrap_or(0) as f64);
    let request = Some(used / input.policy.target_of_request);
    // where it was throttled, the use that it grew for is not known, but the limit that it grew to is
    let limit =
        larger(Some(used / input.policy.target_of_limit), input.throttled_to.map(|limit| limit as f64));
    let need = Need { request, limit };
    let to = fit(input).shrink(need)?;
    Quiet {
        window: (window, input.down_hold),
        pressure: (input.since_pressure, input.down_hold),
        growth: (input.since_growth, input.down_hold),
        shrink: (input.since_shrink, SHRINK_COOLDOWN),
    }
    .check()?;
    Ok(Verdict::Shrink(Change { to, trigger: Trigger::Idle, usage: used as u64 }))
}

fn fit<'a>(input: &'a CpuInput) -> Fit<'a> {
    Fit { policy: input.policy, size: input.size, bounds: input.bounds, step: STEP }
}
