//! Rules that size a container's CPU, compared on a trace of what it is asked for.
//!
//! ```text
//! trace -> demand of each second -> model::Container -> usage, throttling -> Rule -> size, 2 s later -> model::Container
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `trace` | reads a trace |
//! | `rules` | ours, static at peak, usage / target |
//! | `vpa` | the Vertical Pod Autoscaler's published algorithm |
//! | [`recorded`] | what agents recorded of many containers, run through a class |
//!
//! Each value of a trace is held until the next one. So the CPU time of each interval stays what was recorded, and a change of load is as
//! sudden as it can be; interpolated, every load would rise gently, which flatters a rule that reacts. What happened within an interval is
//! not in the trace: shapes of single seconds show that.
//!
//! Not modeled: memory, neighbors (every size fits its node), and time from a load to the sample of it. A size is in force [`ACTUATION`] after
//! it was decided, for every rule.

use serde::Serialize;

use crate::model::{Container, Excess};
use crate::size::Size;

pub mod recorded;
mod rules;
#[cfg(test)]
mod tests;
mod trace;
mod vpa;

pub use rules::{Ours, StaticAtPeak, UsageOverTarget};
pub use trace::{Trace, TraceError};
pub use vpa::Vpa;

/// Seconds from a decision to the kernel.
pub const ACTUATION: u64 = 2;
/// Request and limit of a container for which none are given: the mean of its first hour, and one and a half times as much.
const LIMIT_OVER_REQUEST: f64 = 1.5;
/// CPUs of the node, relative to the peak: no size is bounded by it.
const NODE_OVER_PEAK: f64 = 20.0;
const DAY: f64 = 24.0 * 3600.0;

/// Sizes a container, from what is known at the time.
pub trait Rule {
    /// Its name in tables.
    fn name(&self) -> String;

    /// The size that the container starts with, millicores.
    fn first_size(&self) -> Size;

    /// The size that it is to have from now on, if another one. Called after each second in which no change is under way.
    fn decide(&mut self, container: &Container) -> Option<Size>;
}

/// The container that is sized, the same for every rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// What its template says, millicores.
    pub original: Size,
    /// CPUs of its node.
    pub node_cpus: f64,
    /// What happens to demand that the limit leaves no time for.
    pub excess: Excess,
}

impl Setup {
    /// As somebody would declare it who looked at it for an hour. What is given counts instead, in millicores.
    pub fn new(trace: &Trace, request: Option<u64>, limit: Option<u64>, excess: Excess) -> Self {
        let request = request.unwrap_or_else(|| whole_steps(trace.mean_of_first(3600)));
        let limit = limit.unwrap_or((request as f64 * LIMIT_OVER_REQUEST) as u64).max(request);
        let original = Size { request: Some(request), limit: Some(limit) };
        Self { original, node_cpus: (trace.peak() * NODE_OVER_PEAK).max(1.0), excess }
    }
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Name of the rule.
    pub rule: String,
    /// Seconds of the trace.
    pub seconds: u64,
    /// The requests over time.
    pub reserved_core_hours: f64,
    /// What was used over time.
    pub used_core_hours: f64,
    /// Demanded in a second and not given in it, over time: it waited, or was lost.
    pub withheld_core_seconds: f64,
    /// Seconds in which it was throttled, by the share of their periods.
    pub throttled_seconds: f64,
    /// Changes of its size.
    pub resizes: u64,
    /// Smallest request, millicores.
    pub least_request: u64,
    /// Largest request, millicores.
    pub most_request: u64,
    /// Demand that still waits at the end, core-seconds.
    pub backlog_core_seconds: f64,
}

impl Outcome {
    /// Share of time in which it was throttled, 0 to 1.
    pub fn throttled_share(&self) -> f64 {
        self.throttled_seconds / self.seconds as f64
    }

    /// Changes of its size in a day.
    pub fn resizes_per_day(&self) -> f64 {
        self.resizes as f64 * DAY / self.seconds as f64
    }

    /// Share of what was reserved that was not used, 0 to 1; less than 0 where more was used.
    pub fn slack(&self) -> f64 {
        1.0 - self.used_core_hours / self.reserved_core_hours
    }
}

/// Runs a trace under a rule.
pub fn run(trace: &Trace, setup: &Setup, rule: &mut dyn Rule) -> Outcome {
    let mut container = Container::new(rule.first_size(), setup.node_cpus, setup.excess);
    let request = |container: &Container| container.size().request.unwrap_or(0);
    let mut least_request = request(&container);
    let (mut most_request, mut reserved, mut resizes) = (least_request, 0u64, 0);
    let (mut withheld, mut used) = (0.0, 0.0);
    let mut under_way: Option<(u64, Size)> = None;
    let mut now = 0;
    for demand in trace.seconds() {
        container.step(demand, 1);
        now += 1;
        reserved += request(&container);
        withheld += (demand - (container.used() - used)).max(0.0);
        used = container.used();
        if let Some((at, to)) = under_way {
            if now < at {
                continue;
            }
            container.resize(to);
            least_request = least_request.min(request(&container));
            most_request = most_request.max(request(&container));
            resizes += 1;
        }
        under_way =
            rule.decide(&container).filter(|to| *to != container.size()).map(|to| (now + ACTUATION, to));
    }
    Outcome {
        rule: rule.name(),
        seconds: now,
        reserved_core_hours: reserved as f64 / 1000.0 / 3600.0,
        used_core_hours: used / 3600.0,
        // the last millionth is the error of a sum of many terms
        withheld_core_seconds: if withheld > used * 1e-6 { withheld } else { 0.0 },
        throttled_seconds: container.throttled_seconds(),
        resizes,
        least_request,
        most_request,
        backlog_core_seconds: container.backlog(),
    }
}

/// The most headroom that [`least_headroom`] tries.
const MOST_HEADROOM: f64 = 256.0;
/// How exactly it is found, as a share.
const HEADROOM_PRECISION: f64 = 0.02;

/// What comes of a rule with the least headroom, from 1 on, with which it throttles for no more than so many seconds, and that headroom:
/// rules are compared at no more throttled time. None: it throttles for longer even with a headroom of 256.
///
/// More headroom is taken to throttle less, which holds but for rounding.
pub fn least_headroom<R: Rule>(
    trace: &Trace,
    setup: &Setup,
    most_throttled_seconds: f64,
    rule: impl Fn(f64) -> R,
) -> Option<(f64, Outcome)> {
    let with = |headroom: f64| {
        let outcome = run(trace, setup, &mut rule(headroom));
        (outcome.throttled_seconds <= most_throttled_seconds).then_some((headroom, outcome))
    };
    let (mut too_little, mut headroom) = (1.0, 1.0);
    let mut enough = loop {
        if let Some(found) = with(headroom) {
            break found;
        }
        too_little = headroom;
        headroom *= 2.0;
        if headroom > MOST_HEADROOM {
            return None;
        }
    };
    while enough.0 > too_little * (1.0 + HEADROOM_PRECISION) {
        let middle = f64::midpoint(too_little, enough.0);
        match with(middle) {
            Some(found) => enough = found,
            None => too_little = middle,
        }
    }
    Some(enough)
}

/// Millicores, rounded up to the steps that sizes have.
fn whole_steps(cores: f64) -> u64 {
    let step = crate::cpu::STEP as f64;
    // less a billionth: a quotient such as 0.3 / 0.6 is not one step more
    (((cores * 1000.0 / step - 1e-9).ceil() * step) as u64).max(crate::cpu::STEP)
}
