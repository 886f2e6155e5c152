//! What is read when: the read plan, its even distribution, slow reads, and too few descriptors.

use std::cell::Cell;

use plimsoll_contract::{Cores, Limit};

use super::*;
use crate::sample::Read;

fn due<T>(read: &Read<T>) -> bool {
    !matches!(read, Read::NotDue)
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
        assert!(due(&reading.cpu_pressure) && due(&reading.memory_pressure));
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
    host.set_managed(BTreeSet::from([uid(1)]));
    tree.container(1, 9);
    host.discover(at(20));
    for _ in 0..5 {
        let readings = sweep(&mut host);
        assert!([2, 3, 9].iter().all(|number| due(&readings[&container(1, *number)].cpu_limit)));
    }
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
    assert!((4..=7).contains(&slow), "{slow} reads instead of 20");
    assert_eq!(host.slow_reads(), slow as u64);
    let after = details(&mut host, Duration::from_millis(1), 1000);
    assert!(after > 100, "{after}: as often as before when reads are fast again");
    assert_eq!(host.slow_reads(), slow as u64);
}

#[test]
fn with_few_descriptors_files_are_opened_on_demand_with_the_same_readings() {
    let tree = Tree::of("v1-systemd");
    let (mut kept_open, mut on_demand) = (tree.host(), Host::open(&tree.config()).unwrap());
    on_demand.max_descriptors = 0;
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
fn a_changed_pod_limit_is_read_and_a_removed_one_once_more() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let pod_dir = dir.rsplit_once('/').unwrap().0;
    for (file, text) in [
        ("cpu.max", "100000 100000\n"),
        ("memory.max", "max\n"),
        ("cpu.stat", "usage_usec 5\n"),
        ("memory.current", "4096\n"),
    ] {
        tree.write(&format!("{pod_dir}/{file}"), text);
    }
    let mut host = tree.host();
    host.set_managed(BTreeSet::from([uid(1)]));
    let pod = Target { pod: uid(1), container: None };
    assert_eq!(sweep(&mut host)[&pod].cpu_limit, Read::Value(Limit::Of(Cores(1.0))));
    tree.write(&format!("{pod_dir}/cpu.max"), "50000 100000\n");
    assert_eq!(sweep(&mut host)[&pod].cpu_limit, Read::Value(Limit::Of(Cores(0.5))));
    tree.write(&format!("{pod_dir}/cpu.max"), "max 100000\n");
    assert_eq!(sweep(&mut host)[&pod].cpu_limit, Read::Value(Limit::Unlimited));
    assert!(!sweep(&mut host).contains_key(&pod));
}
