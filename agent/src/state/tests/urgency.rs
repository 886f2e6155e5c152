//! Which pods are reported at once.

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::{ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Bytes, Cores, Limit};

use super::sim::{Cgroup, GIB, Sim, at, container, entry, listed, own, pod};
use crate::profile::Profile;
use crate::state::WithoutRoster;

fn managed(cgroup: Cgroup) -> Sim {
    let mut sim = Sim::one(Profile::lab(), cgroup);
    sim.roster_pod(RosterPod { managed: true, ..entry(&[listed(1, "app")]) });
    sim
}

/// How often the pod was urgent in these sweeps.
fn urgent(sim: &mut Sim, sweeps: u32) -> u32 {
    let mut times = 0;
    for _ in 0..sweeps {
        sim.sweep();
        let pods = sim.state.urgent_pods(at(sim.now));
        assert!(pods.iter().all(|urgent| *urgent == pod()));
        times += u32::from(!pods.is_empty());
        sim.sleep(0.25);
    }
    times
}

#[test]
fn a_transition_is_urgent_once_managed_or_not() {
    let mut sim = Sim::one(Profile::lab(), Cgroup::using(|t| if t < 40.0 { 0.1 } else { 0.5 }));
    assert_eq!(urgent(&mut sim, 80), 1, "the first band");
    assert_eq!(urgent(&mut sim, 200), 1, "the second");
    assert_eq!(urgent(&mut sim, 400), 0);
}

#[test]
fn a_managed_pod_whose_limits_changed_is_urgent_once() {
    let mut sim = managed(Cgroup::using(|_| 0.1));
    urgent(&mut sim, 40);
    sim.get(&container(1)).cpu_limit = Limit::Of(Cores(1.5));
    assert_eq!(urgent(&mut sim, 40), 1);
    sim.get(&container(1)).memory_limit = Limit::Of(Bytes(2 * GIB));
    assert_eq!(urgent(&mut sim, 40), 1);
    let mut sim = Sim::one(Profile::lab(), Cgroup::using(|_| 0.1));
    urgent(&mut sim, 40);
    sim.get(&container(1)).cpu_limit = Limit::Of(Cores(1.5));
    assert_eq!(urgent(&mut sim, 40), 0, "nobody resizes this one");
}

#[test]
fn a_managed_pod_under_pressure_is_urgent_once_a_second_and_an_idle_one_never() {
    type Pressure = fn(&mut Cgroup);
    let table: [(&str, Pressure, u32); 5] = [
        ("nothing", |_| {}, 0),
        ("throttled", |cgroup| cgroup.throttled = 1, 10),
        ("pressure", |cgroup| cgroup.pressure = 10.5, 10),
        (
            "a memory event",
            |cgroup| cgroup.events = MemoryEvents { max: Some(1), ..MemoryEvents::default() },
            1,
        ),
        ("hot", |cgroup| cgroup.cpu = Box::new(|_| 0.7), 10),
    ];
    for (what, apply, times) in table {
        let mut sim = managed(Cgroup::using(|_| 0.1));
        urgent(&mut sim, 40);
        apply(sim.get(&container(1)));
        assert_eq!(urgent(&mut sim, 4 * 4), times.min(4), "{what}");
    }
}

/// A pod whose pause container, 9, and container 1 just appeared; the roster does not list it.
fn new_pod(mode: WithoutRoster) -> Sim {
    let mut sim = Sim::new(Profile::lab(), mode);
    sim.add(own(), Cgroup::using(|_| 0.0).unlimited());
    sim.add(container(9), Cgroup::using(|_| 0.0).unlimited());
    sim.add(container(1), Cgroup::using(|_| 0.0).unlimited());
    sim
}

#[test]
fn a_new_unlisted_pod_is_urgent_every_two_seconds_for_half_a_minute() {
    let mut sim = new_pod(WithoutRoster::Unknown);
    assert_eq!(urgent(&mut sim, 4 * 10 + 1), 5, "at 2, 4, 6, 8 and 10 s");
    assert_eq!(urgent(&mut sim, 4 * 20), 9, "until 28 s");
    assert_eq!(urgent(&mut sim, 4 * 60), 0, "a pod not listed by then is only in full reports");
    assert_eq!(urgent(&mut new_pod(WithoutRoster::NodeBasis), 4 * 10), 1, "no roster: its first bands only");
}

#[test]
fn a_listed_pod_is_not_urgent_and_nor_is_its_pause_container() {
    let mut sim = new_pod(WithoutRoster::Unknown);
    assert_eq!(urgent(&mut sim, 4 * 3), 1);
    sim.roster(&[]);
    assert_eq!(urgent(&mut sim, 4 * 2), 1, "listed, but without its containers' ids");
    sim.roster(&[listed(1, "app")]);
    assert_eq!(urgent(&mut sim, 4 * 20), 1, "its first bands");
    sim.add(container(2), Cgroup::using(|_| 0.0));
    assert_eq!(urgent(&mut sim, 4 * 4 + 1), 2, "another container came");
    let init = RosterContainer { kind: ContainerKind::Init, ..listed(2, "init") };
    sim.roster(&[listed(1, "app"), init]);
    assert_eq!(urgent(&mut sim, 4 * 20), 0, "it is listed as an init container");
}
