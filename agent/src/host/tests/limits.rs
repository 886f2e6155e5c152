//! Limits: those that a runtime set one level deeper, and what a missing file means.

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit};

use super::*;
use crate::sample::{Read, Throttling};

const ABSENT: Read<Limit<Cores>> = Read::Unknown(UnknownReason::Absent);
const UNLIMITED: Read<Limit<Cores>> = Read::Value(Limit::Unlimited);

fn cores(cores: f64) -> Read<Limit<Cores>> {
    Read::Value(Limit::Of(Cores(cores)))
}

fn cpu_limit(host: &mut Host) -> Read<Limit<Cores>> {
    sweep(host)[&container(1, 1)].cpu_limit
}

#[test]
fn the_smaller_limit_of_a_container_and_of_the_cgroup_that_crun_made_in_it_counts() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    for (outer, inner, expected) in [
        ("max 100000\n", "20000 100000\n", cores(0.2)),
        ("50000 100000\n", "20000 100000\n", cores(0.2)),
        ("50000 100000\n", "80000 100000\n", cores(0.5)),
        ("50000 100000\n", "max 100000\n", cores(0.5)),
        ("max 100000\n", "max 100000\n", UNLIMITED),
        // it may be smaller
        ("50000 100000\n", "damaged\n", Read::Unknown(UnknownReason::Malformed)),
        ("damaged\n", "50000 100000\n", Read::Unknown(UnknownReason::Malformed)),
    ] {
        tree.write(&format!("{dir}/cpu.max"), outer);
        tree.write(&format!("{dir}/container/cpu.max"), inner);
        assert_eq!(cpu_limit(&mut tree.host()), expected, "{outer} {inner}");
    }
    tree.write(&format!("{dir}/container/memory.max"), "4096\n");
    let reading = &sweep(&mut tree.host())[&container(1, 1)];
    assert_eq!(reading.memory_limit, Read::Value(Limit::Of(Bytes(4096))));
}

#[test]
fn throttling_is_counted_where_the_quota_is() {
    let counters =
        |periods, throttled| format!("usage_usec 5\nnr_periods {periods}\nnr_throttled {throttled}\n");
    let throttling = |host: &mut Host| {
        let throttling = sweep(host)[&container(1, 1)].cpu.value().unwrap().throttling;
        throttling.map(|Throttling { periods, throttled }| (periods, throttled))
    };
    for (outer, inner, expected) in [
        ("max 100000\n", "20000 100000\n", Some((30, 20))),
        ("50000 100000\n", "20000 100000\n", Some((30, 20))),
        ("50000 100000\n", "max 100000\n", Some((1, 0))),
    ] {
        let tree = Tree::bare();
        let dir = tree.container(1, 1);
        tree.write(&format!("{dir}/cpu.max"), outer);
        tree.write(&format!("{dir}/cpu.stat"), &counters(1, 0));
        tree.write(&format!("{dir}/container/cpu.max"), inner);
        tree.write(&format!("{dir}/container/cpu.stat"), &counters(30, 20));
        let mut host = tree.host();
        assert_eq!(throttling(&mut host), expected, "{outer} {inner}");
        sweep_until_not_new(&mut host);
        assert_eq!(throttling(&mut host), expected, "also while limits are not due");
        fs::remove_file(tree.path(&format!("{dir}/container/cpu.stat"))).unwrap();
        let unknown = expected.filter(|counted| *counted == (1, 0));
        assert_eq!(throttling(&mut host), unknown, "missing is not none");
    }
}

#[test]
fn a_quota_that_cannot_be_read_once_makes_no_throttling_of_what_was_counted_elsewhere() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.write(&format!("{dir}/cpu.max"), "max 100000\n");
    tree.write(&format!("{dir}/container/cpu.max"), "20000 100000\n");
    tree.write(&format!("{dir}/container/cpu.stat"), "nr_periods 1100\nnr_throttled 290\n");
    let mut host = tree.host();
    let periods = |host: &mut Host| {
        let throttling = sweep(host)[&container(1, 1)].cpu.value().unwrap().throttling;
        throttling.map(|throttling| throttling.periods)
    };
    assert_eq!(periods(&mut host), Some(1100));
    tree.write(&format!("{dir}/cpu.max"), "damaged\n");
    assert_eq!(periods(&mut host), Some(1100));
    // The runtime moved the quota: in this sweep nothing is known.
    tree.write(&format!("{dir}/cpu.max"), "20000 100000\n");
    assert_eq!(periods(&mut host), None);
    assert_eq!(periods(&mut host), Some(0), "its own");
}

#[test]
fn on_v1_it_is_in_the_hierarchies_of_the_limits() {
    let tree = Tree::of("v1-cgroupfs");
    let mut host = tree.host();
    let web = "kubepods/burstable/pod00000041-5f2a-4c3b-9d8e-000000000041";
    let name = fs::read_dir(tree.path(&format!("cpu/{web}"))).unwrap().flatten();
    let name = name
        .map(|entry| entry.file_name().into_string().unwrap())
        .find(|name| name.starts_with("3eb"))
        .unwrap();
    tree.write(&format!("cpu/{web}/{name}/container/cpu.cfs_quota_us"), "10000\n");
    tree.write(&format!("cpu/{web}/{name}/container/cpu.cfs_period_us"), "100000\n");
    tree.write(&format!("memory/{web}/{name}/container/memory.limit_in_bytes"), "8192\n");
    let readings = sweep(&mut host);
    assert_eq!(of(&readings, "3eb").cpu_limit, cores(0.1));
    assert_eq!(of(&readings, "3eb").memory_limit, Read::Value(Limit::Of(Bytes(8192))));
}

#[test]
fn only_a_directory_of_that_name_and_at_that_depth_has_limits_too() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    for below in ["containers", "container-1", "deep/container"] {
        tree.write(&format!("{dir}/{below}/cpu.max"), "1000 100000\n");
    }
    tree.pod(1, "60000 100000\n");
    tree.write("kubepods/burstable/container/cpu.max", "1000 100000\n");
    tree.write(&format!("kubepods/burstable/pod{}/container/cpu.max", uid(1)), "1000 100000\n");
    symlink(tree.path(&format!("{dir}/containers")), tree.path(&format!("{dir}/container"))).unwrap();
    let readings = sweep(&mut tree.host());
    assert_eq!(readings[&container(1, 1)].cpu_limit, cores(0.5));
    assert_eq!(readings[&pod(1)].cpu_limit, cores(0.6));
}

#[test]
fn a_directory_without_quota_changes_nothing_and_is_no_error() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.pod(1, "max 100000\n");
    fs::create_dir(tree.path(&format!("{dir}/container"))).unwrap();
    let mut host = tree.host();
    assert_eq!(cpu_limit(&mut host), cores(0.5));
    assert_eq!(host.read_errors().iter().count(), 0, "{:?}", host.read_errors());
}

/// A tenant may make the directory later: a runtime does it before the container runs.
#[test]
fn one_made_long_after_the_container_is_not_looked_for() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let mut host = tree.host();
    host.set_interest(Interest { managed: BTreeSet::from([uid(1)]), ..Interest::default() });
    sweep_until_not_new(&mut host);
    tree.write(&format!("{dir}/container/cpu.max"), "20000 100000\n");
    assert_eq!(cpu_limit(&mut host), cores(0.5));
    assert_eq!(cpu_limit(&mut tree.host()), cores(0.2));
}

/// Removes the quota of the only container and adds these files; returns the limit, and the number of counted errors.
fn without_quota(files: &[(&str, &str)]) -> (Read<Limit<Cores>>, u64) {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.pod(1, "max 100000\n");
    fs::remove_file(tree.path(&format!("{dir}/cpu.max"))).unwrap();
    for (file, text) in files {
        tree.write(&format!("{dir}/{file}"), text);
    }
    let mut host = tree.host();
    (cpu_limit(&mut host), errors(&host, "cpu.max", UnknownReason::Absent))
}

#[test]
fn a_cpu_controller_without_quota_files_has_no_quota() {
    let weight = ("cpu.weight", "100\n");
    let table = [
        (&[][..], (ABSENT, 1)),
        // built without CONFIG_CFS_BANDWIDTH
        (&[weight], (UNLIMITED, 0)),
        // not enabled in this cgroup
        (&[("cgroup.controllers", "memory pids\n")], (UNLIMITED, 0)),
        (&[("cgroup.controllers", "")], (UNLIMITED, 0)),
        (&[("cgroup.controllers", "cpu memory\n")], (ABSENT, 1)),
        (&[("cgroup.controllers", "memory")], (Read::Unknown(UnknownReason::Malformed), 0)),
    ];
    for (files, expected) in table {
        assert_eq!(without_quota(files), expected, "{files:?}");
    }
}

/// Of the containers of the case `v1-cgroupfs` with these files removed or replaced, the one whose id begins with `3eb`.
fn v1_with(changes: &[(&str, Option<&str>)]) -> Reading {
    let tree = Tree::of("v1-cgroupfs");
    let pod = "kubepods/burstable/pod00000041-5f2a-4c3b-9d8e-000000000041";
    for (file, text) in changes {
        let (hierarchy, file) = file.split_once('/').unwrap();
        let containers = fs::read_dir(tree.path(&format!("{hierarchy}/{pod}"))).unwrap().flatten();
        for container in containers.filter(|entry| entry.path().is_dir()) {
            let path = container.path().join(file);
            match text {
                None => fs::remove_file(path).unwrap(),
                Some(text) => fs::write(path, text).unwrap(),
            }
        }
    }
    of(&sweep(&mut tree.host()), "3eb").clone()
}

#[test]
fn on_v1_the_shares_show_that_the_controller_has_no_quota() {
    let no_quota = [("cpu/cpu.cfs_quota_us", None), ("cpu/cpu.cfs_period_us", None), ("cpu/cpu.stat", None)];
    assert_eq!(v1_with(&no_quota).cpu_limit, ABSENT);
    let shares = [&no_quota[..], &[("cpu/cpu.shares", Some("1024\n"))]].concat();
    let reading = v1_with(&shares);
    assert_eq!(reading.cpu_limit, UNLIMITED);
    assert!(reading.cpu.value().is_some_and(|cpu| cpu.throttling.is_none()), "{reading:?}");
}

#[test]
fn a_period_is_only_needed_for_a_quota() {
    let without = ("cpu/cpu.cfs_period_us", None);
    assert_eq!(v1_with(&[without, ("cpu/cpu.cfs_quota_us", Some("-1\n"))]).cpu_limit, UNLIMITED);
    assert_eq!(v1_with(&[without]).cpu_limit, ABSENT);
}

#[test]
fn each_event_of_v1_is_known_by_itself() {
    let events = |max, oom_kill| Read::Value(MemoryEvents { high: None, max, oom_kill });
    let (failcnt, control) = ("memory/memory.failcnt", "memory/memory.oom_control");
    let old = Some("oom_kill_disable 0\nunder_oom 0\n");
    assert_eq!(v1_with(&[]).memory_events, events(Some(3), Some(1)));
    assert_eq!(v1_with(&[(control, old)]).memory_events, events(Some(3), None), "before Linux 4.13");
    assert_eq!(v1_with(&[(control, None)]).memory_events, events(Some(3), None));
    assert_eq!(v1_with(&[(failcnt, None)]).memory_events, events(None, Some(1)));
    assert_eq!(v1_with(&[(failcnt, None), (control, old)]).memory_events, events(None, None));
    let neither = v1_with(&[(failcnt, None), (control, None)]);
    assert_eq!(neither.memory_events, Read::Unknown(UnknownReason::Absent));
    assert!(neither.memory.value().is_some() && neither.memory_detail.value().is_some());
}

#[test]
fn whether_a_cgroup_is_populated_is_read_of_v2_only() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.container(1, 2);
    tree.write(&format!("{dir}/cgroup.events"), "populated 0\nfrozen 0\n");
    tree.pod(1, "max 100000\n");
    let mut host = tree.host();
    let readings = sweep(&mut host);
    assert_eq!(readings[&container(1, 1)].populated, Read::Value(false));
    assert_eq!(readings[&pod(1)].populated, Read::Value(true));
    let absent = Read::Unknown(UnknownReason::Absent);
    assert_eq!(readings[&container(1, 2)].populated, absent);
    assert_eq!(host.read_errors().iter().count(), 0, "a captured tree may lack it");

    // in a hybrid the processes of a container need not be in the unified hierarchy
    let tree = Tree::of("hybrid");
    let mut folders = vec![tree.path("unified/kubepods.slice")];
    while let Some(folder) = folders.pop() {
        fs::write(folder.join("cgroup.events"), "populated 0\n").unwrap();
        folders
            .extend(fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).filter(|path| path.is_dir()));
    }
    assert!(sweep(&mut tree.host()).values().all(|reading| reading.populated == absent));
}

#[test]
fn a_pod_directory_that_was_captured_without_files_says_nothing() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    assert!(!sweep(&mut host).contains_key(&pod(1)));
    tree.pod(1, "max 100000\n");
    assert!(sweep(&mut host).contains_key(&pod(1)));
}
