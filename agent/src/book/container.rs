//! One cgroup, a container's or a pod's own: what was last read of it, its smoothed usage, its memory of usage.

use plimsoll_contract::report::{BoundBy, MemoryEvents, UnknownReason};
use plimsoll_contract::{Bytes, Cores, Limit};

use crate::load::{self, Denominator, Path, Request, Smoothed};
use crate::profile::Profile;
use crate::sample::{CpuPoint, CpuSample, Inode, MemoryDetail, Moment, NodeCapacity, Read, Reading};
use crate::usage::Usage;

/// The last thing a file said; what was read before stands while its turn has not come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latest<T>(Result<T, UnknownReason>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Latest(Err(UnknownReason::WarmingUp))
    }
}

impl<T: Copy> Latest<T> {
    fn take(&mut self, read: Read<T>) {
        match read {
            Read::NotDue => {}
            Read::Unknown(reason) => self.0 = Err(reason),
            Read::Value(value) => self.0 = Ok(value),
        }
    }

    pub(crate) fn known(&self) -> Option<T> {
        self.0.ok()
    }
}

/// A resource's usage: smoothed while it is known, and why it is not.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    smoothed: Option<Smoothed>,
    state: Result<(), UnknownReason>,
    /// What it was last divided by.
    amount: Option<f64>,
}

impl Default for Signal {
    fn default() -> Self {
        Signal { smoothed: None, state: Err(UnknownReason::WarmingUp), amount: None }
    }
}

/// One candidate for the hottest of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) path: Path,
    pub(crate) usage: f64,
    pub(crate) of: Denominator,
    pub(crate) since: Moment,
    /// The last sample over the same basis, not smoothed.
    pub(crate) instant: f64,
}

impl Signal {
    fn step(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        match &mut self.smoothed {
            Some(smoothed) => smoothed.step(start, end, usage, profile),
            None => self.smoothed = Some(Smoothed::new(start, end, usage)),
        }
        self.state = Ok(());
    }

    /// The smoothed usage, while it is known.
    pub(crate) fn usage(&self) -> Option<f64> {
        self.state.ok().and(self.smoothed.as_ref()).map(Smoothed::value)
    }

    /// When the last sample ended, however long ago.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.smoothed.as_ref().map(Smoothed::until)
    }

    fn candidate(&mut self, of: Result<Denominator, UnknownReason>) -> Result<Candidate, UnknownReason> {
        self.state?;
        let of = of?;
        let smoothed = self.smoothed.as_ref().ok_or(UnknownReason::WarmingUp)?;
        let rescaled = self.amount.replace(of.amount).is_some_and(|before| before != of.amount);
        Ok(Candidate {
            path: smoothed.path(of.amount, rescaled),
            usage: smoothed.value(),
            of,
            since: smoothed.since(),
            instant: smoothed.latest() / of.amount,
        })
    }

    fn continue_from(&mut self, earlier: &Signal) {
        match (&mut self.smoothed, &earlier.smoothed) {
            (Some(now), Some(before)) => now.continue_from(before),
            (None, before) => self.smoothed = *before,
            (Some(_), None) => {}
        }
        self.amount = self.amount.or(earlier.amount);
    }
}

/// Everything known of one cgroup.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    inode: Option<Inode>,
    baseline: Option<CpuPoint>,
    /// The sweep in which it was last read.
    pub(crate) sweep: u64,
    pub(crate) cpu: Signal,
    pub(crate) memory: Signal,
    /// CPU use and throttling over the last interval.
    pub(crate) sample: Option<CpuSample>,
    current: Latest<Bytes>,
    pub(crate) detail: Latest<MemoryDetail>,
    pub(crate) cpu_limit: Latest<Limit<Cores>>,
    pub(crate) memory_limit: Latest<Limit<Bytes>>,
    pub(crate) cpu_pressure: Latest<f64>,
    pub(crate) memory_pressure: Latest<f64>,
    pub(crate) events: Latest<MemoryEvents>,
    pub(crate) limits_read: Option<Moment>,
    pub(crate) usage: Usage,
}

/// What in a reading may be worth saying at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) limits_changed: bool,
    pub(crate) memory_events: bool,
}

impl Container {
    /// Takes in one reading.
    pub(crate) fn observe(
        &mut self,
        reading: &Reading,
        sweep: u64,
        profile: &Profile,
        node: Option<NodeCapacity>,
    ) -> News {
        if self.inode.is_some_and(|inode| inode != reading.inode) {
            self.forget_directory();
        }
        self.inode = Some(reading.inode);
        self.sweep = sweep;
        let news = self.take_latest(reading);
        self.observe_cpu(reading, profile, node);
        self.observe_memory(reading, profile);
        news
    }

    fn forget_directory(&mut self) {
        self.current = Latest::default();
        self.detail = Latest::default();
        self.cpu_limit = Latest::default();
        self.memory_limit = Latest::default();
        self.events = Latest::default();
        self.limits_read = None;
    }

    fn take_latest(&mut self, reading: &Reading) -> News {
        let before = (self.cpu_limit.known(), self.memory_limit.known(), self.events.known());
        self.cpu_limit.take(sane(reading.cpu_limit, |limit| {
            limit.bound().is_none_or(|l| l.0.is_finite() && l.0 >= 0.0)
        }));
        self.memory_limit.take(reading.memory_limit);
        let percent = |p: f64| (0.0..=100.0).contains(&p);
        self.cpu_pressure.take(sane(reading.cpu_pressure, percent));
        self.memory_pressure.take(sane(reading.memory_pressure, percent));
        self.events.take(reading.memory_events);
        if reading.cpu_limit.value().is_some() || reading.memory_limit.value().is_some() {
            self.limits_read = Some(reading.at);
        }
        let after = (self.cpu_limit.known(), self.memory_limit.known(), self.events.known());
        News {
            limits_changed: changed(before.0, after.0) || changed(before.1, after.1),
            memory_events: changed(before.2, after.2),
        }
    }

    fn observe_cpu(&mut self, reading: &Reading, profile: &Profile, node: Option<NodeCapacity>) {
        let counters = match reading.cpu {
            Read::NotDue => return,
            Read::Unknown(reason) => {
                self.cpu.state = Err(reason);
                self.sample = None;
                return;
            }
            Read::Value(counters) => counters,
        };
        let point = CpuPoint { at: reading.at, inode: reading.inode, counters };
        let Some(before) = self.baseline.replace(point) else {
            return;
        };
        match CpuSample::between(&before, &point, profile.longest_gap(), node.map(|node| node.cpus)) {
            Ok(sample) => {
                self.cpu.step(sample.start, sample.end, sample.cores.0, profile);
                self.usage.cpu(sample.start, sample.end, sample.cores.0, profile.longest_gap());
                self.sample = Some(sample);
            }
            Err(refusal) => {
                self.cpu.state = Err(refusal.reason());
                self.sample = None;
            }
        }
    }

    fn observe_memory(&mut self, reading: &Reading, profile: &Profile) {
        self.current.take(reading.memory);
        self.detail.take(reading.memory_detail);
        match (self.current.0, self.detail.0) {
            (Err(reason), _) | (_, Err(reason)) => self.memory.state = Err(reason),
            (Ok(current), Ok(detail)) if reading.memory.value().is_some() || self.memory.state.is_err() => {
                let bytes = load::working_set(current, detail.inactive_file).as_f64();
                // an amount held since the last reading; across a gap nothing is known of the time between
                let near = |until: &Moment| reading.at.since(*until) <= profile.longest_gap();
                let start =
                    self.memory.until().filter(near).map_or(reading.at, |until| until.min(reading.at));
                self.memory.step(start, reading.at, bytes, profile);
                self.usage.memory(start, reading.at, bytes, profile.longest_gap());
            }
            (Ok(_), Ok(_)) => {}
        }
    }

    /// It was not read in this sweep.
    pub(crate) fn unread(&mut self) {
        self.cpu.state = Err(UnknownReason::Absent);
        self.memory.state = Err(UnknownReason::Absent);
        self.sample = None;
    }

    /// It took the name of `earlier`, which stopped.
    pub(crate) fn continue_from(&mut self, earlier: &Container) {
        self.cpu.continue_from(&earlier.cpu);
        self.memory.continue_from(&earlier.memory);
        self.usage.continue_from(&earlier.usage);
    }

    pub(crate) fn cpu_basis(
        &self,
        request: Request,
        node: Option<NodeCapacity>,
        floor: f64,
    ) -> Result<Denominator, UnknownReason> {
        load::cpu_basis(self.cpu_limit.0?, request, node, floor)
    }

    pub(crate) fn memory_basis(&self, node: Option<NodeCapacity>) -> Result<Denominator, UnknownReason> {
        load::memory_basis(self.memory_limit.0?, node)
    }

    pub(crate) fn cpu_candidate(
        &mut self,
        request: Request,
        node: Option<NodeCapacity>,
        floor: f64,
    ) -> Result<Candidate, UnknownReason> {
        let of = self.cpu_basis(request, node, floor);
        self.cpu.candidate(of)
    }

    pub(crate) fn memory_candidate(
        &mut self,
        node: Option<NodeCapacity>,
    ) -> Result<Candidate, UnknownReason> {
        let of = self.memory_basis(node);
        self.memory.candidate(of)
    }

    /// Whether it has a CPU quota; absent if that is not known.
    pub(crate) fn has_quota(&self) -> Result<bool, UnknownReason> {
        self.cpu_limit.0.map(|limit| limit.bound().is_some())
    }

    /// Whether it has a memory limit; absent if that is not known.
    pub(crate) fn has_memory_limit(&self) -> Result<bool, UnknownReason> {
        self.memory_limit.0.map(|limit| limit.bound().is_some())
    }

    /// Share of the quota's periods that were throttled; absent without a quota, or if they were not counted.
    pub(crate) fn throttled(&self) -> Option<f64> {
        let limited = self.has_quota() == Ok(true);
        self.sample.filter(|_| limited).and_then(|sample| sample.throttled)
    }

    /// The working set as last read.
    pub(crate) fn working_set(&self) -> Option<Bytes> {
        self.memory.state.ok()?;
        Some(load::working_set(self.current.known()?, self.detail.known()?.inactive_file))
    }

    /// What holds its CPU back; absent if that is not known. Pressure has no cause of its own: with a quota whose throttling
    /// is not known it is not the node's. Without pressure (cgroup v1) nobody can say that nothing holds it back.
    pub(crate) fn bound_by(&self) -> Option<BoundBy> {
        let free = self.throttled().is_some() || self.has_quota() == Ok(false);
        match (self.throttled(), self.cpu_pressure.known()) {
            (Some(throttled), _) if throttled > THROTTLED_FROM => Some(BoundBy::Limit),
            (_, Some(pressure)) if pressure > PRESSURE_FROM => free.then_some(BoundBy::Node),
            (_, Some(_)) => Some(BoundBy::None),
            (_, None) => None,
        }
    }

    /// Whether it is held back in any way.
    pub(crate) fn under_pressure(&self) -> bool {
        self.throttled().is_some_and(|throttled| throttled > THROTTLED_FROM)
            || [self.cpu_pressure, self.memory_pressure]
                .iter()
                .any(|p| p.known().is_some_and(|p| p > PRESSURE_FROM))
    }
}

/// Share of throttled periods above which a container is held back by its limit.
const THROTTLED_FROM: f64 = 0.05;
/// PSI `some avg10` in percent above which a container is held back.
const PRESSURE_FROM: f64 = 10.0;

fn changed<T: PartialEq + Copy>(before: Option<T>, after: Option<T>) -> bool {
    before.is_some() && after.is_some() && before != after
}

fn sane<T: Copy>(read: Read<T>, valid: impl Fn(T) -> bool) -> Read<T> {
    match read {
        Read::Value(value) if !valid(value) => Read::Unknown(UnknownReason::Malformed),
        read => read,
    }
}
