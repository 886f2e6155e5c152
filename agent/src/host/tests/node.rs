//! The node's capacity: what `/proc` shows, and what the root cgroup is limited to.

use plimsoll_contract::{Bytes, Cores};

use super::*;

const GI: u64 = 1 << 30;

/// The capacity and the CPUs that no rate exceeds.
fn info(host: &Host) -> (f64, u64, Option<f64>) {
    let info = host.node_info().unwrap();
    (info.capacity.cores.0, info.capacity.bytes.0, info.cpus.map(|cpus| cpus.0))
}

#[test]
fn capacity_and_boot_id_of_the_node_are_those_of_the_tree() {
    let info = Tree::of("kind").host().node_info().unwrap();
    assert_eq!(info.capacity.cores, Cores(4.0));
    assert_eq!(info.capacity.bytes, Bytes(8 << 30));
    assert_eq!(info.boot, "b0070000-0000-4000-8000-000000000006");
}

#[test]
fn invalid_files_of_proc_are_rejected_by_name() {
    for (file, text) in
        [("stat", "cpu  1 2 3\n"), ("meminfo", "MemTotal: x kB\n"), ("sys/kernel/random/boot_id", "\n")]
    {
        let tree = Tree::of("kind");
        let host = tree.host();
        fs::write(tree.dir.path().join("proc").join(file), text).unwrap();
        let error = host.node_info().unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn a_tree_without_proc_has_the_capacity_of_the_machine_itself() {
    let info = Tree::bare().host().node_info().unwrap();
    assert!(info.capacity.cores.0 >= 1.0 && info.capacity.bytes.0 > 0 && info.boot.len() == 36, "{info:?}");
}

/// A container as a node, as by minikube: its `/proc` is the machine's.
#[test]
fn the_limits_of_the_root_cgroup_are_the_nodes_capacity_if_they_are_smaller() {
    let tree = Tree::of("kind");
    let host = tree.host();
    assert_eq!(info(&host), (4.0, 8 * GI, Some(4.0)));
    for (file, text, expected) in [
        ("cpu.max", "max 100000\n", (4.0, 8 * GI, Some(4.0))),
        ("cpu.max", "250000 100000\n", (2.5, 8 * GI, Some(4.0))),
        ("cpuset.cpus.effective", "0-63\n", (2.5, 8 * GI, Some(64.0))),
        ("cpuset.cpus.effective", "1,3\n", (2.0, 8 * GI, Some(4.0))),
        ("memory.max", "max\n", (2.0, 8 * GI, Some(4.0))),
        ("memory.max", "17179869184\n", (2.0, 8 * GI, Some(4.0))),
        ("memory.max", "3221225472\n", (2.0, 3 * GI, Some(4.0))),
    ] {
        tree.write(file, text);
        let host = tree.host();
        assert_eq!(info(&host), expected, "{file} {text}");
    }
}

#[test]
fn on_v1_each_limit_is_in_its_own_hierarchy() {
    let tree = Tree::of("v1-cgroupfs");
    let unlimited = info(&tree.host());
    tree.write("cpu/cpu.cfs_quota_us", "-1\n");
    tree.write("memory/memory.limit_in_bytes", "9223372036854771712\n");
    tree.write("cpuset/cpuset.cpus", "0-1023\n");
    assert_eq!(info(&tree.host()), (unlimited.0, unlimited.1, Some(1024.0)));
    tree.write("cpu/cpu.cfs_quota_us", "150000\n");
    tree.write("cpu/cpu.cfs_period_us", "100000\n");
    tree.write("memory/memory.limit_in_bytes", "1073741824\n");
    assert_eq!(info(&tree.host()), (1.5, GI, Some(1024.0)));
    // what the node may use, not what was configured
    tree.write("cpuset/cpuset.effective_cpus", "0\n");
    let host = tree.host();
    assert_eq!(info(&host), (1.0, GI, unlimited.2));
    assert!(host.mounts.paths.iter().all(|path| !path.ends_with("cpuset")), "no container is read there");
}

#[test]
fn available_memory_is_what_the_kernel_says_and_on_a_limited_node_no_more_than_the_limit_leaves() {
    let tree = Tree::of("kind");
    let available = |tree: &Tree| tree.host().node_info().unwrap().capacity.available_bytes;
    assert_eq!(available(&tree), Some(Bytes(6 * GI)), "MemAvailable");
    tree.write("memory.max", "3221225472\n");
    tree.write("memory.current", "2147483648\n");
    tree.write(
        "memory.stat",
        "anon 1073741824\nfile 1073741824\nshmem 0\ninactive_file 805306368\nactive_file 268435456\n",
    );
    assert_eq!(available(&tree), Some(Bytes(2 * GI)), "3 Gi, of which 1 Gi cannot be reclaimed");
    let host = tree.host();
    assert_eq!(host.available_memory(Bytes(3 * GI)), Some(Bytes(2 * GI)), "also alone");
    assert_eq!(host.available_memory(Bytes(8 * GI)), Some(Bytes(6 * GI)));
    fs::remove_file(tree.path("memory.stat")).unwrap();
    assert_eq!(available(&tree), None, "not that of the machine");
    let meminfo = tree.dir.path().join("proc/meminfo");
    let text = fs::read_to_string(&meminfo).unwrap();
    let without = text.lines().filter(|line| !line.starts_with("MemAvailable"));
    fs::write(&meminfo, without.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    tree.write("memory.max", "max\n");
    assert_eq!(available(&tree), None, "before Linux 3.14");
}

/// LXC: `/proc` of the container shows two CPUs, its threads may run on eight.
#[test]
fn more_cpus_than_proc_shows_bound_the_rates_but_are_not_the_capacity() {
    let tree = Tree::of("kind");
    tree.write("cgroup.controllers", "cpuset cpu memory\n");
    tree.write("cpuset.cpus.effective", "0-7\n");
    let stat = tree.dir.path().join("proc/stat");
    let text = fs::read_to_string(&stat).unwrap();
    let two = text.lines().filter(|line| !line.starts_with("cpu2") && !line.starts_with("cpu3"));
    fs::write(&stat, two.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(info(&tree.host()), (2.0, 8 * GI, Some(8.0)));
}

#[test]
fn a_damaged_file_at_the_root_is_ignored_and_the_others_are_not() {
    let files = [
        ("cpu.max", "200000 100000\n", (3.0, 3 * GI, Some(4.0))),
        ("cpuset.cpus.effective", "0-2\n", (2.0, 3 * GI, Some(4.0))),
        ("memory.max", "3221225472\n", (2.0, 8 * GI, Some(4.0))),
    ];
    for (damaged, _, without) in files {
        for damage in &damage::DAMAGES {
            let tree = Tree::of("kind");
            files.iter().for_each(|(file, text, _)| tree.write(file, text));
            let host = tree.host();
            assert_eq!(info(&host), (2.0, 3 * GI, Some(4.0)));
            (damage.apply)(&tree.path(damaged));
            assert_eq!(info(&host), without, "{damaged} {}", damage.name);
            let is_malformed = damage.reason != UnknownReason::Absent;
            assert_eq!(host.is_root_malformed.into_inner(), is_malformed, "{damaged} {}", damage.name);
        }
    }
}

#[test]
fn a_limit_of_nothing_is_no_capacity() {
    let tree = Tree::of("kind");
    tree.write("memory.max", "0\n");
    tree.write("cpu.max", "0 100000\n");
    assert_eq!(info(&tree.host()), (4.0, 8 * GI, Some(4.0)));
}
