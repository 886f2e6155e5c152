//! Whether a container's memory grows or shrinks, by how much, and why.
//!
//! Growth is called for by memory events, by being near the limit for 2 s, by a trend that reaches it within 30 s, by pressure, and
//! by a request below what is used. What counts is what cannot be reclaimed; a page cache only where the container waits for it (pressure).
//!
//! ```text
//! limit'   = max(u / targetOfLimit, u projected 60 s ahead)     after an OOM kill u is at least the limit: the process reached it
//! request' = max(u / targetOfRequest, the same projection)      below limit'; where request = limit, both are limit'
//! shrink   = the same with u = max(working set, unreclaimable, 24 h peak, projection), never below 1.25 x u without the peak
//! ```

use std::time::Duration;

use plimsoll_contract::Bytes;
use plimsoll_contract::report::{ContainerMemory, MemoryEvents};

use crate::fit::{Fit, Need, known, larger};
use crate::policy::{MEMORY_UP_COOLDOWN, ResourcePolicy, SHRINK_COOLDOWN};
use crate::size::{Size, SizeBounds};
use crate::timing::{Quiet, growth_after};
use crate::verdict::{Change, Keep, Trigger, Verdict};

#[cfg(test)]
mod tests;

/// Sizes are multiples of this.
pub const STEP: u64 = 4 << 20;
/// From this share of the limit on, held for 2 s, unreclaimable memory calls for growth.
pub const NEAR_LIMIT: f64 = 0.90;
/// A trend calls for growth from this share of the limit on,
pub const TREND_FROM: f64 = 0.75;
/// if it reaches the limit within this many seconds.
pub const TREND_SECONDS: f64 = 30.0;
/// What a growth must last for, in seconds, at the rate at which memory grows.
pub const AHEAD_SECONDS: f64 = 60.0;
/// More PSI `some avg10` than this calls for growth, percent.
pub const PRESSURE_FROM: f64 = 10.0;
/// A shrink leaves at least this many times what is used.
pub const SHRINK_MARGIN: f64 = 1.25;

/// What the size of a container's memory is decided from.
#[derive(Debug, Clone)]
pub struct MemoryInput<'a> {
    /// Its class.
    pub policy: &'a ResourcePolicy,
    /// See [`crate::policy::Policy::down_hold`].
    pub down_hold: Duration,
    /// See [`crate::policy::Policy::memory_window`].
    pub min_window: Duration,
    /// Its size now, bytes.
    pub size: Size,
    /// What it is kept within, bytes.
    pub bounds: SizeBounds,
    /// Whether something other than its class keeps its request from being raised.
    pub request_kept: bool,
    /// What its agent measured.
    pub usage: &'a ContainerMemory,
    /// Recent memory events that its memory has not grown for; they count also if the container restarted since.
    pub events: MemoryEvents,
    /// How long it has been watched without a gap.
    pub window: Option<Duration>,
    /// Time since its memory grew last; absent: it never did.
    pub since_growth: Option<Duration>,
    /// Time since its memory shrank last; absent: it never did.
    pub since_shrink: Option<Duration>,
    /// Time since something last called for growth of its memory ([`calls_for_growth`]); absent: nothing ever did.
    pub since_pressure: Option<Duration>,
}

/// Decides.
pub fn decide(input: &MemoryInput) -> Verdict {
    if input.size == Size::default() {
        return Verdict::Keep(Keep::NotSet);
    }
    let calls = calls(input);
    let decided = if calls.is_empty() { shrink(input) } else { grow(input, &calls) };
    decided.unwrap_or_else(Verdict::Keep)
}

/// What calls for growth now, whether or not it may grow. While something does, and for the class's hold after it, nothing shrinks.
/// Each number that is known counts alone.
pub fn calls_for_growth(input: &MemoryInput) -> Option<Trigger> {
    calls(input).first().copied()
}

/// All that calls for growth, the plainest first. Each counts with its own need: what one of them needs may be there already.
fn calls(input: &MemoryInput) -> Vec<Trigger> {
    let (usage, events) = (input.usage, input.events);
    let mut calls = Vec::new();
    let unreclaimable = usage.unreclaimable.map(Bytes::as_f64);
    if let Some(limit) = input.size.limit.map(|limit| limit as f64) {
        calls.extend(events.oom_kill.filter(|kills| *kills > 0).map(Trigger::OomKill));
        calls.extend(events.max.filter(|hits| *hits > 0).map(Trigger::MemoryMax));
        let held = usage.unreclaimable2.map(Bytes::as_f64).filter(|held| *held >= NEAR_LIMIT * limit);
        calls.extend(held.map(|held| Trigger::NearLimit(held / limit)));
        if let Some((now, rate)) =
            unreclaimable.zip(rate(usage)).filter(|(now, _)| *now >= TREND_FROM * limit)
            && now + rate * TREND_SECONDS >= limit
        {
            calls.push(Trigger::Trend(((limit - now) / rate).max(0.0)));
        }
    }
    let pressure = known(usage.pressure).filter(|pressure| *pressure > PRESSURE_FROM);
    calls.extend(pressure.map(Trigger::MemoryPressure));
    // what may not be raised calls for nothing: the limit could never shrink
    calls.extend((wants_request(input) && !input.request_kept).then_some(Trigger::RequestBelowUse));
    calls
}

/// Whether what cannot be reclaimed is about to reach the limit, whatever else calls for growth.
pub fn nears_limit(input: &MemoryInput) -> bool {
    calls(input).iter().any(|call| matches!(call, Trigger::NearLimit(_) | Trigger::Trend(_)))
}

/// Whether its request is less than what it uses, and its class would raise it. That calls for growth, unless the request is kept.
pub fn wants_request(input: &MemoryInput) -> bool {
    let request = input.size.request.filter(|_| input.size.request != input.size.limit);
    let used = input.usage.unreclaimable.map(Bytes::as_f64);
    input.policy.raises_requests() && used.zip(request).is_some_and(|(used, request)| used > request as f64)
}

/// The rate at which unreclaimable memory grows, bytes per second; absent: it does not grow, or the rate is not known.
fn rate(usage: &ContainerMemory) -> Option<f64> {
    known(usage.growth).filter(|rate| *rate > 0.0)
}

fn grow(input: &MemoryInput, calls: &[Trigger]) -> Result<Verdict, Keep> {
    let usage = input.usage;
    let unreclaimable =
        larger(usage.unreclaimable.map(Bytes::as_f64), usage.unreclaimable2.map(Bytes::as_f64));
    let used_for = |trigger: Trigger| match trigger {
        Trigger::OomKill(_) => larger(unreclaimable, input.size.limit.map(|limit| limit as f64)),
        // where it is not known what cannot be reclaimed, hits of the limit say all the same that what is in use does not fit
        Trigger::MemoryMax(_) => unreclaimable.or(usage.working_set.map(Bytes::as_f64)),
        Trigger::MemoryPressure(_) => larger(unreclaimable, usage.working_set.map(Bytes::as_f64)),
        _ => unreclaimable,
    };
    // the first of those that need most
    let needs = calls.iter().filter_map(|trigger| Some((*trigger, used_for(*trigger)?)));
    let most = needs.reduce(|most, other| if other.1 > most.1 { other } else { most });
    let (trigger, used) = most.ok_or(Keep::NoData)?;
    let ahead = used + rate(usage).unwrap_or(0.0) * AHEAD_SECONDS;
    let limit =
        (trigger != Trigger::RequestBelowUse).then_some((used / input.policy.target_of_limit).max(ahead));
    let request = Some((used / input.policy.target_of_request).max(ahead));
    let to = fit(input).grow(Need { request, limit })?;
    let growth = Change { to, trigger, usage: used as u64 };
    Ok(growth_after(MEMORY_UP_COOLDOWN, input.since_growth, growth))
}

fn shrink(input: &MemoryInput) -> Result<Verdict, Keep> {
    let usage = input.usage;
    // every number must be known: less use is not shown by what is missing
    let numbers = [usage.working_set, usage.unreclaimable, usage.unreclaimable2, usage.peak];
    let [Some(working_set), Some(unreclaimable), Some(held), Some(peak)] =
        numbers.map(|n| n.map(Bytes::as_f64))
    else {
        return Err(Keep::NoData);
    };
    let rate = usage.growth.filter(|rate| rate.is_finite()).ok_or(Keep::NoData)?;
    let window = input.window.ok_or(Keep::NoData)?;
    let ahead = unreclaimable + rate.max(0.0) * AHEAD_SECONDS;
    let used = working_set.max(unreclaimable).max(held).max(ahead);
    let size_for = |target: f64| Some((used.max(peak) / target).max(SHRINK_MARGIN * used));
    let need = Need {
        request: size_for(input.policy.target_of_request),
        limit: size_for(input.policy.target_of_limit),
    };
    let to = fit(input).shrink(need)?;
    Quiet {
        window: (window, input.min_window.max(input.down_hold)),
        pressure: (input.since_pressure, input.down_hold),
        growth: (input.since_growth, input.down_hold),
        shrink: (input.since_shrink, SHRINK_COOLDOWN),
    }
    .check()?;
    Ok(Verdict::Shrink(Change { to, trigger: Trigger::Idle, usage: used.max(peak) as u64 }))
}

fn fit<'a>(input: &'a MemoryInput) -> Fit<'a> {
    Fit { policy: input.policy, size: input.size, bounds: input.bounds, step: STEP }
}
