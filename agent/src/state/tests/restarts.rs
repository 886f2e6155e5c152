//! Containers that restart, crash again and again, start later, or end while the roster follows late.

use plimsoll_contract::Band::{High, Low, Moderate, Unknown};
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::roster::{ContainerKind, RosterContainer};
use plimsoll_contract::{Band, Basis, Bytes, Cores, Resource};

use ContainerKind::{App, Ephemeral, Init, Sidecar};

use super::elsewhere::{reason, report};
use super::sim::{Cgroup, GIB, Seen, Sim, container, listed, own, pod};
use crate::profile::Profile;
use crate::state::WithoutRoster;

/// Its container runs for `run` seconds and is down for `down` seconds, again and again.
fn crash_loop(run: f64, downs: &[f64]) -> (Sim, f64, Vec<Seen>) {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.add(own(), Cgroup::using(|_| 0.9));
    sim.run(99.0);
    let first_crash = sim.now;
    let mut seen = Vec::new();
    for (number, down) in (1..).zip(downs) {
        sim.remove(&container(number));
        sim.get(&own()).cpu = Box::new(|_| 0.001);
        sim.roster(&[RosterContainer { running: false, ..listed(number, "app") }]);
        seen.extend(sim.run_cpu(sim.now + down));
        sim.add(container(number + 1), Cgroup::using(|_| 0.9));
        sim.get(&own()).cpu = Box::new(|_| 0.9);
        sim.roster(&[listed(number + 1, "app")]);
        seen.extend(sim.run_cpu(sim.now + run));
    }
    (sim, first_crash, seen)
}

#[test]
fn a_crash_loop_holds_its_band_for_a_minute_and_then_no_container_is_running() {
    let (sim, first_crash, seen) = crash_loop(3.0, &[10.0, 20.0, 40.0, 80.0, 160.0, 300.0]);
    let summary: Vec<_> = seen.iter().map(|seen| (seen.from, seen.to)).collect();
    assert_eq!(summary, [(High, Unknown)], "{seen:?}");
    assert!((59.0..=64.0).contains(&(seen[0].at - first_crash)), "{seen:?}");
    assert_eq!(reason(&sim, Resource::Cpu), Some(UnknownReason::NotRunning));
}

#[test]
fn a_container_that_crashes_now_and_then_but_runs_for_long_keeps_its_band() {
    let (_, _, seen) = crash_loop(30.0, &[5.0; 10]);
    assert_eq!(seen, []);
}

#[test]
fn after_a_crash_loop_a_container_that_runs_gets_a_band_after_the_warm_up() {
    let (mut sim, ..) = crash_loop(3.0, &[10.0, 20.0, 40.0, 80.0]);
    let seen = sim.run_cpu(sim.now + 20.0);
    assert_eq!(seen.iter().map(|seen| seen.to).collect::<Vec<Band>>(), [High], "{seen:?}");
}

#[test]
fn memory_that_stopped_containers_left_behind_stays_visible() {
    for (left, band) in [(GIB * 9 / 10, High), (GIB / 10, Unknown)] {
        let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.1));
        sim.add(own(), Cgroup { cpu: Box::new(|_| 0.1), ..Cgroup::holding(move |_| (left, 0)) });
        sim.run(99.0);
        sim.remove(&container(1));
        sim.roster(&[RosterContainer { running: false, ..listed(1, "app") }]);
        sim.run(300.0);
        assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (Unknown, band), "{left}");
        let memory = report(&sim).memory;
        assert_eq!(memory.usage, Some(Bytes(left)), "whatever the band");
        if band == Unknown {
            assert_eq!(memory.reason, Some(UnknownReason::NotRunning));
        }
    }
}

/// A pod on a node, as the agent sees it: its own cgroup uses what its containers use, and the roster follows three seconds later.
struct Late {
    sim: Sim,
    /// Containers that run: number, name, kind, request, cores.
    running: Vec<(u32, &'static str, ContainerKind, f64, f64)>,
    /// What the roster says, and from when on.
    rosters: Vec<(f64, Vec<RosterContainer>)>,
    seen: Vec<Seen>,
}

impl Late {
    fn new() -> Late {
        let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
        sim.add(own(), Cgroup::using(|_| 0.0).unlimited());
        Late { sim, running: Vec::new(), rosters: Vec::new(), seen: Vec::new() }
    }

    fn start(&mut self, number: u32, name: &'static str, kind: ContainerKind, request: f64, cores: f64) {
        self.sim.add(container(number), Cgroup::using(move |_| cores).unlimited());
        self.running.push((number, name, kind, request, cores));
        self.changed();
    }

    fn end(&mut self, number: u32) {
        self.sim.remove(&container(number));
        self.running.retain(|(other, ..)| *other != number);
        self.changed();
    }

    fn changed(&mut self) {
        let sum: f64 = self.running.iter().map(|(.., cores)| cores).sum();
        self.sim.get(&own()).cpu = Box::new(move |_| sum);
        let listed = |(number, name, kind, request, _): &(u32, &str, ContainerKind, f64, f64)| {
            RosterContainer { kind: *kind, cpu_request: Some(Cores(*request)), ..listed(*number, name) }
        };
        self.rosters.push((self.sim.now + 3.0, self.running.iter().map(listed).collect()));
    }

    fn run(&mut self, seconds: f64) {
        let end = self.sim.now + seconds;
        while self.sim.now < end - 1e-9 {
            let now = self.sim.now;
            let due: Vec<_> = self.rosters.extract_if(.., |(at, _)| *at <= now).collect();
            due.iter().for_each(|(_, containers)| self.sim.roster(containers));
            self.seen.extend(self.sim.run_cpu(now));
        }
    }

    fn bands(&self) -> Vec<Band> {
        self.seen.iter().map(|seen| seen.to).collect()
    }
}

#[test]
fn a_restart_beside_a_container_with_a_small_request_changes_nothing() {
    let mut late = Late::new();
    late.start(1, "app", App, 1.0, 0.2);
    late.start(2, "proxy", App, 0.01, 0.01);
    late.run(100.0);
    for number in 3..8 {
        late.end(if number == 3 { 1 } else { number - 1 });
        late.run(1.0);
        late.start(number, "app", App, 1.0, 0.2);
        late.run(90.0);
    }
    assert_eq!(late.bands(), [Low]);
}

#[test]
fn a_container_that_starts_later_or_is_not_the_pods_load_changes_nothing() {
    for (kind, load) in [(App, 0.2), (Ephemeral, 1.0), (Init, 1.0)] {
        let mut late = Late::new();
        late.start(1, "proxy", Sidecar, 0.01, 0.01);
        late.run(40.0);
        late.start(2, "late", kind, 1.0, load);
        late.run(if kind == App { 200.0 } else { 20.0 });
        if kind != App {
            late.end(2);
            late.run(150.0);
        }
        assert_eq!(late.bands(), [Low], "{kind:?}");
    }
}

#[test]
fn an_init_container_is_no_part_of_the_first_band() {
    let mut late = Late::new();
    late.start(1, "init", Init, 0.1, 2.0);
    late.run(40.4);
    late.end(1);
    late.start(2, "app", App, 0.1, 0.01);
    late.run(100.0);
    assert_eq!(late.bands(), [Low]);
}

#[test]
fn a_crash_loop_that_burns_is_no_high_load_again_and_again() {
    let mut late = Late::new();
    late.start(1, "app", App, 0.1, 0.01);
    late.run(100.0);
    for (number, down) in (1..).zip([10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]) {
        late.end(number);
        late.run(down);
        late.start(number + 1, "app", App, 0.1, 1.0);
        late.run(8.0);
    }
    let bands = late.bands();
    let unknown = bands.iter().position(|band| *band == Unknown);
    assert_eq!(unknown, Some(bands.len() - 1), "once, and for good: {:?}", late.seen);
}

/// The aggregator is down: its last roster says that the container runs.
#[test]
fn a_container_that_was_seen_to_end_does_not_run_elsewhere() {
    let mut late = Late::new();
    late.start(1, "app", App, 0.1, 0.09);
    late.start(9, "pause", App, 0.1, 0.0);
    late.rosters.clear();
    late.sim.roster(&[RosterContainer { cpu_request: Some(Cores(0.1)), ..listed(1, "app") }]);
    late.run(100.0);
    late.end(1);
    late.rosters.clear();
    late.run(300.0);
    assert_eq!(late.bands(), [High, Unknown]);
    assert_eq!(reason(&late.sim, Resource::Cpu), Some(UnknownReason::NotRunning));
    // its successor, which no roster lists, is seen in the pod's own cgroup
    late.start(2, "app", App, 0.1, 0.05);
    late.rosters.clear();
    late.run(100.0);
    assert_eq!(late.bands(), [High, Unknown, Moderate]);
}

#[test]
fn what_the_containers_do_not_account_for_counts_once_it_lasts() {
    let mut late = Late::new();
    late.start(1, "app", App, 0.5, 0.02);
    late.run(100.0);
    late.sim.get(&own()).cpu = Box::new(|_| 0.45);
    late.run(100.0);
    assert_eq!(late.bands(), [Low, High], "{:?}", late.seen);
    let cpu = report(&late.sim).cpu;
    assert_eq!((cpu.basis, cpu.container, cpu.cause.unwrap().container), (Some(Basis::Request), None, None));
    let ratios = late.sim.state.pod(&pod()).unwrap().utilizations(Resource::Cpu);
    assert!(ratios.get(&Basis::Request).is_some_and(|ratio| *ratio > 0.8), "{ratios:?}");
}
