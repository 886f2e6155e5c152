//! What one sweep reads of one cgroup, and what two sweeps say together.
//!
//! Pure: no file, no clock. `host` fills a [`Reading`], `load` consumes it. A rate is a function of two readings and the
//! time between ([`CpuSample::between`]); it refuses to answer when they are not of the same thing. Proof: `sample/tests.rs`.

use std::time::Duration;

use plimsoll_contract::report::{MemoryEvents, UnknownReason};
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodUid};

/// A point on the boot-time clock (it goes on while the machine sleeps, and never steps).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// Time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Which cgroup a reading is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The pod.
    pub pod: PodUid,
    /// The container; absent for the pod's own cgroup.
    pub container: Option<ContainerId>,
}

/// The directory behind a reading: a cgroup made again under the same name has another inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode {
    /// Device number.
    pub device: u64,
    /// Inode number on it.
    pub number: u64,
}

/// One file's worth of a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Read<T> {
    /// Its turn has not come in this sweep; what was read before still stands.
    NotDue,
    /// It cannot be known now, and why. Never to be taken for zero.
    Unknown(UnknownReason),
    /// What it said.
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
}

/// Everything one sweep read of one cgroup.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When its counters were read.
    pub at: Moment,
    /// The directory it was read from.
    pub inode: Inode,
    /// CPU counters.
    pub cpu: Read<CpuCounters>,
    /// CPU quota.
    pub cpu_limit: Read<Limit<Cores>>,
    /// PSI `some avg10` of CPU, percent.
    pub cpu_pressure: Read<f64>,
    /// Memory in use, page cache included.
    pub memory: Read<Bytes>,
    /// The parts of `memory.stat` we use.
    pub memory_detail: Read<MemoryDetail>,
    /// Memory limit.
    pub memory_limit: Read<Limit<Bytes>>,
    /// PSI `some avg10` of memory, percent.
    pub memory_pressure: Read<f64>,
    /// Memory events since the cgroup was made.
    pub memory_events: Read<MemoryEvents>,
}

/// Cumulative CPU counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuCounters {
    /// CPU time used.
    pub usage: Duration,
    /// Quota accounting; absent where no quota was ever set or the controller is off.
    pub throttling: Option<Throttling>,
}

/// Cumulative quota counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// Enforcement periods that had something to run.
    pub periods: u64,
    /// Those of them in which the quota ran out.
    pub throttled: u64,
}

/// The parts of `memory.stat` we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryDetail {
    /// Page cache that can go at once; not part of the working set.
    pub inactive_file: Bytes,
    /// Anonymous, shared and unreclaimable kernel memory.
    pub unreclaimable: Bytes,
}

/// What a node has: the bound of everything measured on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeCapacity {
    /// CPUs online.
    pub cpus: Cores,
    /// Memory in total.
    pub memory: Bytes,
}

/// CPU counters with what tells whether two of them belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuPoint {
    /// When they were read.
    pub at: Moment,
    /// Of which directory.
    pub inode: Inode,
    /// What they said.
    pub counters: CpuCounters,
}

/// CPU use between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuSample {
    /// Of the first reading.
    pub start: Moment,
    /// Of the second.
    pub end: Moment,
    /// Mean use between the two.
    pub cores: Cores,
    /// Share of the quota's periods that were throttled, 0 to 1; 0 if none passed, as nothing wanted to run; absent if
    /// they were not counted both times.
    pub throttled: Option<f64>,
}

/// Why two readings say nothing about the time between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No time passed.
    NoTime,
    /// They are of different directories.
    OtherInode,
    /// Too much time passed.
    Gap,
    /// A counter moved backwards.
    Shrank,
    /// More was used than the node has.
    Impossible,
}

impl Refusal {
    /// As the report says it.
    pub fn reason(self) -> UnknownReason {
        match self {
            Refusal::Gap => UnknownReason::Gap,
            _ => UnknownReason::CounterReset,
        }
    }
}

/// How far a rate may exceed the node's CPUs: accounting is not synchronous with the reading.
const CPU_SLACK: f64 = 1.02;
/// CPU time that a reading may be late by in total, in seconds. Matters for short intervals only.
const CPU_LAG: f64 = 0.02;

impl CpuSample {
    /// The use between two readings that are at most `longest` apart, on a node with so many `cpus` (absent: not known).
    ///
    /// # Errors
    /// Why there is no answer. The later reading is the new baseline either way.
    pub fn between(
        before: &CpuPoint,
        after: &CpuPoint,
        longest: Duration,
        cpus: Option<Cores>,
    ) -> Result<CpuSample, Refusal> {
        let time = after.at.since(before.at);
        if before.inode != after.inode {
            return Err(Refusal::OtherInode);
        }
        if time.is_zero() {
            return Err(Refusal::NoTime);
        }
        if time > longest {
            return Err(Refusal::Gap);
        }
        let used = after.counters.usage.checked_sub(before.counters.usage).ok_or(Refusal::Shrank)?;
        let throttled = throttled(before.counters.throttling, after.counters.throttling)?;
        let cores = used.as_secs_f64() / time.as_secs_f64();
        let most = cpus.map_or(f64::INFINITY, |cpus| cpus.0 * CPU_SLACK);
        if used.as_secs_f64() > most * time.as_secs_f64() + CPU_LAG {
            return Err(Refusal::Impossible);
        }
        Ok(CpuSample { start: before.at, end: after.at, cores: Cores(cores.min(most)), throttled })
    }
}

fn throttled(before: Option<Throttling>, after: Option<Throttling>) -> Result<Option<f64>, Refusal> {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(None);
    };
    let periods = after.periods.checked_sub(before.periods).ok_or(Refusal::Shrank)?;
    let throttled = after.throttled.checked_sub(before.throttled).ok_or(Refusal::Shrank)?;
    if periods == 0 {
        return Ok(Some(0.0));
    }
    Ok(Some((throttled as f64 / periods as f64).min(1.0)))
}

#[cfg(test)]
mod tests;
