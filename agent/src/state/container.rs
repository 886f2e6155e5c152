//! One cgroup, a container's or a pod's own: what was last read of it, its smoothed usage, its usage history.

use plimsoll_contract::load::{BoundBy, UnknownReason};
use plimsoll_contract::report::{Capacity, MemoryEvents};
use plimsoll_contract::{Bytes, Cores, Limit, Moment};

use super::candidates::ResourceUsage;
use crate::load::{self, Denominator, Request};
use crate::profile::Profile;
use crate::sample::{CpuCounters, CpuSample, Inode, MemoryDetail, Read, Reading};
use crate::usage::UsageHistory;

/// Share of throttled periods above which a container is bound by its limit.
const THROTTLED_FROM: f64 = 0.05;
/// PSI `some avg10` in percent above which a container is under pressure.
const PRESSURE_FROM: f64 = 10.0;

/// Everything known of one cgroup. Values that a sweep does not read keep their last value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    inode: Option<Inode>,
    /// The last CPU counters, of which directory they are, and when they were read.
    baseline: Option<(Inode, Moment, CpuCounters)>,
    /// The sweep in which it was last read.
    pub(super) sweep: u64,
    pub(super) cpu: ResourceUsage,
    pub(super) memory: ResourceUsage,
    /// CPU use and throttling over the last interval.
    pub(crate) sample: Option<CpuSample>,
    current: Read<Bytes>,
    pub(crate) detail: Read<MemoryDetail>,
    pub(crate) cpu_limit: Read<Limit<Cores>>,
    pub(crate) memory_limit: Read<Limit<Bytes>>,
    pub(crate) cpu_pressure: Read<f64>,
    pub(crate) memory_pressure: Read<f64>,
    pub(crate) events: Read<MemoryEvents>,
    pub(crate) limits_read: Option<Moment>,
    pub(crate) usage: UsageHistory,
}

/// What in a reading may call for a report at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) limits: bool,
    pub(super) memory_events: bool,
}

impl Container {
    /// Processes one reading of the given sweep.
    pub(super) fn observe(
        &mut self,
        reading: &Reading,
        sweep: u64,
        profile: &Profile,
        node: Option<Capacity>,
    ) -> Changes {
        if self.inode.replace(reading.inode).is_some_and(|inode| inode != reading.inode) {
            self.reset_directory();
        }
        self.sweep = sweep;
        let before = (self.cpu_limit.value(), self.memory_limit.value(), self.events.value());
        let is_cores = |limit: Limit<Cores>| limit.bound().is_none_or(|l| l.0.is_finite() && l.0 >= 0.0);
        let is_percentage = |p: f64| (0.0..=100.0).contains(&p);
        self.cpu_limit = valid(reading.cpu_limit, is_cores).or(self.cpu_limit);
        self.memory_limit = reading.memory_limit.or(self.memory_limit);
        self.cpu_pressure = valid(reading.cpu_pressure, is_percentage).or(self.cpu_pressure);
        self.memory_pressure = valid(reading.memory_pressure, is_percentage).or(self.memory_pressure);
        self.events = reading.memory_events.or(self.events);
        if reading.cpu_limit.value().is_some() || reading.memory_limit.value().is_some() {
            self.limits_read = Some(reading.at);
        }
        self.observe_cpu(reading, profile, node);
        self.observe_memory(reading, profile);
        Changes {
            limits: changed(before.0, self.cpu_limit.value()) || changed(before.1, self.memory_limit.value()),
            memory_events: changed(before.2, self.events.value()),
        }
    }

    /// The cgroup was created again: nothing that was read of the earlier directory is valid for this one. The baseline
    /// remains, because its inode shows that the next counters have started over.
    fn reset_directory(&mut self) {
        self.current = Read::NotDue;
        self.detail = Read::NotDue;
        self.cpu_limit = Read::NotDue;
        self.memory_limit = Read::NotDue;
        self.events = Read::NotDue;
        self.limits_read = None;
    }

    fn observe_cpu(&mut self, reading: &Reading, profile: &Profile, node: Option<Capacity>) {
        let counters = match reading.cpu {
            Read::NotDue => return,
            Read::Unknown(reason) => {
                self.cpu.unknown = Some(reason);
                self.sample = None;
                return;
            }
            Read::Value(counters) => counters,
        };
        let (longest, cpus) = (profile.longest_gap(), node.map(|node| node.cores));
        let Some((inode, at, before)) = self.baseline.replace((reading.inode, reading.at, counters)) else {
            return;
        };
        let sample = match inode == reading.inode {
            true => CpuSample::between((at, before), (reading.at, counters), longest, cpus),
            false => Err(UnknownReason::CounterReset),
        };
        match sample {
            Ok(sample) => {
                self.cpu.add(sample.start, sample.end, sample.cores.0, profile);
                self.usage.record_cpu(sample.start, sample.end, sample.cores.0, longest);
                self.sample = Some(sample);
            }
            Err(reason) => {
                self.cpu.unknown = Some(reason);
                self.sample = None;
            }
        }
    }

    fn observe_memory(&mut self, reading: &Reading, profile: &Profile) {
        self.current = reading.memory.or(self.current);
        self.detail = reading.memory_detail.or(self.detail);
        match (self.current.known(), self.detail.known()) {
            (Err(reason), _) | (_, Err(reason)) => self.memory.unknown = Some(reason),
            (Ok(current), Ok(detail))
                if reading.memory.value().is_some() || self.memory.unknown.is_some() =>
            {
                let bytes = current.saturating_sub(detail.inactive_file).as_f64();
                // the amount counts for the time since the last reading; after a gap nothing is known of that time
                let longest = profile.longest_gap();
                let last = self.memory.smoothed.map(|smoothed| smoothed.until());
                let last = last.filter(|last| reading.at.since(*last) <= longest);
                let start = last.map_or(reading.at, |last| last.min(reading.at));
                self.memory.add(start, reading.at, bytes, profile);
                self.usage.record_memory(start, reading.at, bytes, longest);
            }
            (Ok(_), Ok(_)) => {}
        }
    }

    /// It was not read in the sweep that just ended.
    pub(super) fn set_absent(&mut self) {
        self.cpu.unknown = Some(UnknownReason::Absent);
        self.memory.unknown = Some(UnknownReason::Absent);
        self.sample = None;
    }

    /// It replaces `earlier`, a stopped container of the same name.
    pub(super) fn continue_from(&mut self, earlier: &Container) {
        self.cpu.continue_from(&earlier.cpu);
        self.memory.continue_from(&earlier.memory);
        self.usage.continue_from(&earlier.usage);
    }

    pub(super) fn cpu_basis(
        &self,
        request: Request,
        node: Option<Capacity>,
        floor: f64,
    ) -> Result<Denominator, UnknownReason> {
        load::cpu_basis(self.cpu_limit.known()?, request, node, floor)
    }

    pub(super) fn memory_basis(&self, node: Option<Capacity>) -> Result<Denominator, UnknownReason> {
        load::memory_basis(self.memory_limit.known()?, node)
    }

    /// Whether it has a CPU quota, or why that is not known.
    pub(super) fn has_cpu_limit(&self) -> Result<bool, UnknownReason> {
        self.cpu_limit.known().map(|limit| limit.bound().is_some())
    }

    /// Whether it has a memory limit, or why that is not known.
    pub(super) fn has_memory_limit(&self) -> Result<bool, UnknownReason> {
        self.memory_limit.known().map(|limit| limit.bound().is_some())
    }

    /// Share of the quota's periods that were throttled; absent without a quota, or if they were not counted.
    pub(crate) fn throttled(&self) -> Option<f64> {
        let limited = self.has_cpu_limit() == Ok(true);
        self.sample.filter(|_| limited).and_then(|sample| sample.throttled)
    }

    /// Memory in use less inactive page cache, as last read.
    pub(crate) fn working_set(&self) -> Option<Bytes> {
        let (current, detail) = (self.current.value()?, self.detail.value()?);
        self.memory.unknown.is_none().then(|| current.saturating_sub(detail.inactive_file))
    }

    /// What limits its CPU; absent if that is not known. Pressure alone does not have a cause: where the throttling of a quota is
    /// not known, it is not attributed to the node. Without pressure accounting (cgroup v1) `none` cannot be proven.
    pub(crate) fn bound_by(&self) -> Option<BoundBy> {
        let not_throttled = self.throttled().is_some() || self.has_cpu_limit() == Ok(false);
        match (self.throttled(), self.cpu_pressure.value()) {
            (Some(throttled), _) if throttled > THROTTLED_FROM => Some(BoundBy::Limit),
            (_, Some(pressure)) if pressure > PRESSURE_FROM => not_throttled.then_some(BoundBy::Node),
            (_, Some(_)) => Some(BoundBy::None),
            (_, None) => None,
        }
    }

    /// Whether it is throttled or waits for CPU or memory.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.throttled().is_some_and(|throttled| throttled > THROTTLED_FROM)
            || [self.cpu_pressure, self.memory_pressure]
                .iter()
                .any(|p| p.value().is_some_and(|p| p > PRESSURE_FROM))
    }
}

/// A value that is not `valid` is malformed.
fn valid<T: Copy>(read: Read<T>, valid: impl Fn(T) -> bool) -> Read<T> {
    match read {
        Read::Value(value) if !valid(value) => Read::Unknown(UnknownReason::Malformed),
        read => read,
    }
}

fn changed<T: PartialEq + Copy>(before: Option<T>, after: Option<T>) -> bool {
    before.is_some() && after.is_some() && before != after
}
