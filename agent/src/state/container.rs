//! One cgroup, a container's or a pod's own: what was last read of it, its smoothed usage, its usage history.

use std::time::Duration;

use plimsoll_contract::load::{BoundBy, UnknownReason};
use plimsoll_contract::report::{Capacity, MemoryEvents};
use plimsoll_contract::{Bytes, Cores, Limit, Moment, Resource};

use super::candidates::ResourceUsage;
use super::events::EventCounter;
use super::urgency::Triggers;
use crate::load::{self, Denominator, Request};
use crate::profile::Profile;
use crate::recent::Recent;
use crate::sample::{
    CpuCounters, CpuSample, DETAIL_EVERY, Inode, MemoryDetail, Read, Reading, has_memory_changed,
};
use crate::usage::UsageHistory;

/// Share of throttled periods above which a container is bound by its limit.
const THROTTLED_FROM: f64 = 0.05;
/// How long after its start a container that the roster does not list may still be listed.
pub(super) const ROSTER_WAIT: Duration = Duration::from_secs(30);
/// Memory that a cgroup without processes may hold without having anything to say: the kernel's own structures.
const EMPTY_MEMORY: Bytes = Bytes(4 << 20);
/// PSI `some avg10` in percent above which a container is under pressure.
const PRESSURE_FROM: f64 = 10.0;
/// How long pressure may be what throttling left: `avg10`, which falls to 1/e in 10 s, from 100 % to [`PRESSURE_FROM`].
const PRESSURE_LASTS: Duration = Duration::from_secs(24);
/// Share of throttled periods of 2 s above which a container is under pressure; of 3 s, [`THROTTLED_FROM`].
const THROTTLED2_FROM: f64 = 0.25;
/// Mean use of 3 s relative to the limit or request from which a container is under pressure.
const UTILIZATION3_FROM: f64 = 0.70;
/// Unreclaimable memory of 2 s relative to the limit from which a container is under pressure.
const UNRECLAIMABLE2_FROM: f64 = 0.75;

/// Everything known of one cgroup. Values that a sweep does not read keep their last value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    inode: Option<Inode>,
    /// The last CPU counters, of which directory they are, and when they were read.
    baseline: Option<(Inode, Moment, CpuCounters)>,
    /// The sweep in which it was last read.
    pub(super) sweep: u64,
    /// When it was first read.
    pub(super) started: Option<Moment>,
    /// When the container of this name stopped that it replaces, until it has run for long enough itself: a container that crashes
    /// again and again has been down since its first crash.
    pub(super) stopped_at: Option<Moment>,
    pub(super) cpu: ResourceUsage,
    pub(super) memory: ResourceUsage,
    /// CPU use and throttling over the last interval.
    pub(crate) sample: Option<CpuSample>,
    /// When it was last throttled.
    last_throttled: Option<Moment>,
    /// When its pressure was read.
    pressure_read: Option<Moment>,
    /// Whether the sample is of this sweep, and when memory was read in it.
    new_sample: bool,
    new_memory: Option<Moment>,
    populated: Read<bool>,
    current: Read<Bytes>,
    pub(crate) detail: Read<MemoryDetail>,
    pub(crate) cpu_limit: Read<Limit<Cores>>,
    pub(crate) memory_limit: Read<Limit<Bytes>>,
    pub(crate) cpu_pressure: Read<f64>,
    pub(crate) memory_pressure: Read<f64>,
    pub(crate) events: Read<MemoryEvents>,
    pub(crate) limits_read: Option<Moment>,
    /// The limits as they were last known: one that changes while it cannot be read has changed all the same.
    known_limits: (Option<Limit<Cores>>, Option<Limit<Bytes>>),
    pub(crate) usage: UsageHistory,
    /// Memory in use when its details were read, and the sweep in which that was.
    current_at_detail: Option<(Bytes, u64)>,
    /// The last seconds; of containers that count in managed pods only.
    pub(crate) recent: Option<Box<Recent>>,
    pub(super) event_counter: EventCounter,
}

impl Container {
    /// Of which nothing was read. `is_new`: whether its cgroup was created while it was watched.
    pub(super) fn new(is_new: bool) -> Container {
        Container { event_counter: EventCounter::new(is_new), ..Container::default() }
    }

    /// Processes one reading of the given sweep. Returns whether its limits changed.
    pub(super) fn observe(
        &mut self,
        reading: &Reading,
        sweep: u64,
        profile: &Profile,
        cpus: Option<Cores>,
    ) -> bool {
        if self.inode.replace(reading.inode).is_some_and(|inode| inode != reading.inode) {
            self.reset_directory();
        }
        self.sweep = sweep;
        self.started = self.started.or(Some(reading.at));
        let before = self.known_limits;
        let is_cores = |limit: Limit<Cores>| limit.bound().is_none_or(|l| l.0.is_finite() && l.0 >= 0.0);
        let is_percentage = |p: f64| (0.0..=100.0).contains(&p);
        self.cpu_limit = valid(reading.cpu_limit, is_cores).or(self.cpu_limit);
        self.memory_limit = reading.memory_limit.or(self.memory_limit);
        if !matches!(reading.cpu_pressure, Read::NotDue) {
            self.pressure_read = Some(reading.at);
        }
        self.cpu_pressure = valid(reading.cpu_pressure, is_percentage).or(self.cpu_pressure);
        self.memory_pressure = valid(reading.memory_pressure, is_percentage).or(self.memory_pressure);
        self.events = reading.memory_events.or(self.events);
        self.populated = reading.populated.or(self.populated);
        if reading.cpu_limit.value().is_some() || reading.memory_limit.value().is_some() {
            self.limits_read = Some(reading.at);
        }
        self.observe_cpu(reading, profile, cpus);
        self.observe_memory(reading);
        self.known_limits = (self.cpu_limit.value().or(before.0), self.memory_limit.value().or(before.1));
        let is_new_quota = changed(before.0, self.known_limits.0);
        if let Some(recent) = self.recent.as_mut().filter(|_| is_new_quota) {
            recent.quota_since = Some(reading.at);
        }
        is_new_quota || changed(before.1, self.known_limits.1)
    }

    /// Adds what was read in this sweep to the last seconds, which are kept of containers in managed pods only.
    pub(super) fn observe_recent(&mut self, reading: &Reading, managed: bool) {
        if !managed {
            self.recent = None;
            return;
        }
        let unreclaimable = self.unreclaimable_now();
        let recent = self.recent.get_or_insert_default();
        if let Some(sample) = self.sample.filter(|_| self.new_sample) {
            recent.record_cpu(&sample);
        }
        if !matches!((reading.memory, reading.memory_detail), (Read::NotDue, Read::NotDue)) {
            recent.record_memory(reading.at, unreclaimable);
        }
    }

    /// What cannot be reclaimed, now. Absent while the details are older than a change of the memory in use, or, where reading them is slow, older
    /// than they ever are elsewhere: it may grow into the page cache without a change of the sum.
    fn unreclaimable_now(&self) -> Option<Bytes> {
        let (at_detail, sweep) = self.current_at_detail?;
        let is_current = self.sweep.saturating_sub(sweep) <= DETAIL_EVERY
            && !has_memory_changed(at_detail, self.current.value()?);
        self.detail.value().filter(|_| is_current)?.unreclaimable()
    }

    /// Memory that the kernel cannot reclaim.
    pub(crate) fn unreclaimable(&self) -> Option<Bytes> {
        self.memory.unknown.is_none().then(|| self.unreclaimable_now())?
    }

    /// The cgroup was created again: nothing that was read of the earlier directory is valid for this one. The baseline
    /// remains, because its inode shows that the next counters have started over.
    fn reset_directory(&mut self) {
        self.current = Read::NotDue;
        self.detail = Read::NotDue;
        self.cpu_limit = Read::NotDue;
        self.memory_limit = Read::NotDue;
        self.events = Read::NotDue;
        self.populated = Read::NotDue;
        self.limits_read = None;
        self.known_limits = (None, None);
        self.last_throttled = None;
        self.recent = None;
        self.event_counter = EventCounter::new(true);
    }

    fn observe_cpu(&mut self, reading: &Reading, profile: &Profile, cpus: Option<Cores>) {
        let counters = match reading.cpu {
            Read::NotDue => return,
            Read::Unknown(reason) => {
                self.set_cpu_unknown(reason);
                return;
            }
            Read::Value(counters) => counters,
        };
        let Some((inode, at, before)) = self.baseline.replace((reading.inode, reading.at, counters)) else {
            return;
        };
        let sample = match inode == reading.inode {
            true => {
                let longest = profile.longest_gap();
                CpuSample::between((at, before), (reading.at, counters), longest, cpus)
            }
            false => Err(UnknownReason::CounterReset),
        };
        match sample {
            Ok(sample) => {
                (self.sample, self.new_sample) = (Some(sample), true);
                if self.throttled().is_some_and(|throttled| throttled > THROTTLED_FROM) {
                    self.last_throttled = Some(reading.at);
                }
            }
            Err(reason) => self.set_cpu_unknown(reason),
        }
    }

    fn observe_memory(&mut self, reading: &Reading) {
        self.current = reading.memory.or(self.current);
        self.detail = reading.memory_detail.or(self.detail);
        if reading.memory_detail.value().is_some() {
            self.current_at_detail = self.current.value().map(|current| (current, self.sweep));
        }
        match (self.current.known(), self.detail.known()) {
            (Err(reason), _) | (_, Err(reason)) => self.memory.unknown = Some(reason),
            (Ok(current), Ok(detail)) if detail.required(current).is_none() => {
                self.memory.unknown = Some(UnknownReason::Malformed);
            }
            (Ok(_), Ok(_)) => {
                if reading.memory.value().is_some() || self.memory.unknown.is_some() {
                    self.new_memory = Some(reading.at);
                }
            }
        }
    }

    /// Adds what was read in this sweep to the usage, without the `cores` and `bytes` that are not the pod's load. Where these are
    /// not known, the usage is not known either.
    pub(super) fn add_usage(&mut self, cores: Option<f64>, bytes: Option<f64>, profile: &Profile) {
        let longest = profile.longest_gap();
        if self.is_empty(Resource::Cpu) {
            self.set_cpu_unknown(UnknownReason::Empty);
        }
        if self.is_empty(Resource::Memory) {
            self.set_memory_unknown(UnknownReason::Empty);
        }
        if let Some(sample) = self.sample.filter(|_| std::mem::take(&mut self.new_sample)) {
            match cores {
                Some(cores) => {
                    let used = (sample.cores.0 - cores).max(0.0);
                    self.cpu.add(sample.start, sample.end, used, profile);
                    self.usage.record_cpu(sample.start, sample.end, used, longest);
                }
                None => self.cpu.unknown = Some(UnknownReason::WarmingUp),
            }
        }
        let Some(at) = self.new_memory.take() else { return };
        match (self.required(), self.working_set_now(), bytes) {
            (Some(required), working_set, Some(bytes)) => {
                // the amount counts for the time since the last reading; after a gap nothing is known of that time
                let last = self.memory.smoothed.map(|smoothed| smoothed.until());
                let last = last.filter(|last| at.since(*last) <= longest);
                let start = last.map_or(at, |last| last.min(at));
                self.memory.add(start, at, (required.as_f64() - bytes).max(0.0), profile);
                if let Some(working_set) = working_set {
                    self.usage.record_memory(start, at, working_set.as_f64(), longest);
                }
            }
            _ => self.memory.unknown = Some(UnknownReason::WarmingUp),
        }
    }

    /// It was not read in the sweep that just ended.
    pub(super) fn set_absent(&mut self) {
        self.set_cpu_unknown(UnknownReason::Absent);
        self.set_memory_unknown(UnknownReason::Absent);
    }

    fn set_cpu_unknown(&mut self, reason: UnknownReason) {
        self.cpu.unknown = Some(reason);
        (self.sample, self.new_sample) = (None, false);
    }

    fn set_memory_unknown(&mut self, reason: UnknownReason) {
        self.memory.unknown = Some(reason);
        self.new_memory = None;
    }

    /// Whether no process is in it: that it uses nothing of the resource says nothing. Where the kernel does not say so (cgroup v1), a
    /// cgroup in which no CPU time was ever used counts as such: starting a process takes some. Memory may remain after the processes.
    pub(super) fn is_empty(&self, resource: Resource) -> bool {
        let never_used = || self.baseline.is_some_and(|(.., counters)| counters.usage.is_zero());
        if self.populated.value().map_or_else(never_used, |populated| !populated) {
            match resource {
                Resource::Cpu => self.sample.is_none_or(|sample| sample.cores.0 <= 0.0),
                Resource::Memory => self.required().is_none_or(|bytes| bytes <= EMPTY_MEMORY),
            }
        } else {
            false
        }
    }

    /// It replaces `earlier`, a container of the same name that stopped at this moment.
    pub(super) fn continue_from(&mut self, earlier: &Container, stopped_at: Moment) {
        self.cpu.continue_from(&earlier.cpu);
        self.memory.continue_from(&earlier.memory);
        self.usage.continue_from(&earlier.usage);
        self.stopped_at = Some(stopped_at);
    }

    /// Once it has run for long enough, it is no longer one that restarts.
    pub(super) fn settle(&mut self, now: Moment, warm_up: Duration) {
        if self.started.is_some_and(|started| now.since(started) >= warm_up) {
            self.stopped_at = None;
        }
    }

    /// What its CPU usage is relative to. `pod`: the limit of its pod's cgroup.
    pub(super) fn cpu_basis(
        &self,
        pod: Limit<Cores>,
        request: Request,
        node: Option<Capacity>,
        floor: f64,
    ) -> Result<Denominator, UnknownReason> {
        load::cpu_basis(tightest(self.cpu_limit.known()?, pod), request, node, floor)
    }

    /// What its memory usage is relative to. `pod`: the limit of its pod's cgroup.
    pub(super) fn memory_basis(
        &self,
        pod: Limit<Bytes>,
        node: Option<Capacity>,
    ) -> Result<Denominator, UnknownReason> {
        load::memory_basis(tightest(self.memory_limit.known()?, pod), node)
    }

    /// Whether it has a CPU quota, or why that is not known.
    pub(super) fn has_cpu_limit(&self) -> Result<bool, UnknownReason> {
        self.cpu_limit.known().map(|limit| limit.bound().is_some())
    }

    /// Whether it has a memory limit, or why that is not known.
    pub(super) fn has_memory_limit(&self) -> Result<bool, UnknownReason> {
        self.memory_limit.known().map(|limit| limit.bound().is_some())
    }

    /// What it uses of the resource now: cores over the last interval, or bytes that cannot be reclaimed at once. Where no process is in
    /// it, that is nothing.
    pub(super) fn used(&self, resource: Resource) -> Option<f64> {
        match resource {
            Resource::Cpu if self.is_empty(resource) => Some(0.0),
            Resource::Cpu => self.sample.map(|sample| sample.cores.0),
            Resource::Memory => self.required().map(Bytes::as_f64),
        }
    }

    /// Whether a roster may still have to list it.
    pub(super) fn is_new(&self, now: Moment) -> bool {
        self.started.is_none_or(|started| now.since(started) < ROSTER_WAIT)
    }

    /// Share of the quota's periods that were throttled; absent without a quota, or if they were not counted.
    pub(crate) fn throttled(&self) -> Option<f64> {
        let limited = self.has_cpu_limit() == Ok(true);
        self.sample.filter(|_| limited).and_then(|sample| sample.throttled())
    }

    /// Memory in use less inactive page cache, as last read.
    pub(crate) fn working_set(&self) -> Option<Bytes> {
        self.memory.unknown.is_none().then(|| self.working_set_now())?
    }

    fn working_set_now(&self) -> Option<Bytes> {
        self.detail.value()?.working_set(self.current.value()?)
    }

    /// Memory that cannot be reclaimed at once, as last read.
    pub(super) fn required(&self) -> Option<Bytes> {
        self.detail.value()?.required(self.current.value()?)
    }

    /// What limits its CPU; absent if that is not known. Pressure alone does not have a cause: where the throttling of a quota is
    /// not known, or it ended a moment ago, it is not attributed to the node. Without pressure accounting (cgroup v1) `none` cannot be proven.
    pub(crate) fn bound_by(&self) -> Option<BoundBy> {
        self.sample?;
        let known = self.throttled().is_some() || self.has_cpu_limit() == Ok(false);
        let not_throttled = known && !self.may_be_pressed_by(self);
        match (self.throttled(), self.cpu_pressure.value()) {
            (Some(throttled), _) if throttled > THROTTLED_FROM => Some(BoundBy::Limit),
            (_, Some(pressure)) if pressure > PRESSURE_FROM => not_throttled.then_some(BoundBy::Node),
            (_, Some(_)) => Some(BoundBy::None),
            (_, None) => None,
        }
    }

    /// Whether its pressure, when it was read, may have been what throttling of this cgroup, its own or its pod's, left.
    pub(super) fn may_be_pressed_by(&self, throttled: &Container) -> bool {
        let times = throttled.last_throttled.zip(self.pressure_read);
        times.is_some_and(|(at, read)| read.since(at) < PRESSURE_LASTS)
    }

    /// The last seconds of CPU, while they are known.
    fn recent_cpu(&self) -> Option<&Recent> {
        self.recent.as_deref().filter(|_| self.sample.is_some())
    }

    /// The last seconds of memory, while they are known.
    fn recent_memory(&self) -> Option<&Recent> {
        self.recent.as_deref().filter(|_| self.memory.unknown.is_none())
    }

    /// As [`Container::throttled`], over the last `time` seconds.
    pub(crate) fn throttled_over(&self, time: f64, now: Moment) -> Option<f64> {
        self.recent_cpu().filter(|_| self.has_cpu_limit() == Ok(true))?.throttled(now, time)
    }

    /// Mean use of the last 3 s, in cores.
    pub(crate) fn mean3(&self, now: Moment) -> Option<f64> {
        self.recent_cpu()?.mean(now, 3.0)
    }

    /// That relative to the limit that is enforced, on it or by `pod` on all of the pod, else to the request, however small.
    pub(crate) fn utilization3(
        &self,
        pod: Result<Limit<Cores>, UnknownReason>,
        request: Option<Cores>,
        now: Moment,
    ) -> Option<f64> {
        let enforced = tightest(self.cpu_limit.value()?, pod.ok()?).bound();
        let of = enforced.or(request).filter(|of| of.0 > 0.0 && of.0.is_finite())?;
        Some(self.mean3(now)? / of.0)
    }

    /// The smallest unreclaimable memory of the last 2 s.
    pub(crate) fn unreclaimable2(&self, now: Moment) -> Option<Bytes> {
        self.recent_memory()?.least_memory(now)
    }

    /// Growth of the unreclaimable memory over the last 15 s, in bytes per second.
    pub(crate) fn growth(&self, now: Moment) -> Option<f64> {
        self.recent_memory()?.growth(now)
    }

    /// What calls for a resize now. `own`: the limits of its pod's cgroup.
    pub(super) fn triggers(
        &self,
        own: (Result<Limit<Cores>, UnknownReason>, Result<Limit<Bytes>, UnknownReason>),
        request: Option<Cores>,
        now: Moment,
    ) -> Triggers {
        let above = |value: Option<f64>, from: f64| value.is_some_and(|value| value > from);
        let is_full = || {
            let limit = tightest(self.memory_limit.value()?, own.1.ok()?).bound()?;
            Some(self.unreclaimable2(now)?.as_f64() >= UNRECLAIMABLE2_FROM * limit.as_f64())
        };
        let waits = |pressure: Read<f64>| above(pressure.value(), PRESSURE_FROM);
        Triggers {
            throttled: above(self.throttled(), THROTTLED_FROM)
                || above(self.throttled_over(3.0, now), THROTTLED_FROM)
                || above(self.throttled_over(2.0, now), THROTTLED2_FROM),
            busy: above(self.utilization3(own.0, request, now), UTILIZATION3_FROM),
            waits: waits(self.cpu_pressure) || waits(self.memory_pressure),
            full: is_full() == Some(true),
            ..Triggers::default()
        }
    }
}

#[cfg(test)]
impl Container {
    /// Samples kept of its past.
    pub(super) fn samples(&self) -> usize {
        self.cpu.samples().max(self.memory.samples())
    }
}

/// A value that is not `valid` is malformed.
fn valid<T: Copy>(read: Read<T>, valid: impl Fn(T) -> bool) -> Read<T> {
    match read {
        Read::Value(value) if !valid(value) => Read::Unknown(UnknownReason::Malformed),
        read => read,
    }
}

fn tightest<T: PartialOrd>(a: Limit<T>, b: Limit<T>) -> Limit<T> {
    match (a, b) {
        (Limit::Of(a), Limit::Of(b)) => Limit::Of(if b < a { b } else { a }),
        (Limit::Unlimited, limit) | (limit, Limit::Unlimited) => limit,
    }
}

fn changed<T: PartialEq + Copy>(before: Option<T>, after: Option<T>) -> bool {
    before.is_some() && after.is_some() && before != after
}
