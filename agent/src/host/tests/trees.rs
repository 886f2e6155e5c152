//! The captured hosts of `tests/fixtures`: which cgroups are found where, and their readings.

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit};

use super::*;
use crate::sample::{Read, Throttling};

const MI: u64 = 1 << 20;

/// The cases with the pods web, api and batch, each with one container and its pause container.
const USUAL: [&str; 9] = [
    "v2-systemd-containerd",
    "v2-cgroupfs-containerd",
    "v1-systemd",
    "v1-cgroupfs",
    "hybrid",
    "kind",
    "crio",
    "docker",
    "look-alike",
];

fn describe(case: &str) -> String {
    Tree::of(case).host().describe().to_string()
}

#[test]
fn the_layout_of_each_case_is_detected() {
    let v2 = "cpu usage v2, cpu quota v2, memory v2";
    let v1 = "cpu usage v1, cpu quota v1, memory v1";
    let table = [
        ("v2-systemd-containerd", format!("{v2}, driver systemd, kubepods at kubepods.slice, captured tree")),
        ("v2-cgroupfs-containerd", format!("{v2}, driver cgroupfs, kubepods at kubepods, captured tree")),
        ("v1-systemd", format!("{v1}, driver systemd, kubepods at kubepods.slice, captured tree")),
        ("v1-cgroupfs", format!("{v1}, driver cgroupfs, kubepods at kubepods, captured tree")),
        ("hybrid", format!("{v1}, driver systemd, kubepods at kubepods.slice, captured tree")),
        (
            "kind",
            format!("{v2}, driver systemd, kubepods at kubelet.slice/kubelet-kubepods.slice, captured tree"),
        ),
        (
            "no-memory-controller",
            "cpu usage v2, cpu quota v2, memory none, driver cgroupfs, kubepods at kubepods, captured tree"
                .into(),
        ),
    ];
    for (case, expected) in table {
        assert_eq!(describe(case), expected, "{case}");
    }
}

#[test]
fn every_layout_gives_the_same_pods_and_nothing_that_resembles_them() {
    for case in USUAL {
        let tree = Tree::of(case);
        let mut host = Host::open(&tree.config()).unwrap();
        let changes = host.discover(at(0));
        let containers: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                CgroupEvent::Appeared(target) => target.container.as_ref().map(ContainerId::as_str),
                CgroupEvent::Gone(target) => panic!("{case}: {target:?} gone in the first discovery"),
            })
            .collect();
        assert_eq!(containers.len(), 6, "{case}: {containers:?}");
        assert_eq!(changes.len(), 9, "{case}: three pods besides");
        for prefix in ["3eb", "a91", "ba7c4", "9a05e3eb", "9a05ea91", "9a05eba7c4"] {
            assert_eq!(containers.iter().filter(|id| id.starts_with(prefix)).count(), 1, "{case}: {prefix}");
        }
    }
}

#[test]
fn every_layout_gives_the_same_numbers() {
    for case in USUAL {
        let tree = Tree::of(case);
        let mut host = tree.host();
        let first = sweep(&mut host);
        tree.later();
        let second = sweep(&mut host);
        let (before, after) = (of(&first, "3eb"), of(&second, "3eb"));
        let (cpu, cpu_after) = (before.cpu.value().unwrap(), after.cpu.value().unwrap());
        assert_eq!(cpu.usage, Duration::from_secs(90), "{case}");
        assert_eq!(cpu.throttling, Some(Throttling { periods: 1100, throttled: 290 }), "{case}");
        assert_eq!(cpu_after.usage - cpu.usage, Duration::from_millis(400), "{case}");
        assert_eq!(before.cpu_limit, Read::Value(Limit::Of(Cores(0.5))), "{case}");
        assert_eq!(before.memory, Read::Value(Bytes(149 * MI)), "{case}");
        assert_eq!(after.memory, Read::Value(Bytes(169 * MI)), "{case}");
        assert_eq!(before.memory_limit, Read::Value(Limit::Of(Bytes(256 * MI))), "{case}");
        assert_eq!(before.memory_detail.value().unwrap().inactive_file, Some(Bytes(40 * MI)), "{case}");
        let high = if case.starts_with("v1") || case == "hybrid" { None } else { Some(0) };
        assert_eq!(
            before.memory_events,
            Read::Value(MemoryEvents { high, max: Some(3), oom_kill: Some(1) }),
            "{case}"
        );
        let pressure =
            if case.starts_with("v1") { Read::Unknown(UnknownReason::Absent) } else { Read::Value(12.5) };
        assert_eq!(before.cpu_pressure, pressure, "{case}");
        assert_eq!(of(&first, "ba7c4").cpu_limit, Read::Value(Limit::Unlimited), "{case}");
        assert_eq!(of(&first, "ba7c4").memory_limit, Read::Value(Limit::Unlimited), "{case}");
        assert_eq!(host.read_errors().iter().count(), 0, "{case}: {:?}", host.read_errors());
    }
}

#[test]
fn the_pods_own_cgroup_is_read_with_and_without_a_limit() {
    let own = |tree: &Tree| {
        let readings = sweep(&mut tree.host());
        let own: Vec<Reading> =
            readings.into_iter().filter(|(t, _)| t.container.is_none()).map(|(_, r)| r).collect();
        assert_eq!(own.len(), 1);
        own[0].clone()
    };
    let limited = own(&Tree::of("pod-level-limit"));
    assert_eq!(limited.cpu_limit, Read::Value(Limit::Of(Cores(1.0))));
    assert_eq!(limited.memory_limit, Read::Value(Limit::Of(Bytes(1024 * MI))));
    assert_eq!(limited.memory, Read::Value(Bytes(700 * MI)));
    let unlimited = own(&Tree::of("static-pod"));
    assert_eq!(unlimited.cpu_limit, Read::Value(Limit::Unlimited));
    assert!(unlimited.cpu.value().is_some() && unlimited.memory.value().is_some(), "{unlimited:?}");
}

#[test]
fn a_static_pod_is_identified_by_its_hash() {
    let targets = sweep(&mut Tree::of("static-pod").host());
    assert_eq!(targets.len(), 3);
    assert!(targets.keys().all(|target| target.pod.as_str() == "5eed0000c0f1900000000000000000aa"));
}

#[test]
fn orphans_are_found_where_a_runtime_with_another_driver_puts_them() {
    let readings = sweep(&mut Tree::of("driver-mismatch").host());
    assert_eq!(of(&readings, "3135").cpu.value().unwrap().usage, Duration::from_secs(5));
    assert_eq!(readings.len(), 3, "two containers, and the pod, which has a limit");
}

#[test]
fn without_the_memory_controller_memory_is_unknown_and_cpu_is_not_affected() {
    let tree = Tree::of("no-memory-controller");
    let mut host = tree.host();
    let readings = sweep(&mut host);
    let web = of(&readings, "3eb");
    assert_eq!(web.cpu.value().unwrap().usage, Duration::from_secs(90));
    let no = UnknownReason::NoController;
    assert_eq!((web.memory, web.memory_limit), (Read::Unknown(no), Read::Unknown(no)));
    assert_eq!((web.memory_detail, web.memory_events), (Read::Unknown(no), Read::Unknown(no)));
    assert_eq!(web.memory_pressure, Read::Unknown(UnknownReason::Absent));
    assert_eq!(host.read_errors().iter().count(), 0, "no controller and no pressure are no errors");
}

#[test]
fn a_root_without_cgroups_is_rejected_with_its_path_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let config = HostConfig { root: dir.path().to_owned(), kubepods: None };
    let error = Host::open(&config).unwrap_err().to_string();
    assert!(error.contains(dir.path().to_str().unwrap()) && error.contains("--host-root"), "{error}");
}

#[test]
fn a_kubepods_path_outside_the_hierarchy_is_rejected() {
    for given in ["../kubepods", "", "/", "a//b", "./kubepods"] {
        let config = HostConfig { kubepods: Some(given.into()), ..Tree::bare().config() };
        let error = Host::open(&config).unwrap_err().to_string();
        assert!(error.contains("--kubepods"), "{error}");
    }
}

#[test]
fn the_flag_overrides_the_detected_kubepods_directory() {
    let tree = Tree::bare();
    tree.container(1, 1);
    fs::create_dir_all(tree.path("plimsoll-demo-7")).unwrap();
    fs::rename(tree.path("kubepods"), tree.path("plimsoll-demo-7/kubepods")).unwrap();
    assert!(tree.host().describe().kubepods.is_empty());
    let config = HostConfig { kubepods: Some("/plimsoll-demo-7/kubepods/".into()), ..tree.config() };
    let mut host = Host::open(&config).unwrap();
    host.discover(at(0));
    assert_eq!(host.describe().kubepods, ["plimsoll-demo-7/kubepods"]);
    assert_eq!(sweep(&mut host).len(), 1);
}
