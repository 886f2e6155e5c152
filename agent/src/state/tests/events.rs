//! Memory events of managed pods: each rise is reported to each replica once it accepts it, whatever restarts.

use std::collections::BTreeSet;

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::{ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{PodUid, Report};

use super::sim::{Cgroup, Sim, at, container, entry, head, id, listed, own, pod};
use crate::profile::Profile;
use crate::sample::Target;
use crate::state::{AcceptedEvents, ReportedEvents, WithoutRoster};

fn counts(max: u64, oom_kill: u64) -> MemoryEvents {
    MemoryEvents { high: Some(0), max: Some(max), oom_kill: Some(oom_kill) }
}

fn cgroup(max: u64, oom_kill: u64) -> Cgroup {
    Cgroup { events: counts(max, oom_kill), ..Cgroup::using(|_| 0.1) }
}

fn set(sim: &mut Sim, target: &Target, max: u64, oom_kill: u64) {
    sim.get(target).events = counts(max, oom_kill);
}

fn roster(sim: &mut Sim, containers: &[RosterContainer]) {
    sim.roster_pod(RosterPod { managed: true, ..entry(containers) });
}

/// A managed pod whose container, 1, `app`, has been killed twice before it was watched.
fn managed() -> Sim {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(own(), cgroup(5, 2).unlimited());
    sim.add(container(1), cgroup(5, 2));
    roster(&mut sim, &[listed(1, "app")]);
    sweeps(&mut sim, 3);
    sim
}

fn sweeps(sim: &mut Sim, sweeps: u32) {
    for _ in 0..sweeps {
        sim.sweep();
        sim.sleep(1.0);
    }
}

fn report(sim: &Sim, accepted: &AcceptedEvents) -> (Report, Vec<ReportedEvents>) {
    sim.state.report_to(head(), None, accepted, at(sim.now))
}

/// What a replica is told of this container.
fn told(sim: &Sim, accepted: &AcceptedEvents, number: u32) -> Option<MemoryEvents> {
    let (report, _) = report(sim, accepted);
    let container = report.pods[0].containers.iter().find(|container| container.id == id(number))?;
    container.memory.events_delta
}

fn accept(sim: &Sim, accepted: &mut AcceptedEvents) {
    let (report, events) = report(sim, accepted);
    accepted.accept(&report, &events, &BTreeSet::new());
}

#[test]
fn a_rise_is_told_until_it_is_accepted_and_what_was_before_never() {
    let mut sim = managed();
    let mut accepted = AcceptedEvents::default();
    assert_eq!(told(&sim, &accepted, 1), Some(counts(0, 0)));
    set(&mut sim, &container(1), 8, 3);
    set(&mut sim, &own(), 8, 3);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &accepted, 1), Some(counts(3, 1)));
    assert_eq!(told(&sim, &accepted, 1), Some(counts(3, 1)), "the report was not accepted");
    accept(&sim, &mut accepted);
    assert_eq!(told(&sim, &accepted, 1), Some(counts(0, 0)));
    set(&mut sim, &container(1), 9, 3);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &accepted, 1), Some(counts(1, 0)));
    assert_eq!(
        told(&sim, &AcceptedEvents::default(), 1),
        Some(counts(4, 1)),
        "another replica accepted none"
    );
}

/// As after a change of the mounts: its counts begin anew.
#[test]
fn of_a_pod_that_is_found_again_as_many_kills_are_told_as_were_accepted_before() {
    let mut sim = managed();
    let mut accepted = AcceptedEvents::default();
    let kill = |sim: &mut Sim, kills| {
        set(sim, &container(1), 5, kills);
        set(sim, &own(), 5, kills);
        sweeps(sim, 1);
    };
    kill(&mut sim, 3);
    accept(&sim, &mut accepted);
    for target in [container(1), own()] {
        sim.remove(&target);
    }
    sim.add(own(), cgroup(5, 3).unlimited());
    sim.add(container(1), cgroup(5, 3));
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &accepted, 1), Some(counts(0, 0)));
    accept(&sim, &mut accepted);
    kill(&mut sim, 4);
    assert_eq!(told(&sim, &accepted, 1), Some(counts(0, 1)));
}

#[test]
fn a_rejected_pod_and_a_container_that_was_left_out_keep_their_rises() {
    let mut sim = managed();
    set(&mut sim, &container(1), 6, 2);
    sweeps(&mut sim, 1);
    let mut accepted = AcceptedEvents::default();
    let (mut sent, events) = report(&sim, &accepted);
    accepted.accept(&sent, &events, &BTreeSet::from([&pod()]));
    assert_eq!(told(&sim, &accepted, 1), Some(counts(1, 0)));
    sent.pods[0].containers.clear();
    accepted.accept(&sent, &events, &BTreeSet::new());
    assert_eq!(told(&sim, &accepted, 1), Some(counts(1, 0)));
}

#[test]
fn a_kill_that_ended_its_container_before_it_was_read_is_told_of_the_next_one() {
    let mut sim = managed();
    // the container's own file goes with it
    set(&mut sim, &own(), 5, 3);
    sim.remove(&container(1));
    sweeps(&mut sim, 2);
    sim.add(container(2), cgroup(0, 0));
    sweeps(&mut sim, 1);
    roster(&mut sim, &[listed(2, "app")]);
    sweeps(&mut sim, 1);
    let mut accepted = AcceptedEvents::default();
    assert_eq!(told(&sim, &accepted, 2), Some(counts(0, 1)));
    accept(&sim, &mut accepted);
    sweeps(&mut sim, 3);
    assert_eq!(told(&sim, &accepted, 2), Some(counts(0, 0)));
}

/// Minutes pass in `CrashLoopBackOff`: longer than anything else is kept of a stopped container.
#[test]
fn a_kill_is_not_forgotten_while_its_container_waits_to_be_restarted() {
    let mut sim = managed();
    set(&mut sim, &own(), 5, 3);
    sim.remove(&container(1));
    sweeps(&mut sim, 300);
    sim.add(container(2), cgroup(0, 0));
    roster(&mut sim, &[listed(2, "app")]);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 2), Some(counts(0, 1)));
}

#[test]
fn a_new_container_counts_from_zero_also_before_a_roster_names_it() {
    let mut sim = managed();
    sim.remove(&container(1));
    sim.add(container(2), cgroup(4, 1));
    set(&mut sim, &own(), 9, 3);
    sweeps(&mut sim, 1);
    set(&mut sim, &container(2), 6, 1);
    sweeps(&mut sim, 1);
    roster(&mut sim, &[listed(2, "app")]);
    sweeps(&mut sim, 1);
    assert_eq!(
        told(&sim, &AcceptedEvents::default(), 2),
        Some(counts(6, 1)),
        "once, not again of the pod's own"
    );
}

#[test]
fn a_new_pod_is_told_what_it_counted_before_its_roster_came() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sweeps(&mut sim, 2);
    sim.add(own(), cgroup(2, 1).unlimited());
    sim.add(container(1), cgroup(2, 1));
    sweeps(&mut sim, 3);
    roster(&mut sim, &[listed(1, "app")]);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(2, 1)));
}

#[test]
fn of_two_containers_the_one_that_ended_was_killed() {
    let mut sim = managed();
    sim.add(container(3), cgroup(0, 0));
    roster(&mut sim, &[listed(1, "app"), listed(3, "proxy")]);
    sweeps(&mut sim, 3);
    set(&mut sim, &own(), 5, 3);
    sweeps(&mut sim, 1);
    let none = AcceptedEvents::default();
    assert_eq!(told(&sim, &none, 1), Some(counts(0, 0)), "none has ended yet: it may be either");
    sim.remove(&container(3));
    sim.add(container(4), cgroup(0, 0));
    roster(&mut sim, &[listed(1, "app"), listed(4, "proxy")]);
    sweeps(&mut sim, 1);
    assert_eq!((told(&sim, &none, 1), told(&sim, &none, 4)), (Some(counts(0, 0)), Some(counts(0, 1))));
}

#[test]
fn a_kill_that_nobody_ended_for_is_not_given_to_one_that_ends_much_later() {
    let of_two = |wait: u32| {
        let mut sim = managed();
        sim.add(container(2), cgroup(0, 0));
        roster(&mut sim, &[listed(1, "app"), listed(2, "proxy")]);
        sweeps(&mut sim, 2);
        set(&mut sim, &own(), 5, 3);
        sweeps(&mut sim, wait);
        sim.remove(&container(2));
        sim.add(container(3), cgroup(0, 0));
        roster(&mut sim, &[listed(1, "app"), listed(3, "proxy")]);
        sweeps(&mut sim, 2);
        told(&sim, &AcceptedEvents::default(), 3).and_then(|events| events.oom_kill)
    };
    assert_eq!(of_two(2), Some(1));
    assert_ne!(of_two(60), Some(1));
}

#[test]
fn a_kill_in_a_running_container_is_counted_once_in_whatever_order_it_is_read() {
    let mut sim = managed();
    // read after the pod's own cgroup, which had not counted it yet
    set(&mut sim, &container(1), 5, 3);
    sweeps(&mut sim, 1);
    set(&mut sim, &own(), 5, 3);
    sweeps(&mut sim, 2);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(0, 1)));
}

#[test]
fn a_kill_in_an_init_container_is_not_the_pods_load() {
    let mut sim = managed();
    let init = RosterContainer { kind: ContainerKind::Init, ..listed(7, "init") };
    sim.add(container(7), cgroup(0, 0));
    roster(&mut sim, &[listed(1, "app"), init]);
    sweeps(&mut sim, 2);
    set(&mut sim, &own(), 5, 3);
    sim.remove(&container(7));
    sweeps(&mut sim, 3);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(0, 0)));
}

#[test]
fn what_happened_before_somebody_chose_a_class_is_not_told_nor_is_anything_without_one() {
    let mut sim = managed();
    sim.roster(&[listed(1, "app")]);
    set(&mut sim, &container(1), 50, 20);
    set(&mut sim, &own(), 50, 20);
    sweeps(&mut sim, 2);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), None);
    roster(&mut sim, &[listed(1, "app")]);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(0, 0)));
    set(&mut sim, &container(1), 51, 20);
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(1, 0)));
}

#[test]
fn a_cgroup_that_was_made_again_counts_from_zero() {
    let mut sim = managed();
    let cgroup = sim.get(&container(1));
    (cgroup.inode, cgroup.events) = (2, counts(1, 0));
    sweeps(&mut sim, 1);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(1, 0)));
}

/// As after a change of the mounts: everything is removed and found again.
#[test]
fn a_cgroup_that_is_found_again_is_not_new() {
    let mut sim = managed();
    for target in [container(1), own()] {
        sim.remove(&target);
    }
    for (target, cgroup) in [(own(), cgroup(5, 2).unlimited()), (container(1), cgroup(5, 2))] {
        sim.add(target, cgroup);
    }
    sweeps(&mut sim, 3);
    assert_eq!(told(&sim, &AcceptedEvents::default(), 1), Some(counts(0, 0)));
}

#[test]
fn what_the_kernel_does_not_count_is_absent() {
    let mut sim = managed();
    sim.get(&container(1)).events = MemoryEvents { max: Some(5), ..MemoryEvents::default() };
    sim.get(&own()).events = MemoryEvents::default();
    let mut other = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    std::mem::swap(&mut other.cgroups, &mut sim.cgroups);
    for target in [own(), container(1)] {
        other.state.appeared(&target, at(0.0));
    }
    roster(&mut other, &[listed(1, "app")]);
    sweeps(&mut other, 2);
    let expected = MemoryEvents { max: Some(0), ..MemoryEvents::default() };
    assert_eq!(told(&other, &AcceptedEvents::default(), 1), Some(expected));
}

#[test]
fn pods_that_are_gone_are_forgotten() {
    let mut sim = managed();
    set(&mut sim, &container(1), 6, 2);
    sweeps(&mut sim, 1);
    let mut accepted = AcceptedEvents::default();
    accept(&sim, &mut accepted);
    assert_ne!(accepted, AcceptedEvents::default());
    sim.remove(&container(1));
    sim.remove(&own());
    let (report, events) = report(&sim, &accepted);
    let nobody: BTreeSet<&PodUid> = BTreeSet::new();
    accepted.accept(&report, &events, &nobody);
    assert_eq!(accepted, AcceptedEvents::default());
}
