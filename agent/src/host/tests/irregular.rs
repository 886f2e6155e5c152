//! Pipes, links and devices in place of files of a captured tree: none is waited for or read, and each is named.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

type Plant = fn(&Path);

/// What is planted, and what it is called.
const PLANTED: [(&str, Plant); 3] = [
    ("a named pipe", |path| mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a symbolic link", |path| symlink("/dev/zero", path).unwrap()),
    // to a file that would do, but is outside the tree
    ("a symbolic link", |path| symlink("/proc/meminfo", path).unwrap()),
];

fn plant(path: &Path, planted: Plant) {
    let _ = fs::remove_file(path);
    planted(path);
}

#[test]
fn of_a_cgroup_the_other_values_are_read_and_the_path_is_noted() {
    for (_, planted) in PLANTED {
        let tree = Tree::bare();
        let dir = tree.path(&tree.container(1, 1));
        for file in ["cpu.stat", "cpu.max", "memory.stat", "memory.pressure"] {
            plant(&dir.join(file), planted);
        }
        for bound in [0, 100] {
            let mut host = Host::open(&tree.config()).unwrap();
            host.bound = DescriptorBound::of(bound);
            host.discover(at(0));
            let reading = sweep(&mut host).remove(&container(1, 1)).unwrap();
            let failed = Some(UnknownReason::Failed);
            assert_eq!((reading.cpu.known().err(), reading.cpu_limit.known().err()), (failed, failed));
            assert_eq!(
                (reading.memory_detail.known().err(), reading.memory_pressure.known().err()),
                (failed, failed)
            );
            assert_eq!(reading.memory.value(), Some(Bytes(104_857_600)));
            assert_eq!(errors(&host, "cpu.stat", UnknownReason::Failed), 1);
            let named = host.reader.irregular_paths();
            assert!(
                named.len() == 4 && named.contains(&dir.canonicalize().unwrap().join("cpu.stat")),
                "{named:?}"
            );
            sweep(&mut host);
            assert_eq!(host.reader.irregular_paths().len(), 4, "each once");
        }
    }
}

#[test]
fn of_proc_the_file_is_named_and_nothing_of_this_machine_is_used_instead() {
    for (what, planted) in PLANTED {
        for file in ["stat", "meminfo", "sys/kernel/random/boot_id"] {
            let tree = Tree::of("kind");
            let path = tree.dir.path().join("proc").join(file);
            plant(&path, planted);
            let error = tree.host().node_info().unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(what), "{error}");
        }
    }
}

#[test]
fn what_identifies_the_hierarchy_is_named() {
    for (what, planted) in PLANTED {
        let tree = Tree::bare();
        plant(&tree.path("cgroup.controllers"), planted);
        let error = Host::open(&tree.config()).unwrap_err().to_string();
        let path = tree.path("cgroup.controllers").display().to_string();
        assert!(error.contains(&path) && error.contains(what), "{error}");
    }
}

#[test]
fn what_decides_between_two_places_of_a_pod_is_not_waited_for() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let name = format!("kubepods.slice/kubepods-pod{}.slice", uid(1).as_str().replace('-', "_"));
    let other = tree.cgroup(name, "max 100000\n");
    for dir in [&other, &format!("kubepods/burstable/pod{}", uid(1))] {
        for file in ["cgroup.events", "cgroup.procs"] {
            mkfifo(&tree.path(dir).join(file), Mode::S_IRWXU).unwrap();
        }
    }
    assert!(sweep(&mut tree.host()).contains_key(&container(1, 1)));
}
