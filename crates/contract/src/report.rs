//! An agent's statement about its node.
//!
//! Absent means unknown. Times are RFC 3339 (UTC), ages and durations seconds, CPU cores, memory bytes, pressure the
//! kernel's PSI `some avg10` in percent. A *full* report names every pod of the node; a partial one only those that
//! changed, and says nothing about the others.

use serde::{Deserialize, Serialize};

use crate::load::{BoundBy, CpuLoad, MemoryLoad};
use crate::rejection::{ReportRejection, oldest_version};
use crate::{Bytes, ContainerId, Cores, Limit, NodeName, PodUid};

#[cfg(test)]
mod tests;

/// The schema version that this code writes. It reads this one and the one before.
pub const VERSION: u32 = 3;
/// Most pods that one report may name.
pub const MAX_PODS: usize = 1000;
/// Most containers that one pod may name.
pub const MAX_CONTAINERS: usize = 200;
/// Largest sequence number of a report: not every reader of JSON takes larger whole numbers exactly.
pub const MAX_SEQ: u64 = 1 << 53;
/// Largest report body accepted, in bytes.
pub const MAX_BODY: usize = 2 << 20;
/// How far a usage may exceed what the node has before it is rejected as impossible: measuring noise at full load.
pub const CAPACITY_SLACK: f64 = 1.2;

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Schema version, [`VERSION`].
    pub version: u32,
    /// The node reported on; must be the node of the token that delivers it.
    pub node: NodeName,
    /// The node's boot id; nodes that share one share a kernel.
    pub boot: String,
    /// Rises with each report of one agent process, up to [`MAX_SEQ`]. It starts at the agent's start time in milliseconds
    /// since the epoch, so that a restarted agent continues above it. Where it does not, because the clock was set back, or is
    /// far ahead of the aggregator's clock, the rejection names the number to continue from
    /// ([`RejectionBody::newest`](crate::rejection::RejectionBody::newest),
    /// [`RejectionBody::continue_from`](crate::rejection::RejectionBody::continue_from)).
    pub seq: u64,
    /// Whether every pod of the node is named.
    pub full: bool,
    /// The newest roster version the agent has; 0 for none.
    pub roster_version: u64,
    /// The process that this version is of, as its answer said
    /// ([`Answer::roster_process`](crate::roster::Answer::roster_process)); absent before the first answer, and from agents of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster_process: Option<String>,
    /// What the node has.
    pub capacity: Capacity,
    /// The pods.
    pub pods: Vec<PodReport>,
}

/// The capacity of a node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// CPUs that pods can use: those online, less where the node itself is limited.
    pub cores: Cores,
    /// Memory that pods can use.
    pub bytes: Bytes,
    /// CPUs that the kernel schedules on, where these are more: usage may exceed `cores` up to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cores>,
    /// Memory that could be allocated now without swapping: the kernel's `MemAvailable`, less where the node itself is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<Bytes>,
}

impl Capacity {
    /// The most that can be used of each: cores and bytes, with the slack of [`CAPACITY_SLACK`].
    pub fn upper_bounds(&self) -> (f64, f64) {
        let cores = self.cpus.map_or(self.cores.0, |cpus| cpus.0.max(self.cores.0));
        (cores * CAPACITY_SLACK, self.bytes.as_f64() * CAPACITY_SLACK)
    }
}

/// One pod's load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodReport {
    /// As the cgroup carries it.
    pub uid: PodUid,
    /// CPU load of the hottest candidate.
    pub cpu: CpuLoad,
    /// Memory load of the hottest candidate.
    pub memory: MemoryLoad,
    /// The containers that count (app and sidecar), or all while the roster is not known.
    #[serde(default)]
    pub containers: Vec<ContainerReport>,
    /// The pod's own cgroup; of managed pods only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PodCgroup>,
}

/// What the kernel enforces on all of a pod. A resize of its containers may leave an older, lower limit here
/// (kubernetes/kubernetes#138760).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCgroup {
    /// The quota, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_cores: Option<Limit<Cores>>,
    /// The memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<Limit<Bytes>>,
}

/// One container's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    /// Its id.
    pub id: ContainerId,
    /// CPU.
    #[serde(default)]
    pub cpu: ContainerCpu,
    /// Memory.
    #[serde(default)]
    pub memory: ContainerMemory,
    /// Seconds since the limits were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_age: Option<f64>,
    /// Seconds it has been watched without a gap, across restarts of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<f64>,
}

/// One container's CPU.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerCpu {
    /// Usage over the last sweep, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<Cores>,
    /// The quota, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_cores: Option<Limit<Cores>>,
    /// Share of the quota's periods in which it was throttled, 0 to 1, over the last sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// The same over the last 2 s; of managed pods only, and absent while the last 2 s are not all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled2: Option<f64>,
    /// The same over the last 3 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled3: Option<f64>,
    /// Mean usage over the last 3 s, in cores; of managed pods only, and absent while the last 3 s are not all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean3: Option<Cores>,
    /// `mean3` relative to the quota that is enforced, else to the request, however small; absent without either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization3: Option<f64>,
    /// PSI `some avg10`, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<f64>,
    /// 95th percentile of the usage over 30 s, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<Cores>,
    /// Largest 1-minute mean of the last 24 h, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Cores>,
    /// What limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_by: Option<BoundBy>,
}

/// One container's memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerMemory {
    /// Usage less inactive file pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_set: Option<Bytes>,
    /// What cannot be reclaimed: anonymous, shared and unreclaimable kernel memory. Absent while `memory.stat` is older than a change of the memory
    /// in use, or, where reading it is slow, than 5 sweeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreclaimable: Option<Bytes>,
    /// The smallest `unreclaimable` of the last 2 s; of managed pods only, and absent while the last 2 s are not all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreclaimable2: Option<Bytes>,
    /// Growth of `unreclaimable` over the last 15 s in bytes per second, negative where it shrinks; of managed pods only, and absent
    /// while most of the last 15 s are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<f64>,
    /// The limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<Bytes>>,
    /// PSI `some avg10`, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<f64>,
    /// Counts of memory events since the container started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<MemoryEvents>,
    /// Rises of these counts since the last report of the container that was accepted, also through its restarts; of managed pods only. They
    /// are repeated where the answer to an accepted report was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_delta: Option<MemoryEvents>,
    /// Largest 1-minute mean of the working set in the last 24 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Bytes>,
}

/// Counts of memory events since the cgroup was made; absent where the kernel does not count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryEvents {
    /// Throttled above `memory.high`; cgroup v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u64>,
    /// Hit `memory.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Processes killed for memory; since Linux 4.13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill: Option<u64>,
}

impl Report {
    /// Whether every number is finite, not negative and within what the node has.
    ///
    /// # Errors
    /// The first thing found wrong, naming the pod, the field and the rule.
    pub fn check(&self) -> Result<(), ReportRejection> {
        self.check_frame()?;
        self.pods.iter().try_for_each(|pod| pod.check(&self.capacity))
    }

    /// Whether everything but the pods is as it should be: version, boot id, sequence number, number of pods, capacity.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check_frame(&self) -> Result<(), ReportRejection> {
        if !(oldest_version()..=VERSION).contains(&self.version) {
            return Err(ReportRejection::Version(self.version));
        }
        if self.boot.len() > 64 {
            return Err(ReportRejection::Boot(self.boot.len()));
        }
        if self.seq > MAX_SEQ {
            return Err(ReportRejection::Seq(self.seq));
        }
        if self.pods.len() > MAX_PODS {
            return Err(ReportRejection::TooMany(self.pods.len(), "pods", MAX_PODS));
        }
        amount("-", "capacity.cpus", self.capacity.cpus.map(|cpus| cpus.0), f64::INFINITY)?;
        amount("-", "capacity.cores", Some(self.capacity.cores.0), f64::INFINITY)?;
        let available = self.capacity.available_bytes.map(Bytes::as_f64);
        amount("-", "capacity.availableBytes", available, self.capacity.bytes.as_f64())
    }
}

impl PodReport {
    /// Whether every number of this pod is finite, not negative and within what the node has.
    ///
    /// # Errors
    /// The first thing found wrong, naming the field and the rule.
    pub fn check(&self, capacity: &Capacity) -> Result<(), ReportRejection> {
        if self.containers.len() > MAX_CONTAINERS {
            return Err(ReportRejection::TooMany(self.containers.len(), "containers", MAX_CONTAINERS));
        }
        let pod = self.uid.as_str();
        let (cores, bytes) = capacity.upper_bounds();
        amount(pod, "cpu.cores", self.cpu.usage.map(|c| c.0), cores)?;
        amount(pod, "cpu.of", self.cpu.of.map(|c| c.0), f64::INFINITY)?;
        amount(pod, "cpu.request", self.cpu.request.map(|c| c.0), f64::INFINITY)?;
        amount(pod, "cpu.utilization", self.cpu.utilization, f64::INFINITY)?;
        amount(pod, "memory.bytes", self.memory.usage.map(Bytes::as_f64), bytes)?;
        amount(pod, "memory.utilization", self.memory.utilization, f64::INFINITY)?;
        if let Some(cause) = &self.cpu.cause {
            amount(pod, "cpu.cause.usage", Some(cause.usage.0), cores)?;
            amount(pod, "cpu.cause.of", Some(cause.of.0), f64::INFINITY)?;
            amount(pod, "cpu.cause.request", cause.request.map(|c| c.0), f64::INFINITY)?;
            amount(pod, "cpu.cause.seconds", Some(cause.seconds), f64::INFINITY)?;
        }
        if let Some(cause) = &self.memory.cause {
            amount(pod, "memory.cause.usage", Some(cause.usage.as_f64()), bytes)?;
            amount(pod, "memory.cause.seconds", Some(cause.seconds), f64::INFINITY)?;
        }
        let own_quota = self.cgroup.and_then(|cgroup| cgroup.limit_cores).and_then(Limit::bound);
        amount(pod, "cgroup.limitCores", own_quota.map(|c| c.0), f64::INFINITY)?;
        for container in &self.containers {
            let (cpu, memory) = (&container.cpu, &container.memory);
            amount(pod, "containers.cpu.cores", cpu.cores.map(|c| c.0), cores)?;
            amount(pod, "containers.cpu.p95", cpu.p95.map(|c| c.0), cores)?;
            amount(pod, "containers.cpu.peak", cpu.peak.map(|c| c.0), cores)?;
            amount(
                pod,
                "containers.cpu.limitCores",
                cpu.limit_cores.and_then(Limit::bound).map(|c| c.0),
                f64::INFINITY,
            )?;
            amount(pod, "containers.cpu.throttled", cpu.throttled, 1.0)?;
            amount(pod, "containers.cpu.throttled2", cpu.throttled2, 1.0)?;
            amount(pod, "containers.cpu.throttled3", cpu.throttled3, 1.0)?;
            amount(pod, "containers.cpu.mean3", cpu.mean3.map(|c| c.0), cores)?;
            amount(pod, "containers.cpu.utilization3", cpu.utilization3, f64::INFINITY)?;
            amount(pod, "containers.cpu.pressure", cpu.pressure, 100.0)?;
            amount(pod, "containers.memory.workingSet", memory.working_set.map(Bytes::as_f64), bytes)?;
            amount(pod, "containers.memory.unreclaimable2", memory.unreclaimable2.map(Bytes::as_f64), bytes)?;
            // the only number that may be negative: by no more than there is to shrink
            amount(pod, "containers.memory.growth", memory.growth.map(f64::abs), bytes)?;
            amount(pod, "containers.memory.pressure", memory.pressure, 100.0)?;
            amount(pod, "containers.limitsAge", container.limits_age, f64::INFINITY)?;
            amount(pod, "containers.window", container.window, f64::INFINITY)?;
        }
        Ok(())
    }
}

fn amount(pod: &str, field: &'static str, value: Option<f64>, most: f64) -> Result<(), ReportRejection> {
    let Some(value) = value else { return Ok(()) };
    let rule = match value {
        v if !v.is_finite() => "must be a finite number",
        v if v < 0.0 => "must not be negative",
        v if v > most => "is more than there is",
        _ => return Ok(()),
    };
    Err(ReportRejection::Value { pod: pod.into(), field, value, rule })
}
