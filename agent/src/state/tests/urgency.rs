//! Which pods are reported at once.

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::{ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Bytes, Cores, Limit};

use super::sim::{Cgroup, GIB, Sim, at, container, entry, head, listed, own, pod};
use crate::profile::Profile;
use crate::sample::Read;
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
    // Also where it could not be read in the sweep in which it changed.
    sim.fault = Box::new(|_, _, reading| reading.cpu_limit = Read::Unknown(UnknownReason::Failed));
    assert_eq!(urgent(&mut sim, 1), 0);
    sim.get(&container(1)).cpu_limit = Limit::Of(Cores(1.0));
    sim.fault = Box::new(|_, _, _| {});
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
        ("a memory event", |cgroup| cgroup.events = MemoryEvents { max: Some(1), ..cgroup.events }, 1),
        ("hot", |cgroup| cgroup.cpu = Box::new(|_| 0.6999), 10),
    ];
    for (what, apply, times) in table {
        let mut sim = managed(Cgroup::using(|_| 0.1));
        urgent(&mut sim, 40);
        apply(sim.get(&container(1)));
        assert_eq!(urgent(&mut sim, 4 * 4), times.min(4), "{what}");
    }
}

/// The seconds from 15 on, after the first bands, at which a managed pod on a node without PSI, swept once a second, is reported at once.
fn reported_at(cgroup: Cgroup, request: Option<f64>, seconds: u32) -> Vec<u32> {
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.fault = Box::new(|_, _, reading| {
        let absent = Read::Unknown(UnknownReason::Absent);
        (reading.cpu_pressure, reading.memory_pressure) = (absent, absent);
    });
    let app = RosterContainer { cpu_request: request.map(Cores), ..listed(1, "app") };
    sim.roster_pod(RosterPod { managed: true, ..entry(&[app]) });
    (0..seconds)
        .filter(|second| {
            sim.sweep();
            let urgent = sim.state.urgent_pods(at(sim.now));
            // a sweep is never on time to the millisecond
            sim.sleep(if second % 2 == 0 { 0.996 } else { 1.004 });
            *second >= 15 && !urgent.is_empty()
        })
        .collect()
}

#[test]
fn a_container_with_most_of_its_limit_or_request_in_use_for_three_seconds_is_urgent_every_second() {
    let busy = |t: f64| if t < 19.5 { 0.1 } else { 0.36 };
    // the mean of 3 s passes 0.70 of it with the third whole second that is busy
    let expected: Vec<u32> = (23..30).collect();
    let limited = || Cgroup::using(busy).cpu_limit(0.5);
    let with_limit = reported_at(limited(), None, 30);
    assert_eq!(with_limit.first(), Some(&21), "one second above 0.66 is reported already");
    assert!(expected.iter().all(|at| with_limit.contains(at)), "{with_limit:?}");
    // relative to the request of 20m, which counts as 50m for the band only
    let small = |t: f64| if t < 19.5 { 0.001 } else { 0.016 };
    let small = reported_at(Cgroup::using(small).unlimited(), Some(0.02), 30);
    assert_eq!(small, expected, "no band and no throttling says so");
    let neither = reported_at(Cgroup::using(|_| 0.36).unlimited(), None, 30);
    assert!(neither.is_empty(), "relative to what? {neither:?}");
}

#[test]
fn throttling_is_urgent_in_the_sweep_in_which_it_is_seen() {
    let mut sim = managed(Cgroup::using(|_| 0.1));
    urgent(&mut sim, 40);
    // 2 of 20 periods
    sim.get(&container(1)).throttled = 2;
    sim.sleep(0.25);
    assert_eq!(urgent(&mut sim, 1), 1);
    assert_eq!(urgent(&mut sim, 3), 0, "within the second");
    sim.get(&container(1)).throttled = 0;
    // for 3 s, 8 of 120 periods are more than a twentieth
    assert_eq!(urgent(&mut sim, 4 * 6), 3);
}

#[test]
fn unreclaimable_memory_near_the_limit_for_two_seconds_is_urgent() {
    let full = Cgroup::holding(|t| (if t < 19.5 { GIB / 10 } else { GIB / 4 * 3 }, 0));
    // the memory band is hot first
    let seen = reported_at(full, None, 30);
    assert!(seen.contains(&20) && (22..30).all(|at| seen.contains(&at)), "{seen:?}");
    // with half of the limit for the pod's cgroup, 0.40 of the container's limit are 0.80 of what is enforced
    let cgroup = Cgroup::holding(|t| (if t < 19.5 { GIB / 10 } else { GIB / 10 * 4 }, 0));
    let mut sim = managed(cgroup);
    sim.add(own(), Cgroup { memory_limit: Limit::Of(Bytes(GIB / 2)), ..Cgroup::using(|_| 0.1).unlimited() });
    urgent(&mut sim, 4 * 18);
    assert!(urgent(&mut sim, 4 * 8) >= 4);
}

#[test]
fn another_pressure_is_urgent_at_once_although_one_lasts() {
    let mut sim = managed(Cgroup { pressure: 50.0, ..Cgroup::using(|_| 0.1) });
    urgent(&mut sim, 40);
    // a sweep in which the lasting pressure is reported, and one in which it is not
    while urgent(&mut sim, 1) == 0 {}
    sim.get(&container(1)).throttled = 5;
    sim.sleep(0.25);
    assert_eq!(urgent(&mut sim, 1), 1);
    assert_eq!(urgent(&mut sim, 3), 0, "both once a second from now on");
    assert_eq!(urgent(&mut sim, 4 * 5), 5);
}

#[test]
fn the_event_of_a_container_that_is_gone_is_urgent_once_its_successor_is_listed() {
    let mut sim = managed(Cgroup::using(|_| 0.1));
    sim.add(own(), Cgroup::using(|_| 0.1).unlimited());
    urgent(&mut sim, 40);
    sim.get(&own()).events.oom_kill = Some(1);
    sim.remove(&container(1));
    assert_eq!(urgent(&mut sim, 2), 0);
    sim.add(container(2), Cgroup::using(|_| 0.1));
    sim.roster_pod(RosterPod { managed: true, ..entry(&[listed(2, "app")]) });
    assert_eq!(urgent(&mut sim, 1), 1);
    assert_eq!(urgent(&mut sim, 8), 0);
}

#[test]
fn the_limits_of_the_pods_own_cgroup_are_reported_and_urgent_when_they_change() {
    let mut sim = managed(Cgroup::using(|_| 0.1));
    sim.add(own(), Cgroup::using(|_| 0.1));
    urgent(&mut sim, 40);
    sim.get(&own()).cpu_limit = Limit::Of(Cores(1.25));
    assert_eq!(urgent(&mut sim, 8), 1);
    let report = |sim: &Sim| sim.state.full_report(head(), at(sim.now)).pods[0].cgroup;
    let cgroup = report(&sim).unwrap();
    assert_eq!(cgroup.limit_cores, Some(Limit::Of(Cores(1.25))));
    assert_eq!(cgroup.limit_bytes, Some(Limit::Of(Bytes(GIB))));
    sim.roster(&[listed(1, "app")]);
    assert_eq!(report(&sim), None, "nobody resizes it");
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
