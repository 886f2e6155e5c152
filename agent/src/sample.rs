//! What one sweep reads of one cgroup, and the rate between two readings.
//!
//! Pure: no file, no clock. `host` fills a [`Reading`], `state` consumes it. A rate is a function of two readings and the
//! time between them (`CpuSample::between`); it is refused when the two do not belong together. Proof: `sample/tests.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, Moment, PodUid};
use serde::{Deserialize, Serialize};

/// Which cgroup a reading is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The pod.
    pub pod: PodUid,
    /// The container; absent for the pod's own cgroup.
    pub container: Option<ContainerId>,
}

/// Identifies the directory behind a reading: a cgroup created again under the same name has another inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Inode {
    /// Device number.
    pub device: u64,
    /// Inode number on that device.
    pub number: u64,
}

/// What is read more often than usual, and what less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Pods with an SLA class.
    pub managed: BTreeSet<PodUid>,
    /// Containers that the roster had time to list and did not, such as the pause container.
    pub unlisted: BTreeSet<ContainerId>,
}

/// One value of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum Read<T> {
    /// Not read in this sweep; the previous value remains valid.
    #[default]
    NotDue,
    /// Not known now, and why. Never to be treated as zero.
    Unknown(UnknownReason),
    /// The value.
    Value(T),
}

impl<T> Read<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Read::Value(value) => Some(value),
            Read::NotDue | Read::Unknown(_) => None,
        }
    }

    /// This, or, where it was not read, the previous one.
    pub(crate) fn or(self, previous: Read<T>) -> Read<T> {
        if matches!(self, Read::NotDue) { previous } else { self }
    }

    /// The value, or why there is none.
    pub(crate) fn known(self) -> Result<T, UnknownReason> {
        match self {
            Read::NotDue => Err(UnknownReason::WarmingUp),
            Read::Unknown(reason) => Err(reason),
            Read::Value(value) => Ok(value),
        }
    }
}

/// Everything one sweep read of one cgroup.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// When the CPU counters were read.
    pub at: Moment,
    /// The directory that was read.
    pub inode: Inode,
    /// CPU counters.
    pub cpu: Read<CpuCounters>,
    /// CPU quota.
    pub cpu_limit: Read<Limit<Cores>>,
    /// PSI `some avg10` of CPU, percent.
    pub cpu_pressure: Read<f64>,
    /// Memory in use, page cache included.
    pub memory: Read<Bytes>,
    /// The fields of `memory.stat` in use here.
    pub memory_detail: Read<MemoryDetail>,
    /// Memory limit.
    pub memory_limit: Read<Limit<Bytes>>,
    /// PSI `some avg10` of memory, percent.
    pub memory_pressure: Read<f64>,
    /// Memory events since the cgroup was created.
    pub memory_events: Read<MemoryEvents>,
    /// Whether a process is in the cgroup, or in one below it; unknown on cgroup v1.
    pub populated: Read<bool>,
}

/// Cumulative CPU counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuCounters {
    /// CPU time used.
    pub usage: Duration,
    /// Quota accounting; absent where no quota was ever set or the controller is off.
    pub throttling: Option<Throttling>,
}

/// Cumulative quota counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// Enforcement periods in which the cgroup was runnable.
    pub periods: u64,
    /// Those of them in which the quota ran out.
    pub throttled: u64,
}

/// The fields of `memory.stat` in use here, children included; absent where the kernel does not list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryDetail {
    /// Anonymous memory.
    pub anon: Option<Bytes>,
    /// Shared memory and tmpfs; before Linux 4.13, cgroup v1 does not list it.
    pub shmem: Option<Bytes>,
    /// Page cache, shared memory and tmpfs included.
    pub file: Option<Bytes>,
    /// Page cache in use recently.
    pub active_file: Option<Bytes>,
    /// Page cache not in use recently.
    pub inactive_file: Option<Bytes>,
    /// Kernel memory that can be reclaimed. Cgroup v1 counts it as memory in use, but does not list it: there it counts as load.
    pub slab_reclaimable: Option<Bytes>,
    /// Kernel memory that cannot be reclaimed.
    pub slab_unreclaimable: Option<Bytes>,
}

impl MemoryDetail {
    /// Anonymous, shared and unreclaimable kernel memory; unknown where the kernel does not list shared memory.
    pub fn unreclaimable(&self) -> Option<Bytes> {
        let kernel = self.slab_unreclaimable.unwrap_or(Bytes(0));
        Some(sum([self.anon?, self.shmem?, kernel]))
    }

    /// Of `current`, the memory in use, all but inactive page cache. Kernels have counted more inactive page cache than page
    /// cache: it is never more than that, and the working set never less than what cannot be reclaimed.
    pub fn working_set(&self, current: Bytes) -> Option<Bytes> {
        let inactive = self.inactive_file?.min(self.file.unwrap_or(current));
        Some(self.at_least_resident(current.saturating_sub(inactive), current))
    }

    /// Of `current`, the memory in use, all that the kernel cannot reclaim at once: a page cache, however active, is no load.
    /// Where reclaimable memory is not listed, it counts.
    pub fn required(&self, current: Bytes) -> Option<Bytes> {
        let cache = sum([self.active_file.unwrap_or(Bytes(0)), self.inactive_file?]);
        let most = self.file.map(|file| file.saturating_sub(self.shmem.unwrap_or(Bytes(0))));
        let reclaimable = sum([cache.min(most.unwrap_or(cache)), self.slab_reclaimable.unwrap_or(Bytes(0))]);
        Some(self.at_least_resident(current.saturating_sub(reclaimable), current))
    }

    /// `bytes`, but not less than anonymous and shared memory, and not more than `current`: the details may be older.
    fn at_least_resident(&self, bytes: Bytes, current: Bytes) -> Bytes {
        let resident = [self.anon, self.shmem, self.slab_unreclaimable].into_iter().flatten();
        bytes.max(resident.fold(Bytes(0), |sum, part| Bytes(sum.0.saturating_add(part.0)))).min(current)
    }
}

fn sum<const N: usize>(parts: [Bytes; N]) -> Bytes {
    Bytes(parts.iter().fold(0, |sum, part| sum.saturating_add(part.0)))
}

/// CPU use between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CpuSample {
    /// Time of the first reading.
    pub(crate) start: Moment,
    /// Time of the second reading.
    pub(crate) end: Moment,
    /// Mean use between the two.
    pub(crate) cores: Cores,
    /// The quota's periods between the two; absent unless both readings have the counters and neither counter decreased.
    pub(crate) throttling: Option<Throttling>,
}

impl CpuSample {
    /// Share of the quota's periods that were throttled, 0 to 1; 0 if no period passed, since nothing was runnable.
    pub(crate) fn throttled(&self) -> Option<f64> {
        self.throttling
            .map(|Throttling { periods, throttled }| throttled_share(periods as f64, throttled as f64))
    }
}

/// Share of throttled periods, 0 to 1; 0 without a period.
pub(crate) fn throttled_share(periods: f64, throttled: f64) -> f64 {
    if periods > 0.0 { (throttled / periods).min(1.0) } else { 0.0 }
}

/// Interval, in sweeps, at which a cgroup's pressures, events (but of managed pods) and (unless that is slow) `memory.stat` are read,
/// and the memory in use of a pod's own cgroup that has no limit.
pub(crate) const DETAIL_EVERY: u64 = 5;

/// Whether the memory in use changed so much that its details are out of date: by a twentieth, and by
/// [`CHARGE_BATCH`].
pub(crate) fn has_memory_changed(before: Bytes, now: Bytes) -> bool {
    let change = now.0.abs_diff(before.0);
    change >= CHARGE_BATCH && change >= before.0 / 20
}

/// Memory that changes by less than this many bytes has not changed: the kernel charges memory in batches of 64 pages.
const CHARGE_BATCH: u64 = 256 << 10;

/// How far a rate may exceed the node's CPUs: accounting is not synchronous with the reading.
const CPU_SLACK: f64 = 1.02;
/// CPU time, in seconds, by which a reading may lag in total. Matters for short intervals only.
const CPU_LAG: f64 = 0.02;

impl CpuSample {
    /// The use between two readings of the same directory that are at most `longest` apart, on a node with this many `cpus`
    /// (absent: not known).
    ///
    /// # Errors
    /// [`UnknownReason::Gap`] if too much time passed; [`UnknownReason::CounterReset`] if no time passed, the usage
    /// decreased, or more was used than the node has. The later reading is the new baseline either way.
    pub(crate) fn between(
        (start, before): (Moment, CpuCounters),
        (end, after): (Moment, CpuCounters),
        longest: Duration,
        cpus: Option<Cores>,
    ) -> Result<CpuSample, UnknownReason> {
        let time = end.since(start);
        if time.is_zero() {
            return Err(UnknownReason::CounterReset);
        }
        if time > longest {
            return Err(UnknownReason::Gap);
        }
        let used = after.usage.checked_sub(before.usage).ok_or(UnknownReason::CounterReset)?.as_secs_f64();
        let throttling = match (before.throttling, after.throttling) {
            (Some(before), Some(after)) => after.since(before),
            _ => None,
        };
        let max = cpus.map_or(f64::INFINITY, |cpus| cpus.0 * CPU_SLACK);
        if used > max * time.as_secs_f64() + CPU_LAG {
            return Err(UnknownReason::CounterReset);
        }
        Ok(CpuSample { start, end, cores: Cores((used / time.as_secs_f64()).min(max)), throttling })
    }
}

impl Throttling {
    /// What was counted since `before`; absent if a counter decreased.
    fn since(self, before: Throttling) -> Option<Throttling> {
        let periods = self.periods.checked_sub(before.periods)?;
        Some(Throttling { periods, throttled: self.throttled.checked_sub(before.throttled)? })
    }
}

#[cfg(test)]
mod tests;
