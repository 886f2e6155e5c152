//! Containers outside kubepods, at another place in each hierarchy, and targets at several places.

use plimsoll_contract::{Bytes, Cores, Limit};

use super::*;
use crate::sample::Read;

const SERVICES: [&str; 12] = [
    "containerd.service",
    "crio.service",
    "docker.service",
    "cri-docker.service",
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k0sworker.service",
    "snap.microk8s.daemon-containerd.service",
    "snap.microk8s.daemon-kubelite.service",
];

fn slice(number: u8) -> String {
    format!("kubepods-burstable-pod{}.slice", uid(number).as_str().replace('-', "_"))
}

/// The name of a container's directory outside kubepods.
fn orphan(pod: u8, container: u8) -> String {
    format!("{}:cri-containerd:{}", slice(pod), id(container))
}

/// A v2 node with the systemd driver and one pod, which has no containers in its own cgroup.
fn systemd() -> Tree {
    let tree = Tree::bare();
    tree.cgroup(format!("kubepods.slice/kubepods-burstable.slice/{}", slice(1)), "max 100000\n");
    tree
}

#[test]
fn orphans_are_found_wherever_reports_have_shown_them() {
    let mut places: Vec<String> =
        ["", "system.slice", "systemd/system.slice", "runtime.slice", "podruntime.slice"]
            .into_iter()
            .chain(["podruntime", "podruntime/runtime", "kube.slice", "kubereserved.slice"])
            .map(str::to_owned)
            .collect();
    for slice in ["system.slice", "runtime.slice", "podruntime.slice", "kube.slice", "kubereserved.slice"] {
        places.extend(SERVICES.map(|service| format!("{slice}/{service}")));
    }
    for place in places {
        let tree = systemd();
        tree.cgroup(format!("{place}/{}", orphan(1, 1)).trim_start_matches('/').to_owned(), "50000 100000\n");
        let readings = sweep(&mut tree.host());
        let Some(reading) = readings.get(&container(1, 1)) else { panic!("not found in {place:?}") };
        assert_eq!(reading.cpu_limit, Read::Value(Limit::Of(Cores(0.5))), "{place:?}");
        assert_eq!(readings.len(), 2, "{place:?}");
    }
}

#[test]
fn what_is_deeper_or_elsewhere_is_no_orphan() {
    let tree = systemd();
    for place in ["user.slice", "system.slice/ssh.service", "system.slice/containerd.service/deeper"] {
        tree.cgroup(format!("{place}/{}", orphan(1, 1)), "50000 100000\n");
    }
    tree.cgroup(format!("system.slice/kubepods.slice/{}", orphan(1, 1)), "50000 100000\n");
    assert_eq!(sweep(&mut tree.host()).into_keys().collect::<Vec<_>>(), [pod(1)]);
}

#[test]
fn with_the_cgroupfs_driver_there_are_no_orphans() {
    let tree = Tree::bare();
    tree.container(1, 1);
    tree.cgroup(format!("system.slice/{}", orphan(1, 2)), "50000 100000\n");
    let mut host = tree.host();
    assert_eq!(sweep(&mut host).into_keys().collect::<Vec<_>>(), [container(1, 1)]);
    assert_eq!(host.watch.len(), 3, "kubepods, its class and its pod");
}

#[test]
fn an_orphan_is_noticed_at_once_when_it_comes_and_goes() {
    let tree = systemd();
    fs::create_dir_all(tree.path("system.slice/containerd.service")).unwrap();
    let mut host = tree.host();
    for place in ["", "system.slice", "system.slice/containerd.service"] {
        let dir = format!("{place}/{}", orphan(1, 1)).trim_start_matches('/').to_owned();
        tree.cgroup(dir.clone(), "50000 100000\n");
        assert_eq!(host.discover(at(1)), [CgroupEvent::Appeared(container(1, 1))], "{place:?}");
        assert_eq!(sweep(&mut host).len(), 2);
        fs::remove_dir_all(tree.path(&dir)).unwrap();
        assert_eq!(host.discover(at(1)), [CgroupEvent::Gone(container(1, 1))], "{place:?}");
    }
}

/// A system.slice changes with every mount and timer.
#[test]
fn what_else_happens_in_a_slice_causes_no_listing() {
    let tree = systemd();
    tree.cgroup(format!("system.slice/{}", orphan(1, 1)), "50000 100000\n");
    let mut host = tree.host();
    fs::create_dir_all(tree.path("system.slice/run-r1.service")).unwrap();
    fs::create_dir_all(tree.path("user.slice")).unwrap();
    fs::remove_dir_all(tree.path("system.slice/run-r1.service")).unwrap();
    assert_eq!(host.watch.poll(), watch::Hint::Folders(Vec::new()));
    tree.cgroup(format!("system.slice/{}", orphan(1, 2)), "50000 100000\n");
    assert_eq!(host.discover(at(1)), [CgroupEvent::Appeared(container(1, 2))]);
}

#[test]
fn a_slice_that_is_too_large_counts_only_where_it_has_orphans() {
    let tree = systemd();
    for number in 0..50 {
        fs::create_dir_all(tree.path(&format!("system.slice/run-{number}.scope"))).unwrap();
    }
    let mut host = Host::open(&tree.config()).unwrap();
    host.max_entries = 40;
    host.discover(at(0));
    assert_eq!(host.truncated_listings(), 0);
    for number in 0..50 {
        fs::create_dir_all(tree.path(&format!("runtime.slice/{}", orphan(1, number)))).unwrap();
    }
    host.discover(at(20));
    assert_eq!(host.truncated_listings(), 1);
}

/// The files of a v1 cgroup in the hierarchies `cpu,cpuacct` and `memory`.
fn v1(tree: &Tree, cpu: Option<&str>, memory: Option<&str>) {
    for (file, text) in [
        ("cpuacct.usage", "5000000000\n"),
        ("cpu.stat", "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n"),
        ("cpu.cfs_quota_us", "50000\n"),
        ("cpu.cfs_period_us", "100000\n"),
    ] {
        cpu.iter().for_each(|dir| tree.write(&format!("cpu,cpuacct/{dir}/{file}"), text));
    }
    for (file, text) in [("memory.usage_in_bytes", "4096\n"), ("memory.limit_in_bytes", "8192\n")] {
        memory.iter().for_each(|dir| tree.write(&format!("memory/{dir}/{file}"), text));
    }
}

/// A v1 node with a pod without containers in its own cgroup.
fn v1_systemd() -> Tree {
    let tree = Tree { dir: tempfile::tempdir().unwrap(), case: PathBuf::new() };
    let pod = format!("kubepods.slice/kubepods-burstable.slice/{}", slice(1));
    v1(&tree, Some(&pod), Some(&pod));
    tree
}

/// The CPU seconds and the bytes in use of the only container.
fn usage(host: &mut Host) -> (Option<u64>, Option<Bytes>) {
    let readings = sweep(host);
    let reading = &readings[&container(1, 1)];
    (reading.cpu.value().map(|cpu| cpu.usage.as_secs()), reading.memory.value())
}

#[test]
fn on_v1_a_container_may_be_at_another_place_in_each_hierarchy() {
    let name = orphan(1, 1);
    let service = format!("system.slice/containerd.service/{name}");
    for (cpu, memory) in [(&service, &name), (&name, &service), (&service, &service)] {
        let tree = v1_systemd();
        v1(&tree, Some(cpu), Some(memory));
        assert_eq!(usage(&mut tree.host()), (Some(5), Some(Bytes(4096))), "{cpu} {memory}");
        let mut on_demand = Host::open(&tree.config()).unwrap();
        on_demand.bound = DescriptorBound::of(0);
        on_demand.discover(at(0));
        assert_eq!(usage(&mut on_demand), (Some(5), Some(Bytes(4096))), "{cpu} {memory}");
    }
}

#[test]
fn a_container_in_one_hierarchy_only_has_what_that_one_counts() {
    let name = format!("system.slice/{}", orphan(1, 1));
    let tree = v1_systemd();
    v1(&tree, None, Some(&name));
    let mut host = tree.host();
    assert_eq!(usage(&mut host), (None, Some(Bytes(4096))));
    let before = sweep(&mut host)[&container(1, 1)].inode;
    // the runtime makes one directory after the other: it stays the same container
    v1(&tree, Some(&orphan(1, 1)), None);
    assert_eq!(host.discover(at(1)), []);
    assert_eq!(usage(&mut host), (Some(5), Some(Bytes(4096))));
    assert_eq!(host.discover(at(20)), []);
    assert_eq!(sweep(&mut host)[&container(1, 1)].inode, before);
    fs::remove_dir_all(tree.path(&format!("memory/{name}"))).unwrap();
    let events = host.discover(at(21));
    assert_eq!(events, [CgroupEvent::Gone(container(1, 1))]);
    host.discover(at(40));
    assert_eq!(usage(&mut host), (Some(5), None), "what is left");
}

#[test]
fn all_kubepods_directories_are_read() {
    let tree = systemd();
    tree.container(2, 2);
    let mut host = tree.host();
    assert_eq!(host.describe().kubepods, ["kubepods.slice", "kubepods"]);
    let description = host.describe().to_string();
    assert!(
        description.contains("driver cgroupfs and systemd, kubepods at kubepods.slice and kubepods"),
        "{description}"
    );
    assert_eq!(sweep(&mut host).into_keys().collect::<Vec<_>>(), [pod(1), container(2, 2)]);
    // one that appears later
    tree.cgroup(format!("kubelet/kubepods/burstable/pod{}/{}", uid(3), id(3)), "max 100000\n");
    host.discover(at(20));
    assert_eq!(host.describe().kubepods.len(), 3);
    assert!(sweep(&mut host).contains_key(&container(3, 3)));
    // and one that is removed
    fs::remove_dir_all(tree.path("kubepods.slice")).unwrap();
    assert_eq!(host.discover(at(40)), [CgroupEvent::Gone(pod(1))]);
    assert_eq!(host.describe().kubepods, ["kubepods", "kubelet/kubepods"]);
}

/// The number of cores of the pod's own quota, by which the tests below tell two directories apart.
fn quota(host: &mut Host) -> f64 {
    match sweep(host)[&pod(1)].cpu_limit {
        Read::Value(Limit::Of(cores)) => cores.0,
        other => panic!("{other:?}"),
    }
}

/// The same pod in both trees: the quota in kubepods.slice is one core, in kubepods two. Returns the two directories.
fn twice() -> (Tree, [String; 2]) {
    let tree = Tree::bare();
    let dirs = [
        format!("kubepods.slice/kubepods-burstable.slice/{}", slice(1)),
        format!("kubepods/burstable/pod{}", uid(1)),
    ];
    for (dir, cpu_max) in dirs.iter().zip(["100000 100000\n", "200000 100000\n"]) {
        tree.cgroup(dir.clone(), cpu_max);
        tree.write(&format!("{dir}/cgroup.events"), "populated 0\n");
    }
    (tree, dirs)
}

#[test]
fn of_two_directories_of_a_pod_the_one_with_containers_below_it_is_read() {
    let (tree, dirs) = twice();
    assert_eq!(quota(&mut tree.host()), 1.0, "the first, where nothing else decides");
    tree.write(&format!("{}/cgroup.events", dirs[1]), "populated 1\n");
    let mut host = tree.host();
    assert_eq!(quota(&mut host), 2.0, "the one with processes");
    // containers count for more
    let moved = tree.cgroup(format!("{}/docker-{}.scope", dirs[0], id(1)), "max 100000\n");
    host.discover(at(20));
    assert_eq!(quota(&mut host), 1.0);
    // with both, the processes count
    tree.cgroup(format!("{}/{}", dirs[1], id(2)), "max 100000\n");
    host.discover(at(40));
    assert_eq!(quota(&mut host), 2.0);
    fs::remove_dir_all(tree.path(&moved)).unwrap();
    host.discover(at(60));
    assert_eq!(quota(&mut host), 2.0);
    assert_eq!(host.discover(at(80)), []);
}

#[test]
fn of_two_directories_of_a_container_the_one_with_processes_is_read() {
    let (tree, dirs) = twice();
    let old = tree.cgroup(format!("{}/docker-{}.scope", dirs[0], id(1)), "max 100000\n");
    let new = tree.cgroup(format!("{}/{}", dirs[1], id(1)), "70000 100000\n");
    for (populated, expected) in [([1, 0], Limit::Unlimited), ([0, 1], Limit::Of(Cores(0.7)))] {
        for (dir, populated) in [&old, &new].into_iter().zip(populated) {
            tree.write(&format!("{dir}/cgroup.events"), &format!("populated {populated}\n"));
        }
        let readings = sweep(&mut tree.host());
        assert_eq!(readings[&container(1, 1)].cpu_limit, Read::Value(expected));
        assert_eq!(readings.len(), 2);
    }
}

/// The state of a moved container is that of another directory.
#[test]
fn a_target_that_moved_is_gone_and_appears() {
    let (tree, dirs) = twice();
    let mut host = tree.host();
    let moved = tree.cgroup(format!("{}/{}", dirs[1], id(1)), "max 100000\n");
    assert_eq!(host.discover(at(1)), [CgroupEvent::Appeared(container(1, 1))]);
    assert_eq!(host.discover(at(20)), [CgroupEvent::Gone(pod(1)), CgroupEvent::Appeared(pod(1))]);
    fs::rename(tree.path(&moved), tree.path(&dirs[0]).join(format!("docker-{}.scope", id(1)))).unwrap();
    let events = host.discover(at(40));
    assert!(events.contains(&CgroupEvent::Appeared(container(1, 1))), "{events:?}");
    assert_eq!(quota(&mut host), 1.0);
}
