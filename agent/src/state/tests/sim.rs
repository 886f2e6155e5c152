//! A simulated node: drives a [`NodeState`] with load functions of time, as the sampler does with cgroups.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::report::{Capacity, MemoryEvents};
use plimsoll_contract::roster::{Answer, Bands, ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Band, Bytes, ContainerId, Cores, Limit, Moment, PodUid, Report, Resource};

use crate::host::NodeInfo;
use crate::profile::Profile;
use crate::report;
use crate::sample::{CpuCounters, Inode, MemoryDetail, Read, Reading, Target, Throttling};
use crate::state::{NodeState, Transition, WithoutRoster};

/// The simulation starts this many seconds after boot.
pub(crate) const START: f64 = 1000.0;
pub(crate) const GIB: u64 = 1 << 30;

/// One cgroup of the simulation. Times are seconds since the start.
pub(crate) struct Cgroup {
    pub(crate) inode: u64,
    /// Cores used.
    pub(crate) cpu: Box<dyn Fn(f64) -> f64>,
    /// Bytes used, and how many of them are inactive file pages.
    pub(crate) memory: Box<dyn Fn(f64) -> (u64, u64)>,
    pub(crate) cpu_limit: Limit<Cores>,
    pub(crate) memory_limit: Limit<Bytes>,
    pub(crate) pressure: f64,
    pub(crate) events: MemoryEvents,
    /// Throttled periods of the ten in each second.
    pub(crate) throttled: u64,
    pub(crate) used: f64,
    pub(crate) periods: u64,
    pub(crate) throttled_periods: u64,
}

impl Cgroup {
    pub(crate) fn using(cpu: impl Fn(f64) -> f64 + 'static) -> Cgroup {
        Cgroup {
            inode: 1,
            cpu: Box::new(cpu),
            memory: Box::new(|_| (GIB / 10, 0)),
            cpu_limit: Limit::Of(Cores(1.0)),
            memory_limit: Limit::Of(Bytes(GIB)),
            pressure: 0.0,
            events: MemoryEvents { high: Some(0), max: Some(0), oom_kill: Some(0) },
            throttled: 0,
            used: 0.0,
            periods: 0,
            throttled_periods: 0,
        }
    }

    pub(crate) fn holding(memory: impl Fn(f64) -> (u64, u64) + 'static) -> Cgroup {
        Cgroup { memory: Box::new(memory), ..Cgroup::using(|_| 0.1) }
    }

    pub(crate) fn unlimited(self) -> Cgroup {
        Cgroup { cpu_limit: Limit::Unlimited, memory_limit: Limit::Unlimited, ..self }
    }

    pub(crate) fn cpu_limit(self, cores: f64) -> Cgroup {
        Cgroup { cpu_limit: Limit::Of(Cores(cores)), ..self }
    }

    fn advance(&mut self, from: f64, to: f64) {
        const PIECES: u32 = 50;
        let piece = (to - from) / f64::from(PIECES);
        let middles = (0..PIECES).map(|n| from + (f64::from(n) + 0.5) * piece);
        self.used += middles.map(|t| (self.cpu)(t) * piece).sum::<f64>();
        if self.cpu_limit != Limit::Unlimited {
            self.periods += 10;
            self.throttled_periods += self.throttled;
        }
    }

    fn reading(&self, now: f64) -> Reading {
        let (memory, inactive_file) = (self.memory)(now);
        Reading {
            at: at(now),
            inode: Inode { device: 1, number: self.inode },
            cpu: Read::Value(CpuCounters {
                usage: Duration::from_secs_f64(self.used),
                throttling: Some(Throttling { periods: self.periods, throttled: self.throttled_periods }),
            }),
            cpu_limit: Read::Value(self.cpu_limit),
            cpu_pressure: Read::Value(self.pressure),
            memory: Read::Value(Bytes(memory)),
            memory_detail: Read::Value(MemoryDetail {
                anon: Some(Bytes(memory.saturating_sub(inactive_file))),
                shmem: Some(Bytes(0)),
                file: Some(Bytes(inactive_file)),
                active_file: Some(Bytes(0)),
                inactive_file: Some(Bytes(inactive_file)),
                ..MemoryDetail::default()
            }),
            memory_limit: Read::Value(self.memory_limit),
            memory_pressure: Read::Value(0.0),
            memory_events: Read::Value(self.events),
            populated: Read::Value(true),
        }
    }
}

/// Changes a reading: of which cgroup, when.
pub(crate) type Fault = Box<dyn Fn(&Target, f64, &mut Reading)>;

/// A transition, and its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) at: f64,
    pub(crate) resource: Resource,
    pub(crate) from: Band,
    pub(crate) to: Band,
}

pub(crate) struct Sim {
    pub(crate) state: NodeState,
    pub(crate) now: f64,
    pub(crate) cgroups: BTreeMap<Target, Cgroup>,
    /// Changes each reading before the state gets it.
    pub(crate) fault: Fault,
    period: f64,
}

pub(crate) fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(START + seconds))
}

pub(crate) fn wall(seconds: f64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + (seconds * 1000.0) as i64).unwrap()
}

pub(crate) fn pod() -> PodUid {
    uid(1)
}

pub(crate) fn uid(number: u32) -> PodUid {
    PodUid::new(&format!("{number:08x}-0000-4000-8000-000000000000")).unwrap()
}

pub(crate) fn id(number: u32) -> ContainerId {
    ContainerId::new(&format!("{number:064x}")).unwrap()
}

pub(crate) fn container(number: u32) -> Target {
    Target { pod: pod(), container: Some(id(number)) }
}

pub(crate) fn own() -> Target {
    Target { pod: pod(), container: None }
}

pub(crate) fn listed(number: u32, name: &str) -> RosterContainer {
    RosterContainer {
        id: id(number),
        name: name.into(),
        kind: ContainerKind::App,
        running: true,
        generation: number,
        cpu_request: None,
        memory_request: None,
    }
}

pub(crate) fn entry(containers: &[RosterContainer]) -> RosterPod {
    RosterPod {
        uid: pod(),
        namespace: "shop".into(),
        name: "web-0".into(),
        managed: false,
        bands: Bands::default(),
        containers: containers.to_vec(),
    }
}

/// A report without pods.
pub(crate) fn head() -> Report {
    let info = NodeInfo {
        capacity: Capacity { cores: Cores(4.0), bytes: Bytes(8 * GIB), cpus: None, available_bytes: None },
        cpus: Some(Cores(4.0)),
        boot: "boot".into(),
    };
    report::empty(&"n1".parse().unwrap(), &info, 1, 1)
}

impl Sim {
    pub(crate) fn new(profile: Profile, mode: WithoutRoster) -> Sim {
        let period = profile.period.as_secs_f64();
        let mut state = NodeState::new(profile, mode);
        state.set_capacity(
            Capacity { cores: Cores(4.0), bytes: Bytes(8 * GIB), cpus: None, available_bytes: None },
            Some(Cores(4.0)),
        );
        Sim { state, now: 0.0, cgroups: BTreeMap::new(), fault: Box::new(|_, _, _| {}), period }
    }

    /// A node with one pod of one container, 1, which the roster calls `app`.
    pub(crate) fn one(profile: Profile, cgroup: Cgroup) -> Sim {
        let mut sim = Sim::new(profile, WithoutRoster::Unknown);
        sim.add(container(1), cgroup);
        sim.roster(&[listed(1, "app")]);
        sim
    }

    pub(crate) fn add(&mut self, target: Target, cgroup: Cgroup) {
        self.state.appeared(&target, at(self.now));
        self.cgroups.insert(target, cgroup);
    }

    pub(crate) fn remove(&mut self, target: &Target) {
        self.cgroups.remove(target);
        self.state.gone(target, at(self.now));
    }

    pub(crate) fn get(&mut self, target: &Target) -> &mut Cgroup {
        self.cgroups.get_mut(target).unwrap()
    }

    pub(crate) fn roster(&mut self, containers: &[RosterContainer]) {
        self.roster_pod(entry(containers));
    }

    pub(crate) fn roster_pod(&mut self, pod: RosterPod) {
        let answer = Answer { roster_version: 1, roster: vec![pod], ..Answer::default() };
        self.state.apply_roster(&answer, at(self.now));
    }

    /// Reads everything now and classifies.
    pub(crate) fn sweep(&mut self) -> Vec<Transition> {
        for (target, reading) in self.readings() {
            self.state.observe(&target, &reading);
        }
        self.state.classify(at(self.now), wall(self.now))
    }

    /// The readings of the host now.
    pub(crate) fn readings(&self) -> Vec<(Target, Reading)> {
        let read = |(target, cgroup): (&Target, &Cgroup)| {
            let mut reading = cgroup.reading(self.now);
            (self.fault)(target, self.now, &mut reading);
            (target.clone(), reading)
        };
        self.cgroups.iter().map(read).collect()
    }

    /// Time passes without a sweep.
    pub(crate) fn sleep(&mut self, seconds: f64) {
        for cgroup in self.cgroups.values_mut() {
            cgroup.advance(self.now, self.now + seconds);
        }
        self.now += seconds;
    }

    /// Time passes while the whole machine is suspended.
    pub(crate) fn suspend(&mut self, seconds: f64) {
        self.now += seconds;
    }

    /// Sweeps once a period until `end`.
    pub(crate) fn run(&mut self, end: f64) -> Vec<Seen> {
        let mut seen = Vec::new();
        while self.now <= end + 1e-9 {
            let transitions = self.sweep().into_iter();
            let now = self.now;
            seen.extend(transitions.map(|t| Seen { at: now, resource: t.resource, from: t.from, to: t.to }));
            self.sleep(self.period);
        }
        seen
    }

    /// As [`Sim::run`], of CPU only.
    pub(crate) fn run_cpu(&mut self, end: f64) -> Vec<Seen> {
        self.run(end).into_iter().filter(|seen| seen.resource == Resource::Cpu).collect()
    }

    pub(crate) fn band(&self, resource: Resource) -> Band {
        self.state.pod(&pod()).map_or(Band::Unknown, |pod| pod.band(resource))
    }

    pub(crate) fn cpu(&self) -> Band {
        self.band(Resource::Cpu)
    }

    pub(crate) fn utilization(&self) -> f64 {
        let report = self.state.full_report(head(), at(self.now));
        report.pods[0].cpu.utilization.unwrap()
    }
}

/// The time of the first transition to `band`.
pub(crate) fn came_to(seen: &[Seen], band: Band) -> f64 {
    seen.iter().find(|seen| seen.to == band).unwrap_or_else(|| panic!("never {band}: {seen:?}")).at
}
