//! The kernel's accounting for simulated cgroups: usage, periods, throttling, pressure and memory.
//!
//! Pure: advances all counters by a slice of time. The rules are the kernel's, as far as a reader can see them: a quota is a
//! budget per 100 ms that is refilled at each period boundary, and the rest of it is lost; a container limited by its quota
//! is throttled, one limited by the node only waits; both show as pressure; memory stops at the limit and counts an event.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Bytes, ContainerId, Limit, PodUid};

use crate::host::{Limits, PERIOD, PodCgroup};
use crate::load::{ChangeFilter, Load};

/// Inactive page cache of every simulated container, which a reader must subtract.
pub(super) const INACTIVE_FILE: u64 = 1 << 20;

/// A simulated pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub cgroup: PodCgroup,
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
    /// Time of its start, counted from the start of the host.
    pub started: Duration,
    pub meter: Meter,
    pub published_cpu: ChangeFilter,
    pub published_memory: ChangeFilter,
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
    /// How often memory reached its limit.
    pub limit_events: u64,
    pub memory_pressure: Pressure,
    /// CPU seconds demanded and granted in the current quota period.
    demanded: f64,
    granted: f64,
    /// CPU seconds demanded and granted in the current slice.
    slice: (f64, f64),
}

/// Pressure stall information: the share of time in which something waited.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pressure {
    /// Percent, averaged over 10, 60 and 300 s.
    pub averages: [f64; 3],
    /// Seconds.
    pub total: f64,
}

impl Meter {
    /// The value of `memory.current`.
    pub(super) fn current(&self) -> u64 {
        self.anon + self.inactive_file
    }

    /// The part of a demand that the quota of this period still allows.
    fn within_quota(&self, limits: &Limits, demand: f64) -> f64 {
        match budget(limits) {
            Limit::Unlimited => demand,
            Limit::Of(budget) => demand.min((budget - self.granted).max(0.0)),
        }
    }

    /// Adds the current slice to the counters, with the node's share of what was granted, and ends the quota period if
    /// the slice ends with it.
    fn account_cpu(&mut self, limits: &Limits, node_share: f64, seconds: f64, ends_period: bool) {
        self.slice.1 *= node_share;
        let (demanded, granted) = self.slice;
        self.usage += granted;
        self.demanded += demanded;
        self.granted += granted;
        let stalled = if demanded > 0.0 { (1.0 - granted / demanded).max(0.0) } else { 0.0 };
        self.cpu_pressure.advance(stalled, seconds);
        if !ends_period {
            return;
        }
        if let Limit::Of(budget) = budget(limits)
            && self.demanded > 0.0
        {
            self.periods += 1;
            if self.demanded > budget * (1.0 + 1e-9) {
                self.throttled_periods += 1;
                self.throttled += PERIOD.as_secs_f64() * (1.0 - budget / self.demanded);
            }
        }
        (self.demanded, self.granted) = (0.0, 0.0);
    }

    /// Sets the memory in use to the demand, or to the limit.
    fn account_memory(&mut self, demand: f64, limit: Limit<Bytes>, seconds: f64) {
        let most = limit.bound().map_or(u64::MAX, |bytes| bytes.0);
        let demand = demand as u64;
        self.anon = demand.min(most);
        self.inactive_file = INACTIVE_FILE.min(most - self.anon);
        let excess = demand.saturating_sub(most);
        self.limit_events += u64::from(excess > 0);
        let stalled = if excess > 0 { excess as f64 / demand as f64 } else { 0.0 };
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

/// CPU seconds per quota period.
fn budget(limits: &Limits) -> Limit<f64> {
    match limits.quota() {
        Limit::Unlimited => Limit::Unlimited,
        Limit::Of(micros) => Limit::Of(micros as f64 / 1e6),
    }
}

/// The end of the slice that starts at `from`: the next period boundary, or `to` if that is earlier.
pub(super) fn slice_end(from: Duration, to: Duration) -> Duration {
    let period = PERIOD.as_nanos() as u64;
    let next = (from.as_nanos() as u64 / period + 1) * period;
    to.min(Duration::from_nanos(next))
}

/// Advances every counter by a slice, which does not cross a period boundary.
pub(super) fn advance(pods: &mut BTreeMap<PodUid, Pod>, cpus: u32, from: Duration, to: Duration) {
    let seconds = (to - from).as_secs_f64();
    for pod in pods.values_mut() {
        share_within_pod(pod, from, to);
    }
    let granted: f64 = pods.values().map(|pod| pod.meter.slice.1).sum();
    let node = f64::from(cpus) * seconds;
    let node_share = if granted > node { node / granted } else { 1.0 };
    let ends_period = to.as_nanos().is_multiple_of(PERIOD.as_nanos());
    for pod in pods.values_mut() {
        pod.meter.account_cpu(&pod.limits, node_share, seconds, ends_period);
        for container in pod.containers.values_mut() {
            container.meter.account_cpu(&container.limits, node_share, seconds, ends_period);
        }
        account_memory(pod, to, seconds);
    }
}

/// Grants each container its CPU demand within its own quota and that of its pod.
fn share_within_pod(pod: &mut Pod, from: Duration, to: Duration) {
    let mut total = 0.0;
    for container in pod.containers.values_mut() {
        let since = |t: Duration| t.saturating_sub(container.started);
        let demand = container.load.cpu.integral(since(from), since(to));
        let granted = container.meter.within_quota(&container.limits, demand);
        container.meter.slice = (demand, granted);
        total += granted;
    }
    let granted = pod.meter.within_quota(&pod.limits, total);
    pod.meter.slice = (total, granted);
    if granted < total {
        for container in pod.containers.values_mut() {
            container.meter.slice.1 *= granted / total;
        }
    }
}

fn account_memory(pod: &mut Pod, now: Duration, seconds: f64) {
    let mut total = 0.0;
    for container in pod.containers.values_mut() {
        let demand = container.load.memory.at(now.saturating_sub(container.started));
        container.meter.account_memory(demand, container.limits.memory, seconds);
        total += container.meter.anon as f64;
    }
    pod.meter.account_memory(total, pod.limits.memory, seconds);
    let caches = pod.containers.values().map(|container| container.meter.inactive_file).sum::<u64>();
    let room = pod.limits.memory.bound().map_or(u64::MAX, |most| most.0 - pod.meter.anon);
    pod.meter.inactive_file = caches.min(room);
}
