//! Trees built from odd parts: files that are missing, empty, garbage or huge, directories that are renamed, cgroups that nothing is in.
//! Whatever the mixture, no pod is `low`, or has a utilization of nothing, whose own cgroup used more than a third of its basis.

use jiff::Timestamp;
use plimsoll_contract::roster::{Answer, Bands, ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Band, Cores, NodeName, Resource};
use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::*;
use crate::profile::Profile;
use crate::report;
use crate::state::{NodeState, WithoutRoster};

const MI: u64 = 1 << 20;
/// The node of every tree: 4 CPUs, 8 GiB.
const CPUS: f64 = 4.0;
const MEMORY: u64 = 8192;
/// One a second: a minute of data, also where the pod's own cgroup counts only after some seconds beside a container that is `low`.
const SWEEPS: u64 = 70;

/// Where the pod's load is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// In the container's cgroup.
    Container,
    /// In the sandbox's, beside an empty one (gVisor).
    Sandbox,
    /// In one that is named otherwise (Kata).
    Renamed,
    /// In the pod's own: memory that was left behind, a process that was moved.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Missing,
    Empty,
    Garbage,
    Huge,
    NotPopulated,
}

const FILES: [&str; 7] =
    ["cpu.stat", "cpu.max", "memory.current", "memory.max", "memory.stat", "memory.events", "cgroup.events"];

#[derive(Debug, Clone)]
struct Odd {
    place: Place,
    /// Usage of the pod, in cores and MiB.
    load: (f64, u64),
    /// Limits of the pod's own cgroup.
    limits: (Option<f64>, Option<u64>),
    request: Option<f64>,
    running: bool,
    events: bool,
    roster: bool,
    /// Of the pod's own cgroup (0), the container's (1), the sandbox's (2).
    faults: Vec<(usize, &'static str, Fault)>,
}

fn any_odd() -> impl Strategy<Value = Odd> {
    let place = sample::select(vec![Place::Container, Place::Sandbox, Place::Renamed, Place::Own]);
    let fault =
        sample::select(vec![Fault::Missing, Fault::Empty, Fault::Garbage, Fault::Huge, Fault::NotPopulated]);
    let faults = collection::vec((0_usize..3, sample::select(FILES.to_vec()), fault), 0..5);
    let limits = (option::of(0.2..4.0_f64), option::of(64_u64..4096));
    let load = (0.0..4.0_f64, 0_u64..7000);
    (place, load, limits, option::of(0.05..2.0_f64), any::<[bool; 3]>(), faults).prop_map(
        |(place, load, limits, request, [running, events, roster], faults)| Odd {
            place,
            load,
            limits,
            request,
            running,
            events,
            roster,
            faults,
        },
    )
}

impl Odd {
    fn directories(&self) -> [String; 3] {
        let own = format!("kubepods/burstable/pod{}", uid(1));
        let name =
            if self.place == Place::Renamed { format!("kata_{}", id(1).as_str()) } else { id(1).to_string() };
        [own.clone(), format!("{own}/{name}"), format!("{own}/{}", id(9))]
    }

    /// Writes everything as it is in this second.
    fn write(&self, tree: &Tree, second: u64) {
        let holder = match self.place {
            Place::Container | Place::Renamed => 1,
            Place::Sandbox => 2,
            Place::Own => 0,
        };
        for (index, dir) in self.directories().iter().enumerate() {
            let loaded = index == 0 || index == holder;
            let (cores, mib) = if loaded { self.load } else { (0.0, 0) };
            // an empty container's counters never moved
            let started = if loaded || self.place != Place::Sandbox { 5_000_000 } else { 0 };
            let used = started + (cores * second as f64 * 1e6) as u64;
            let (cpu, memory) = if index == 0 { self.limits } else { (None, None) };
            let populated = loaded || self.place != Place::Sandbox;
            let cpu_max = cpu.map_or("max".into(), |cores| ((cores * 1e5) as u64).to_string());
            let contents = [
                format!("usage_usec {used}\nuser_usec {used}\nsystem_usec 0\nnr_periods 0\nnr_throttled 0\n"),
                format!("{cpu_max} 100000\n"),
                format!("{}\n", (mib + 8) * MI),
                format!("{}\n", memory.map_or("max".into(), |mib| (mib * MI).to_string())),
                format!(
                    "anon {}\nfile {}\nshmem 0\nactive_file {}\ninactive_file {}\nslab_reclaimable 0\nslab_unreclaimable 0\n",
                    mib * MI,
                    8 * MI,
                    4 * MI,
                    4 * MI
                ),
                "high 0\nmax 0\noom_kill 0\n".into(),
                format!("populated {}\nfrozen 0\n", u8::from(populated)),
            ];
            for (file, content) in FILES.iter().zip(contents) {
                if *file == "cgroup.events" && !self.events {
                    continue;
                }
                let fault = self.faults.iter().find(|(of, name, _)| (*of, *name) == (index, *file));
                let content = match fault.map(|(.., fault)| *fault) {
                    None => content,
                    Some(Fault::Missing) => continue,
                    Some(Fault::Empty) => String::new(),
                    Some(Fault::Garbage) => "garbage: \u{fffd} 1\n".into(),
                    // a huge limit is one; a huge counter or part of memory is not
                    Some(Fault::Huge) if file.ends_with(".max") => content,
                    Some(Fault::Huge) => content.replacen(" 4194304", " 99999999999999", 1).replacen(
                        "usage_usec ",
                        "usage_usec 99999",
                        1,
                    ),
                    Some(Fault::NotPopulated) if *file == "cgroup.events" => "populated 0\nfrozen 0\n".into(),
                    Some(Fault::NotPopulated) => content,
                };
                tree.write(&format!("{dir}/{file}"), &content);
            }
        }
    }

    /// What the pod's own cgroup used of its basis, at least.
    fn used(&self, resource: Resource) -> f64 {
        match resource {
            Resource::Cpu => {
                let request = self.request.filter(|_| self.roster).map(|cores| cores.max(0.05));
                let basis = self.limits.0.or(request).unwrap_or(CPUS).min(CPUS);
                self.load.0 / basis
            }
            Resource::Memory => self.load.1 as f64 / self.limits.1.unwrap_or(MEMORY) as f64,
        }
    }

    fn roster(&self) -> Answer {
        let container = RosterContainer {
            id: id(1),
            name: "app".into(),
            kind: ContainerKind::App,
            running: self.running,
            generation: 0,
            cpu_request: self.request.map(Cores),
            memory_request: None,
        };
        let pod = RosterPod {
            uid: uid(1),
            namespace: "shop".into(),
            name: "odd".into(),
            managed: false,
            bands: Bands::default(),
            containers: vec![container],
        };
        Answer { roster_version: 1, roster: vec![pod], ..Answer::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn no_pod_is_low_whose_own_cgroup_used_more_than_a_third_of_its_basis(odd in any_odd()) {
        let tree = Tree::bare();
        odd.write(&tree, 0);
        let mut host = tree.host();
        let mode = if odd.roster { WithoutRoster::Unknown } else { WithoutRoster::NodeBasis };
        let mut state = NodeState::new(Profile::standard(), mode);
        let capacity = plimsoll_contract::report::Capacity { cores: Cores(CPUS), bytes: Bytes(MEMORY * MI), cpus: None, available_bytes: None };
        state.set_capacity(capacity, Some(Cores(CPUS)));
        let info = NodeInfo { capacity, cpus: None, boot: "b".into() };
        for second in 0..SWEEPS {
            odd.write(&tree, second);
            for event in host.discover(at(second)) {
                match event {
                    CgroupEvent::Appeared(target) => state.appeared(&target, at(second)),
                    CgroupEvent::Gone(target) => state.gone(&target, at(second)),
                }
            }
            host.sweep(|| at(second), |target, reading| state.observe(target, reading));
            if odd.roster {
                state.apply_roster(&odd.roster(), at(second));
            }
            state.classify(at(second), Timestamp::UNIX_EPOCH);
        }
        let empty = report::empty(&"n".parse::<NodeName>().unwrap(), &info, 1, 0);
        let pod = state.full_report(empty, at(SWEEPS)).pods.remove(0);
        let loads = [(Resource::Cpu, pod.cpu.band, pod.cpu.utilization), (Resource::Memory, pod.memory.band, pod.memory.utilization)];
        for (resource, band, utilization) in loads {
            if odd.used(resource) > 0.34 {
                prop_assert!(band != Band::Low, "{resource}: {utilization:?}, used {}", odd.used(resource));
                prop_assert!(utilization.is_none_or(|u| u > 0.3), "{resource}: {utilization:?}, used {}", odd.used(resource));
            }
        }
    }
}
