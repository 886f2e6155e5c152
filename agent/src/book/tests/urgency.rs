//! What is worth a report at once.

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::{ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Bytes, Cores, Limit};

use super::sim::{Cgroup, GIB, Sim, at, container, entry, listed, own, pod};
use crate::book::WithoutRoster;
use crate::profile::Profile;

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
        let pods = sim.book.urgent(at(sim.now));
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
    type Press = fn(&mut Cgroup);
    let table: [(&str, Press, u32); 5] = [
        ("nothing", |_| {}, 0),
        ("throttled", |cgroup| cgroup.throttled = 1, 10),
        ("pressure", |cgroup| cgroup.pressure = 10.5, 10),
        ("a memory event", |cgroup| cgroup.events = MemoryEvents { max: 1, ..MemoryEvents::default() }, 1),
        ("hot", |cgroup| cgroup.cpu = Box::new(|_| 0.7), 10),
    ];
    for (what, press, times) in table {
        let mut sim = managed(Cgroup::using(|_| 0.1));
        urgent(&mut sim, 40);
        press(sim.get(&container(1)));
        assert_eq!(urgent(&mut sim, 4 * 4), times.min(4), "{what}");
    }
}

/// A pod whose pause container, 9, and container 1 just appeared; the roster knows nothing of it.
fn newborn(mode: WithoutRoster) -> Sim {
    let mut sim = Sim::new(Profile::lab(), mode);
    sim.add(own(), Cgroup::using(|_| 0.0).unlimited());
    sim.add(container(9), Cgroup::using(|_| 0.0).unlimited());
    sim.add(container(1), Cgroup::using(|_| 0.0).unlimited());
    sim
}

#[test]
fn a_new_pod_asks_for_its_roster_every_two_seconds_for_half_a_minute() {
    let mut sim = newborn(WithoutRoster::Unknown);
    assert_eq!(urgent(&mut sim, 4 * 10 + 1), 5, "at 2, 4, 6, 8 and 10 s");
    assert_eq!(urgent(&mut sim, 4 * 20), 9, "until 28 s");
    assert_eq!(urgent(&mut sim, 4 * 60), 0, "whoever is not listed by then is asked for by heartbeats alone");
    assert_eq!(
        urgent(&mut newborn(WithoutRoster::NodeBasis), 4 * 10),
        1,
        "nobody to ask: its first bands only"
    );
}

#[test]
fn a_listed_pod_asks_no_more_and_the_pause_container_is_no_reason_to() {
    let mut sim = newborn(WithoutRoster::Unknown);
    assert_eq!(urgent(&mut sim, 4 * 3), 1);
    sim.roster(&[]);
    assert_eq!(urgent(&mut sim, 4 * 2), 1, "listed, but without its containers' ids");
    sim.roster(&[listed(1, "app")]);
    assert_eq!(urgent(&mut sim, 4 * 20), 1, "its first bands");
    sim.add(container(2), Cgroup::using(|_| 0.0));
    assert_eq!(urgent(&mut sim, 4 * 4 + 1), 2, "another container came");
    let init = RosterContainer { kind: ContainerKind::Init, ..listed(2, "init") };
    sim.roster(&[listed(1, "app"), init]);
    assert_eq!(urgent(&mut sim, 4 * 20), 0, "it is an init container, which is an answer too");
}
