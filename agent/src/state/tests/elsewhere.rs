//! Containers that run elsewhere than in their own cgroups, not at all, or that are not the pod's load.

use plimsoll_contract::Band::{High, Low, Moderate, Unknown};
use plimsoll_contract::load::{Cause, Rule, UnknownReason};
use plimsoll_contract::report::PodReport;
use plimsoll_contract::roster::{ContainerKind, RosterContainer};
use plimsoll_contract::{Basis, Bytes, Cores, Limit, Resource};

use ContainerKind::{Ephemeral, Init};

use super::sim::{Cgroup, GIB, Sim, at, came_to, container, head, id, listed, own, pod};
use crate::profile::Profile;
use crate::sample::Read;
use crate::state::WithoutRoster;

pub(super) fn report(sim: &Sim) -> PodReport {
    sim.state.full_report(head(), at(sim.now)).pods.remove(0)
}

pub(super) fn reason(sim: &Sim, resource: Resource) -> Option<UnknownReason> {
    sim.state.pod(&pod()).unwrap().resource(resource).classifier.reason()
}

/// No process ever entered this cgroup, and the kernel says so.
fn empty() -> Cgroup {
    Cgroup { cpu: Box::new(|_| 0.0), ..Cgroup::holding(|_| (0, 0)) }.unlimited()
}

/// The kernel says that nothing is in the cgroups for which `is_empty`; without `events` it does not say anything (cgroup v1).
fn populated(sim: &mut Sim, events: bool, is_empty: impl Fn(&crate::sample::Target) -> bool + 'static) {
    sim.fault = Box::new(move |target, _, reading| {
        reading.populated =
            if events { Read::Value(!is_empty(target)) } else { Read::Unknown(UnknownReason::Absent) };
    });
}

/// gVisor: a scope per container, and all processes in the sandbox's, which no roster lists.
fn sandboxed(events: bool, running: bool) -> Sim {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(own(), Cgroup { cpu: Box::new(|_| 3.0), ..Cgroup::holding(|_| (6 * GIB, 0)) }.unlimited());
    sim.add(container(1), empty());
    sim.add(container(9), Cgroup { cpu: Box::new(|_| 3.0), ..Cgroup::holding(|_| (6 * GIB, 0)) }.unlimited());
    populated(&mut sim, events, |target| *target == container(1));
    sim.roster(&[RosterContainer { running, cpu_request: Some(Cores(0.5)), ..listed(1, "app") }]);
    sim
}

#[test]
fn a_pod_whose_containers_cgroups_are_empty_has_the_load_of_its_own_cgroup() {
    for events in [true, false] {
        let mut sim = sandboxed(events, true);
        sim.run(20.0);
        let pod = report(&sim);
        assert_eq!(
            (pod.cpu.band, pod.cpu.basis, pod.cpu.container),
            (High, Some(Basis::Request), None),
            "{events}"
        );
        assert_eq!(pod.cpu.utilization.map(f64::round), Some(6.0));
        assert_eq!((pod.memory.band, pod.memory.basis), (High, Some(Basis::Node)), "{events}");
        let row = &pod.containers[0];
        assert_eq!((row.cpu.cores, row.memory.working_set), (None, None), "empty is not idle");
    }
}

#[test]
fn an_idle_sandbox_is_low_if_its_containers_run_and_says_nothing_if_they_do_not() {
    for (running, band, why) in [(true, Low, None), (false, Unknown, Some(UnknownReason::NotRunning))] {
        let mut sim = sandboxed(true, running);
        for target in [own(), container(9)] {
            let idle = |_: f64| (GIB / 10, 0);
            (sim.get(&target).cpu, sim.get(&target).memory) = (Box::new(|_| 0.01), Box::new(idle));
        }
        sim.run(20.0);
        assert_eq!((sim.cpu(), reason(&sim, Resource::Cpu)), (band, why));
    }
}

#[test]
fn containers_that_have_no_cgroup_have_the_load_of_their_pods() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(own(), Cgroup { cpu: Box::new(|_| 0.4), ..Cgroup::holding(|_| (GIB * 7 / 10, 0)) });
    sim.roster(&[listed(1, "app")]);
    sim.run(20.0);
    assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (Moderate, High));
    let cpu = report(&sim).cpu;
    assert_eq!((cpu.basis, cpu.of, cpu.container), (Some(Basis::Limit), Some(Cores(1.0)), None));
    // without a roster that says so: what is there, but no claim that it is all
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::NodeBasis);
    sim.add(own(), Cgroup::using(|_| 0.4).unlimited());
    sim.run(20.0);
    assert_eq!((sim.cpu(), report(&sim).cpu.basis), (Low, Some(Basis::Node)));
}

#[test]
fn a_pod_whose_processes_are_elsewhere_is_unknown() {
    for (mode, events) in
        [(WithoutRoster::Unknown, true), (WithoutRoster::Unknown, false), (WithoutRoster::NodeBasis, true)]
    {
        let mut sim = Sim::new(Profile::standard(), mode);
        let nothing = || Cgroup { cpu: Box::new(|_| 0.0), ..Cgroup::holding(|_| (0, 0)) };
        sim.add(own(), nothing());
        populated(&mut sim, events, |_| true);
        if mode == WithoutRoster::Unknown {
            sim.roster(&[listed(1, "app")]);
        }
        sim.run(90.0);
        assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (Unknown, Unknown), "{mode:?} {events}");
        assert_eq!(reason(&sim, Resource::Cpu), Some(UnknownReason::Empty), "{mode:?} {events}");
        // and if their cgroups are there, empty as well
        sim.add(container(1), nothing());
        sim.run(120.0);
        assert_eq!((sim.cpu(), reason(&sim, Resource::Cpu)), (Unknown, Some(UnknownReason::Empty)));
    }
}

#[test]
fn a_container_whose_cgroup_was_not_found_makes_its_pod_unknown_where_the_pods_own_says_nothing() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.state.appeared(&own(), at(0.0));
    sim.roster(&[listed(1, "app")]);
    sim.run(20.0);
    assert_eq!((sim.cpu(), reason(&sim, Resource::Cpu)), (Unknown, Some(UnknownReason::NotFound)));
}

#[test]
fn the_limit_of_the_pod_is_the_basis_of_containers_without_one_and_tighter_than_a_larger_one() {
    for limit in [Limit::Unlimited, Limit::Of(Cores(3.0))] {
        let mut sim = Sim::one(Profile::standard(), Cgroup { cpu_limit: limit, ..Cgroup::using(|_| 0.3) });
        sim.add(own(), Cgroup::using(|_| 0.3));
        sim.roster(&[RosterContainer { cpu_request: Some(Cores(0.01)), ..listed(1, "app") }]);
        sim.run(20.0);
        let cpu = report(&sim).cpu;
        assert_eq!((cpu.band, cpu.basis, cpu.of), (Low, Some(Basis::Limit), Some(Cores(1.0))), "{limit:?}");
        assert_eq!(cpu.container, Some(id(1)));
    }
    // memory, too
    let unlimited = Cgroup { memory_limit: Limit::Unlimited, ..Cgroup::holding(|_| (GIB / 2, 0)) };
    let mut sim = Sim::one(Profile::standard(), unlimited);
    sim.add(own(), Cgroup::holding(|_| (GIB / 2, 0)));
    sim.run(20.0);
    let memory = report(&sim).memory;
    assert_eq!((memory.band, memory.basis, memory.of), (Moderate, Some(Basis::Limit), Some(Bytes(GIB))));
}

/// `kubectl debug` made an idle pod `high`: the debug container's load is in the pod's own cgroup.
#[test]
fn what_debug_and_init_containers_use_is_not_the_load_of_the_pods_own_cgroup() {
    for kind in [Ephemeral, Init] {
        let mut sim = Sim::one(
            Profile::standard(),
            Cgroup { cpu: Box::new(|_| 0.02), ..Cgroup::holding(|_| (GIB / 10, 0)) },
        );
        let debugging = |t: f64| if t > 100.0 { 0.9 } else { 0.0 };
        let held = |t: f64| if t > 100.0 { GIB * 8 / 10 } else { 0 };
        sim.add(
            own(),
            Cgroup {
                cpu: Box::new(move |t| 0.02 + debugging(t)),
                ..Cgroup::holding(move |t| (GIB / 10 + held(t), 0))
            },
        );
        let mut seen = sim.run(100.0);
        sim.add(
            container(2),
            Cgroup { cpu: Box::new(debugging), ..Cgroup::holding(move |t| (held(t), 0)) }.unlimited(),
        );
        sim.roster(&[listed(1, "app"), RosterContainer { kind, ..listed(2, "debugger") }]);
        seen.extend(sim.run(400.0));
        assert!(seen.iter().all(|seen| seen.to == Low), "{kind:?}: {seen:?}");
        assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (Low, Low));
        // the pod's own load is still seen
        sim.get(&own()).cpu = Box::new(move |t| 0.8 + debugging(t));
        sim.get(&container(1)).cpu = Box::new(|_| 0.1);
        assert_eq!(came_to(&sim.run_cpu(440.0), High).round(), 419.0, "{kind:?}");
    }
}

#[test]
fn a_debug_container_that_cannot_be_read_is_not_taken_for_the_pod() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.02));
    sim.add(own(), Cgroup::using(|_| 0.92));
    sim.add(container(2), Cgroup::using(|_| 0.9));
    sim.roster(&[listed(1, "app"), RosterContainer { kind: Ephemeral, ..listed(2, "debugger") }]);
    sim.fault = Box::new(|target, _, reading| {
        if *target == container(2) {
            reading.cpu = Read::Unknown(UnknownReason::Denied);
        }
    });
    sim.run(100.0);
    assert_eq!(sim.cpu(), Unknown);
}

fn cause(sim: &Sim) -> Option<Cause<Cores>> {
    report(sim).cpu.cause
}

#[test]
fn a_report_says_what_made_the_band_and_keeps_it_while_the_band_holds() {
    let load = |t: f64| if (100.0..200.0).contains(&t) { 0.98 } else { 0.1 };
    let mut sim = Sim::one(Profile::standard(), Cgroup { throttled: 5, ..Cgroup::using(load) });
    sim.run(60.0);
    let low = cause(&sim).unwrap();
    assert_eq!((low.rule, low.seconds, low.of), (Rule::Mean, 10.0, Cores(1.0)));
    sim.run(110.0);
    let high = cause(&sim).unwrap();
    assert_eq!((high.rule, high.seconds, high.container.clone()), (Rule::Burst, 8.0, Some(id(1))));
    assert!((high.usage.0 - 0.98).abs() < 1e-6 && high.bound_by.is_some(), "{high:?}");
    sim.run(250.0);
    assert_eq!((sim.cpu(), cause(&sim)), (High, Some(high)), "50 s after the load ended");
    sim.run(300.0);
    let low = cause(&sim).unwrap();
    assert_eq!((sim.cpu(), low.rule, low.seconds), (Low, Rule::Mean, 60.0));
    assert!((low.usage.0 - 0.1).abs() < 0.02, "{low:?}");
}

#[test]
fn a_floored_request_and_the_working_set_are_in_the_cause() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.017).unlimited());
    sim.roster(&[RosterContainer { cpu_request: Some(Cores(0.01)), ..listed(1, "app") }]);
    sim.run(20.0);
    let cause = cause(&sim).unwrap();
    assert_eq!((cause.basis, cause.of, cause.request), (Basis::Request, Cores(0.05), Some(Cores(0.01))));
    assert_eq!(cause.working_set, None);
    let load = report(&sim).cpu;
    assert_eq!((load.basis, load.of, load.request), (Some(Basis::Request), Some(cause.of), cause.request));
    let mut sim = Sim::one(Profile::standard(), Cgroup::holding(|_| (GIB / 2, GIB / 4)));
    sim.fault = Box::new(|_, _, reading| {
        if let Read::Value(detail) = &mut reading.memory_detail {
            (detail.active_file, detail.file) = (Some(Bytes(GIB / 8)), Some(Bytes(GIB * 3 / 8)));
            detail.anon = Some(Bytes(GIB / 8));
        }
    });
    sim.run(20.0);
    let cause = report(&sim).memory.cause.unwrap();
    assert_eq!((cause.usage, cause.working_set), (Bytes(GIB / 8), Some(Bytes(GIB / 4))));
    assert_eq!(sim.band(Resource::Memory), Low, "a page cache, however active, is no load");
}

#[test]
fn after_an_announced_band_the_cause_is_known_once_a_minute_supports_it() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(container(1), Cgroup::using(|_| 0.9));
    let bands = plimsoll_contract::roster::Bands { cpu: Some(High), memory: None };
    sim.roster_pod(plimsoll_contract::roster::RosterPod { bands, ..super::sim::entry(&[listed(1, "app")]) });
    sim.run(30.0);
    assert_eq!((sim.cpu(), cause(&sim)), (High, None));
    assert_eq!(sim.run_cpu(70.0), []);
    assert_eq!(cause(&sim).map(|cause| cause.rule), Some(Rule::Mean));
}

#[test]
fn a_limit_that_was_removed_is_no_longer_what_made_the_band() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.3));
    sim.roster(&[RosterContainer { cpu_request: Some(Cores(1.2)), ..listed(1, "app") }]);
    sim.run(100.0);
    assert_eq!(cause(&sim).map(|cause| cause.basis), Some(Basis::Limit));
    sim.get(&container(1)).cpu_limit = Limit::Unlimited;
    assert_eq!(sim.run_cpu(102.0), []);
    assert_eq!(cause(&sim).map(|cause| cause.basis), Some(Basis::Request));
}

#[test]
fn a_container_that_a_roster_had_time_to_list_and_did_not_is_read_less_often() {
    let mut sim = sandboxed(true, true);
    let unlisted = |sim: &Sim| sim.state.unlisted_containers(at(sim.now)).into_iter().collect::<Vec<_>>();
    sim.run(28.0);
    assert_eq!(unlisted(&sim), [], "it may still come");
    sim.run(31.0);
    assert_eq!(unlisted(&sim), [id(9)], "the sandbox's");
    // its load is still seen, in the pod's own cgroup
    sim.state.apply_roster(&plimsoll_contract::roster::Answer::default(), at(sim.now));
    let sandbox = sim.cgroups.remove(&container(9)).unwrap();
    assert_eq!(sim.run(60.0), []);
    assert_eq!(sim.cpu(), High);
    sim.cgroups.insert(container(9), sandbox);
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::NodeBasis);
    sim.add(container(9), Cgroup::using(|_| 0.1));
    sim.run(60.0);
    assert_eq!(unlisted(&sim), [], "without a roster every container counts");
}

#[test]
fn a_pods_own_cgroup_that_is_the_sum_of_its_containers_is_never_named() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.8));
    sim.add(own(), Cgroup::using(|_| 0.81));
    sim.run(60.0);
    assert_eq!(cause(&sim).and_then(|cause| cause.container), Some(id(1)));
}

#[test]
fn the_past_of_a_cgroup_that_is_no_candidate_does_not_grow() {
    let samples = |sim: &Sim| {
        let pod = sim.state.pod(&pod()).unwrap();
        let cgroups = pod.containers.values().chain(&pod.own);
        cgroups.map(|cgroup| cgroup.samples()).max().unwrap()
    };
    // no roster at all; listed without ids; one that is not listed
    for roster in [None, Some(vec![]), Some(vec![listed(1, "app")])] {
        let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
        sim.add(own(), Cgroup::using(|_| 0.1).unlimited());
        sim.add(container(1), Cgroup::using(|_| 0.1).unlimited());
        sim.add(container(9), Cgroup::using(|_| 0.0).unlimited());
        if let Some(containers) = &roster {
            sim.roster(containers);
        }
        sim.run(600.0);
        assert!(samples(&sim) <= 122, "{} of {roster:?}", samples(&sim));
    }
}

#[test]
fn a_container_that_was_added_a_moment_ago_makes_no_first_band() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.02));
    sim.run(8.0);
    sim.add(container(2), Cgroup::using(|t| if t < 12.0 { 1.0 } else { 0.02 }));
    sim.roster(&[listed(1, "app"), listed(2, "late")]);
    let seen = sim.run_cpu(30.0);
    assert_eq!(seen.iter().map(|seen| seen.to).collect::<Vec<_>>(), [Moderate], "{seen:?}");
}
