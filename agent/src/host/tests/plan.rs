//! What is read when: the read plan, its even distribution, slow reads, and too few descriptors.

use std::cell::Cell;

use plimsoll_contract::{Cores, Limit};

use super::*;
use crate::sample::Read;

fn due<T>(read: &Read<T>) -> bool {
    !matches!(read, Read::NotDue)
}

/// The number of values that were read.
fn count_due(reading: &Reading) -> usize {
    let Reading { cpu, cpu_limit, cpu_pressure, memory, memory_detail, memory_limit, .. } = reading;
    let Reading { memory_pressure, memory_events, populated, .. } = reading;
    let of_cpu = [due(cpu), due(cpu_limit), due(cpu_pressure), due(populated)];
    let of_memory =
        [due(memory), due(memory_detail), due(memory_limit), due(memory_pressure), due(memory_events)];
    of_cpu.into_iter().chain(of_memory).filter(|due| *due).count()
}

fn many(tree: &Tree, containers: u8) -> Host {
    (0..containers).for_each(|number| drop(tree.container(number / 2, number)));
    tree.host()
}

#[test]
fn everything_is_read_in_the_first_sweep() {
    let tree = Tree::bare();
    let mut host = many(&tree, 3);
    for reading in sweep(&mut host).values() {
        assert!(
            due(&reading.cpu)
                && due(&reading.memory)
                && due(&reading.memory_detail)
                && due(&reading.memory_events)
        );
        assert!(due(&reading.cpu_limit) && due(&reading.memory_limit));
        assert!(due(&reading.cpu_pressure) && due(&reading.memory_pressure) && due(&reading.populated));
    }
}

#[test]
fn counters_are_read_every_sweep_details_every_fifth_and_limits_every_tenth_evenly_distributed() {
    let tree = Tree::bare();
    let mut host = many(&tree, 40);
    sweep_until_not_new(&mut host);
    for _ in 0..20 {
        let readings = sweep(&mut host);
        let count = |what: fn(&Reading) -> bool| readings.values().filter(|reading| what(reading)).count();
        assert_eq!(count(|r| due(&r.cpu) && due(&r.memory)), 40);
        assert_eq!(count(|r| due(&r.memory_detail)), 40 / 5);
        assert_eq!(
            count(|r| due(&r.memory_events) && due(&r.cpu_pressure) && due(&r.memory_pressure)),
            40 / 5
        );
        assert_eq!(count(|r| due(&r.memory_events) == due(&r.populated)), 40);
        assert_eq!(count(|r| due(&r.cpu_limit)), 40 / 10);
        assert_eq!(count(|r| due(&r.memory_limit)), 40 / 10);
        assert_eq!(count(|r| due(&r.cpu_limit) && due(&r.memory_detail)), 0, "never both in one sweep");
    }
}

/// On a real cluster the first band of pods with a limit was relative to the request: the agent had read it before the
/// runtime set it.
#[test]
fn a_quota_set_a_moment_after_the_cgroup_was_made_is_seen_in_the_next_sweep() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.write(&format!("{dir}/cpu.max"), "max 100000\n");
    let mut host = tree.host();
    assert_eq!(sweep(&mut host)[&container(1, 1)].cpu_limit, Read::Value(Limit::Unlimited));
    tree.write(&format!("{dir}/cpu.max"), "50000 100000\n");
    assert_eq!(sweep(&mut host)[&container(1, 1)].cpu_limit, Read::Value(Limit::Of(Cores(0.5))));
}

#[test]
fn limits_of_managed_pods_are_read_in_every_sweep() {
    let tree = Tree::bare();
    let mut host = many(&tree, 4);
    sweep_until_not_new(&mut host);
    host.set_interest(Interest { managed: BTreeSet::from([uid(1)]), ..Interest::default() });
    tree.container(1, 9);
    host.discover(at(20));
    for _ in 0..5 {
        let readings = sweep(&mut host);
        assert!([2, 3, 9].iter().all(|number| due(&readings[&container(1, *number)].cpu_limit)));
    }
}

#[test]
fn memory_events_of_managed_pods_are_read_in_every_sweep_and_their_details_near_the_limit() {
    let tree = Tree::bare();
    let dirs = [1, 2].map(|number| tree.container(number, number));
    tree.pod(1, "max 100000\n");
    let mut host = tree.host();
    sweep_until_not_new(&mut host);
    host.set_interest(Interest { managed: BTreeSet::from([uid(1)]), ..Interest::default() });
    let count = |host: &mut Host| {
        let mut due_now = [0, 0, 0, 0];
        for _ in 0..10 {
            let readings = sweep(host);
            let own = readings.iter().find(|(target, _)| **target == Target { pod: uid(1), container: None });
            let (managed, other) = (&readings[&container(1, 1)], &readings[&container(2, 2)]);
            let now = [
                due(&managed.memory_events),
                due(&other.memory_events),
                due(&managed.memory_detail),
                own.is_some_and(|(_, own)| due(&own.memory_events)),
            ];
            due_now.iter_mut().zip(now).for_each(|(count, due)| *count += u32::from(due));
        }
        due_now
    };
    assert_eq!(count(&mut host), [10, 2, 2, 10]);
    for dir in dirs {
        tree.write(&format!("{dir}/memory.max"), "209715200\n");
    }
    sweep(&mut host);
    assert_eq!(count(&mut host), [10, 2, 10, 10], "100 of 200 MiB are in use");
}

#[test]
fn memory_stat_is_read_at_once_when_memory_changed_by_a_twentieth() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let mut host = tree.host();
    sweep(&mut host);
    // until it was just read, so that it is not due in the next four sweeps
    while !due(&sweep(&mut host)[&container(1, 1)].memory_detail) {}
    tree.write(&format!("{dir}/memory.current"), "106857600\n");
    assert!(!due(&sweep(&mut host)[&container(1, 1)].memory_detail), "by 2 %");
    tree.write(&format!("{dir}/memory.current"), "110857600\n");
    assert!(due(&sweep(&mut host)[&container(1, 1)].memory_detail), "by 6 %");
    assert!(!due(&sweep(&mut host)[&container(1, 1)].memory_detail), "once");
}

#[test]
fn a_slow_memory_stat_is_counted_and_read_less_often() {
    let tree = Tree::bare();
    tree.container(1, 1);
    tree.pod(1, "max 100000\n");
    let mut host = tree.host();
    let details = |host: &mut Host, per_call: Duration, sweeps: usize| {
        let now = Cell::new(Duration::ZERO);
        let mut details = 0;
        for _ in 0..sweeps {
            // time passes only when the clock is read
            host.sweep(
                || {
                    now.set(now.get() + per_call);
                    Moment(now.get())
                },
                |_, reading| details += usize::from(due(&reading.memory_detail)),
            );
        }
        details
    };
    let slow = details(&mut host, Duration::from_millis(60), 100);
    assert!((8..=14).contains(&slow), "{slow} reads of two cgroups instead of 40");
    assert_eq!(host.slow_reads(), slow as u64);
    let after = details(&mut host, Duration::from_millis(1), 1000);
    assert!(after > 200, "{after}: as often as before when reads are fast again");
    assert_eq!(host.slow_reads(), slow as u64);
}

#[test]
fn with_few_descriptors_files_are_opened_on_demand_with_the_same_readings() {
    let tree = Tree::of("v1-systemd");
    let (mut kept_open, mut on_demand) = (tree.host(), Host::open(&tree.config()).unwrap());
    on_demand.bound = DescriptorBound::of(0);
    on_demand.discover(at(0));
    assert!(on_demand.descriptors == 0 && kept_open.descriptors > 0);
    for _ in 0..3 {
        assert_eq!(sweep(&mut kept_open), sweep(&mut on_demand));
        tree.later();
    }
    fs::remove_dir_all(tree.dir.path().join("sys/fs/cgroup")).unwrap();
    assert!(sweep(&mut on_demand).is_empty());
    assert_eq!(on_demand.discover(at(1)).len(), 9, "all gone");
}

#[test]
fn a_changed_pod_limit_is_read() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let dir = tree.pod(1, "100000 100000\n");
    let mut host = tree.host();
    host.set_interest(Interest { managed: BTreeSet::from([uid(1)]), ..Interest::default() });
    assert_eq!(sweep(&mut host)[&pod(1)].cpu_limit, Read::Value(Limit::Of(Cores(1.0))));
    tree.write(&format!("{dir}/cpu.max"), "50000 100000\n");
    assert_eq!(sweep(&mut host)[&pod(1)].cpu_limit, Read::Value(Limit::Of(Cores(0.5))));
    tree.write(&format!("{dir}/cpu.max"), "max 100000\n");
    assert_eq!(sweep(&mut host)[&pod(1)].cpu_limit, Read::Value(Limit::Unlimited));
}

#[test]
fn the_memory_in_use_of_a_pods_own_cgroup_is_read_in_every_sweep_only_while_it_has_a_limit() {
    for (cpu_max, expected) in [("max 100000\n", 4), ("50000 100000\n", 20)] {
        let tree = Tree::bare();
        tree.container(1, 1);
        tree.pod(1, cpu_max);
        let mut host = tree.host();
        sweep_until_not_new(&mut host);
        let readings: Vec<Reading> = (0..20).map(|_| sweep(&mut host).remove(&pod(1)).unwrap()).collect();
        let count = |what: fn(&Reading) -> bool| readings.iter().filter(|reading| what(reading)).count();
        assert_eq!(count(|r| due(&r.cpu)), 20);
        assert_eq!(count(|r| due(&r.memory)), expected);
        assert_eq!(count(|r| due(&r.memory) && due(&r.memory_detail) && due(&r.populated)), 4);
        assert_eq!(count(|r| due(&r.cpu_limit) && due(&r.memory_limit)), 2);
    }
}

#[test]
fn no_cgroup_keeps_more_descriptors_open_than_are_reserved_for_it() {
    for case in ["v2-systemd-containerd", "v1-cgroupfs", "hybrid"] {
        let tree = Tree::of(case);
        let mut host = tree.host();
        sweep(&mut host);
        let most = host.cgroups.iter().map(Cgroup::count_open).max().unwrap();
        assert!((7..=Cgroup::max_descriptors(&host.mounts)).contains(&most), "{case}: {most}");
        assert_eq!(host.descriptors, host.cgroups.len() * Cgroup::max_descriptors(&host.mounts));
    }
}

/// `tests/benches` states the same, and lets the kernel count.
#[test]
fn what_a_sweep_reads_of_each_cgroup_is_what_the_benchmark_states() {
    let tree = Tree::bare();
    let (app, pause) = (tree.container(1, 1), tree.container(1, 2));
    tree.pod(1, "max 100000\n");
    for dir in [app, pause] {
        tree.write(&format!("{dir}/cgroup.events"), "populated 1\n");
    }
    let mut host = tree.host();
    sweep_until_not_new(&mut host);
    let reads: usize = (0..10).flat_map(|_| sweep(&mut host).into_values()).map(|r| count_due(&r)).sum();
    // two containers: 2 files every sweep, 5 every fifth, 2 every tenth; their pod: 1, 6 and 2
    assert_eq!(reads, 2 * (2 * 10 + 5 * 2 + 2) + (10 + 6 * 2 + 2));
}

#[test]
fn a_container_that_no_roster_lists_is_read_in_every_tenth_sweep() {
    let tree = Tree::bare();
    let mut host = many(&tree, 4);
    let interest = |unlisted: &[u8]| Interest {
        unlisted: unlisted.iter().map(|n| id(*n)).collect(),
        ..Interest::default()
    };
    host.set_interest(interest(&[0, 2]));
    let read = |host: &mut Host, number: u8| {
        (0..20).filter(|_| sweep(host).contains_key(&container(number / 2, number))).count()
    };
    assert_eq!(read(&mut host, 0), 20, "new cgroups are read in every sweep");
    assert_eq!((read(&mut host, 0), read(&mut host, 1), read(&mut host, 2)), (2, 20, 2));
    host.set_interest(interest(&[]));
    assert_eq!(read(&mut host, 0), 20, "it is listed now");
}

#[test]
fn the_memory_of_a_pod_is_read_every_five_seconds_however_slow_sweeps_are() {
    let tree = Tree::bare();
    tree.container(1, 1);
    tree.write(&format!("kubepods/burstable/pod{}/memory.current", uid(1)), "104857600\n");
    tree.write(&format!("kubepods/burstable/pod{}/cpu.stat", uid(1)), "usage_usec 1\n");
    let mut host = tree.host();
    sweep_until_not_new(&mut host);
    let own = Target { pod: uid(1), container: None };
    let mut reads = 0;
    for n in 0..30 {
        host.sweep(
            || at(100 + 5 * n),
            |target, reading| reads += u32::from(*target == own && due(&reading.memory)),
        );
    }
    assert_eq!(reads, 30);
}
