//! A container under a CPU quota, as a model: for tests and for replaying a trace of usage. What it is asked for goes in; what its agent would
//! report comes out. Memory, pressure and neighbors are not modeled.
//!
//! ```text
//! demand -> periods of 100 ms, each with its share of the limit -> usage, throttled periods, backlog -> ContainerCpu
//! ```

use std::time::Duration;

use plimsoll_contract::load::BoundBy;
use plimsoll_contract::report::ContainerCpu;
use plimsoll_contract::{Cores, Limit};

use crate::size::Size;

mod controller;
mod history;

pub use controller::Controller;
use history::History;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// Periods of the quota in one second.
const PERIODS: u32 = 10;

/// What happens to demand that the limit does not leave time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It waits and is done later: a queue of requests.
    Queued,
    /// It is lost: a game loop, a client that gave up.
    Lost,
    /// It waits, and the runtime runs no more threads than the limit has cores: nothing is throttled.
    Unscheduled,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    size: Size,
    cpus: f64,
    excess: Excess,
    /// Demand that waits, core-seconds.
    backlog: f64,
    /// What was used in all, core-seconds.
    used: f64,
    throttled_seconds: f64,
    history: History,
}

impl Container {
    /// A container of this size (millicores), on a node with this many CPUs.
    pub fn new(size: Size, cpus: f64, excess: Excess) -> Self {
        Self {
            size,
            cpus,
            excess,
            backlog: 0.0,
            used: 0.0,
            throttled_seconds: 0.0,
            history: History::default(),
        }
    }

    /// Its size, millicores.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Gives it another size, at once.
    pub fn resize(&mut self, to: Size) {
        self.size = to;
    }

    /// Lets it run for whole seconds, with an even demand of so many cores. A demand that is not a finite number is none.
    pub fn step(&mut self, demand_cores: f64, seconds: u32) {
        let demand = if demand_cores.is_finite() { demand_cores.max(0.0) } else { 0.0 };
        for _ in 0..seconds {
            self.step_second(demand, 0.0);
        }
    }

    /// Lets it run for one second with a demand of which only a part is known: what was used. It is throttled in at least this share of the
    /// periods, 0 to 1.
    pub fn step_censored(&mut self, used_cores: f64, throttled: f64) {
        let used = if used_cores.is_finite() { used_cores.max(0.0) } else { 0.0 };
        self.step_second(used, throttled.clamp(0.0, 1.0));
    }

    fn step_second(&mut self, demand: f64, at_least: f64) {
        let quota = self.limit().unwrap_or(f64::INFINITY).min(self.cpus) / f64::from(PERIODS);
        let (mut used, mut throttled) = (0.0, 0u32);
        for _ in 0..PERIODS {
            let wanted = self.backlog + demand / f64::from(PERIODS);
            let ran = wanted.min(quota);
            used += ran;
            // the last billionth is the error of the arithmetic
            throttled += u32::from(wanted > quota * (1.0 + 1e-9));
            self.backlog = if self.excess == Excess::Lost { 0.0 } else { wanted - ran };
        }
        let is_throttled =
            self.limit().is_some_and(|limit| limit < self.cpus) && self.excess != Excess::Unscheduled;
        let share =
            if is_throttled { (f64::from(throttled) / f64::from(PERIODS)).max(at_least) } else { 0.0 };
        self.used += used;
        self.throttled_seconds += share;
        self.history.record(used, share);
    }

    /// What its agent would report.
    pub fn usage(&self) -> ContainerCpu {
        let of_limit = |share: Option<f64>| share.filter(|_| self.size.limit.is_some());
        let mean3 = self.history.mean(3);
        let basis = self.limit().or(self.size.request.map(cores));
        let throttled = of_limit(self.history.throttled(1));
        ContainerCpu {
            cores: self.history.mean(1).map(Cores),
            limit_cores: Some(self.limit().map_or(Limit::Unlimited, |limit| Limit::Of(Cores(limit)))),
            throttled,
            throttled2: of_limit(self.history.throttled(2)),
            throttled3: of_limit(self.history.throttled(3)),
            mean3: mean3.map(Cores),
            utilization3: mean3.zip(basis).map(|(used, basis)| used / basis),
            p95: self.history.p95().map(Cores),
            peak: self.history.peak().map(Cores),
            bound_by: throttled.filter(|share| *share > crate::cpu::THROTTLED3_FROM).map(|_| BoundBy::Limit),
            ..ContainerCpu::default()
        }
    }

    /// How long it has run.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.history.seconds())
    }

    /// Demand that waits, core-seconds.
    pub fn backlog(&self) -> f64 {
        self.backlog
    }

    /// What it used in all, core-seconds.
    pub fn used(&self) -> f64 {
        self.used
    }

    /// Seconds in which it was throttled, by the share of their periods.
    pub fn throttled_seconds(&self) -> f64 {
        self.throttled_seconds
    }

    fn limit(&self) -> Option<f64> {
        self.size.limit.map(cores)
    }
}

fn cores(millicores: u64) -> f64 {
    millicores as f64 / 1000.0
}
