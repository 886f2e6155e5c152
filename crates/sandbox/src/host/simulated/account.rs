//! What the kernel would count: usage, periods, throttling, pressure and memory of simulated cgroups.
//!
//! Pure: a slice of time in, counters forward. The rules are the kernel's, kept to what a reader can see: a quota is a
//! budget per 100 ms that is refilled at the boundary and not saved; a container held back by its quota is throttled, one
//! held back by the node only waits; both show as pressure; memory stops at the limit and counts an event.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Bytes, ContainerId, Limit, PodUid};

use crate::host::{Limits, PERIOD, PodSlot};
use crate::load::{Changes, Load};

/// Page cache that every simulated container has beside what it wants: a reader must take it off.
pub(super) const INACTIVE_FILE: u64 = 1 << 20;

/// A simulated pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub slot: PodSlot,
    pub limits: Limits,
    pub meter: Meter,
    pub pause: ContainerId,
    pub containers: BTreeMap<ContainerId, Container>,
}

/// A simulated container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub name: String,
    pub limits: Limits,
    pub load: Load,
    /// When it started, on the host's clock.
    pub started: Duration,
    pub meter: Meter,
    pub told_cpu: Changes,
    pub told_memory: Changes,
}

/// The counters of one cgroup; times in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Meter {
    pub usage: f64,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled: f64,
    pub cpu_pressure: Pressure,
    pub anon: u64,
    pub inactive_file: u64,
    pub hits: u64,
    pub memory_pressure: Pressure,
    /// Wanted and granted in the quota period that is running.
    wanted: f64,
    granted: f64,
    /// Wanted and granted in the slice that is being computed.
    slice: (f64, f64),
}

/// Pressure stall information: how much of the time something waited.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pressure {
    /// Percent, over 10, 60 and 300 s.
    pub averages: [f64; 3],
    /// Seconds.
    pub total: f64,
}

impl Meter {
    /// What `memory.current` says.
    pub(super) fn current(&self) -> u64 {
        self.anon + self.inactive_file
    }

    /// How much of `wanted` the quota leaves in this period.
    fn within_quota(&self, limits: &Limits, wanted: f64) -> f64 {
        match budget(limits) {
            Limit::Unlimited => wanted,
            Limit::Of(budget) => wanted.min((budget - self.granted).max(0.0)),
        }
    }

    fn settle(&mut self, seconds: f64) {
        let (wanted, granted) = self.slice;
        self.usage += granted;
        self.wanted += wanted;
        self.granted += granted;
        let stalled = if wanted > 0.0 { (1.0 - granted / wanted).max(0.0) } else { 0.0 };
        self.cpu_pressure.advance(stalled, seconds);
    }

    fn close_period(&mut self, limits: &Limits) {
        if let Limit::Of(budget) = budget(limits)
            && self.wanted > 0.0
        {
            self.periods += 1;
            if self.wanted > budget * (1.0 + 1e-9) {
                self.throttled_periods += 1;
                self.throttled += PERIOD.as_secs_f64() * (1.0 - budget / self.wanted);
            }
        }
        (self.wanted, self.granted) = (0.0, 0.0);
    }

    /// Takes as much of the wanted memory as the limit lets it.
    fn remember(&mut self, wanted: f64, limit: Limit<Bytes>, seconds: f64) {
        let most = limit.bound().map_or(u64::MAX, |bytes| bytes.0);
        let wanted = wanted as u64;
        self.anon = wanted.min(most);
        self.inactive_file = INACTIVE_FILE.min(most - self.anon);
        let refused = wanted.saturating_sub(most);
        self.hits += u64::from(refused > 0);
        let stalled = if refused > 0 { refused as f64 / wanted as f64 } else { 0.0 };
        self.memory_pressure.advance(stalled, seconds);
    }
}

impl Pressure {
    fn advance(&mut self, stalled: f64, seconds: f64) {
        self.total += stalled * seconds;
        for (average, window) in self.averages.iter_mut().zip([10.0, 60.0, 300.0]) {
            *average += (stalled * 100.0 - *average) * (1.0 - (-seconds / window).exp());
        }
    }
}

/// CPU seconds of one period.
fn budget(limits: &Limits) -> Limit<f64> {
    match limits.quota() {
        Limit::Unlimited => Limit::Unlimited,
        Limit::Of(micros) => Limit::Of(micros as f64 / 1e6),
    }
}

/// The end of the slice that starts at `from`: the next period boundary, or `to` where that is earlier.
pub(super) fn slice_end(from: Duration, to: Duration) -> Duration {
    let period = PERIOD.as_nanos() as u64;
    let next = (from.as_nanos() as u64 / period + 1) * period;
    to.min(Duration::from_nanos(next))
}

/// Advances every counter over a slice, which does not cross a period boundary.
pub(super) fn advance(pods: &mut BTreeMap<PodUid, Pod>, cpus: u32, from: Duration, to: Duration) {
    let seconds = (to - from).as_secs_f64();
    for pod in pods.values_mut() {
        share_within_pod(pod, from, to);
    }
    let granted: f64 = pods.values().map(|pod| pod.meter.slice.1).sum();
    let node = f64::from(cpus) * seconds;
    let scale = if granted > node { node / granted } else { 1.0 };
    let closes = to.as_nanos().is_multiple_of(PERIOD.as_nanos());
    for pod in pods.values_mut() {
        let limits = pod.limits;
        settle(&mut pod.meter, &limits, scale, seconds, closes);
        for container in pod.containers.values_mut() {
            settle(&mut container.meter, &container.limits, scale, seconds, closes);
        }
        remember(pod, to, seconds);
    }
}

fn settle(meter: &mut Meter, limits: &Limits, scale: f64, seconds: f64, closes: bool) {
    meter.slice.1 *= scale;
    meter.settle(seconds);
    if closes {
        meter.close_period(limits);
    }
}

/// What each container gets of what it wants, after its own quota and its pod's.
fn share_within_pod(pod: &mut Pod, from: Duration, to: Duration) {
    let mut wanted_by_all = 0.0;
    for container in pod.containers.values_mut() {
        let since = |t: Duration| t.saturating_sub(container.started);
        let wanted = container.load.cpu.integral(since(from), since(to));
        let granted = container.meter.within_quota(&container.limits, wanted);
        container.meter.slice = (wanted, granted);
        wanted_by_all += granted;
    }
    let granted = pod.meter.within_quota(&pod.limits, wanted_by_all);
    pod.meter.slice = (wanted_by_all, granted);
    if granted < wanted_by_all {
        for container in pod.containers.values_mut() {
            container.meter.slice.1 *= granted / wanted_by_all;
        }
    }
}

fn remember(pod: &mut Pod, now: Duration, seconds: f64) {
    let mut all = 0.0;
    for container in pod.containers.values_mut() {
        let wanted = container.load.memory.at(now.saturating_sub(container.started));
        container.meter.remember(wanted, container.limits.memory, seconds);
        all += container.meter.anon as f64;
    }
    pod.meter.remember(all, pod.limits.memory, seconds);
    let caches = pod.containers.values().map(|container| container.meter.inactive_file).sum::<u64>();
    let room = pod.limits.memory.bound().map_or(u64::MAX, |most| most.0 - pod.meter.anon);
    pod.meter.inactive_file = caches.min(room);
}
