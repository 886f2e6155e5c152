//! Which directory is which hierarchy, live and captured.

use super::*;

/// Where the CPU usage, the quota and the memory are read, relative to `sys/fs/cgroup`.
fn detected(tree: &Tree) -> [Option<String>; 3] {
    let host = Host::open(&tree.config()).unwrap();
    let controllers = host.mounts.controllers;
    [controllers.usage, controllers.quota, controllers.memory].map(|mount| {
        let path = host.mounts.paths[mount?.index].strip_prefix(tree.path("")).unwrap();
        Some(path.to_str().unwrap().to_owned())
    })
}

fn some(names: [&str; 3]) -> [Option<String>; 3] {
    names.map(|name| Some(name.to_owned()))
}

fn empty() -> Tree {
    Tree { dir: tempfile::tempdir().unwrap(), case: PathBuf::new() }
}

#[test]
fn links_are_further_names_of_the_directory_that_they_lead_to() {
    for name in ["cpu,cpuacct", "cpuacct,cpu", "both"] {
        for absolute in [false, true] {
            let tree = empty();
            fs::create_dir_all(tree.path(name)).unwrap();
            fs::create_dir_all(tree.path("memory")).unwrap();
            for link in ["cpu", "cpuacct"] {
                let target =
                    if absolute { Path::new("/sys/fs/cgroup").join(name) } else { PathBuf::from(name) };
                symlink(target, tree.path(link)).unwrap();
            }
            assert_eq!(detected(&tree), some([name, name, "memory"]), "{name}, absolute: {absolute}");
        }
    }
}

#[test]
fn a_copied_tree_keeps_its_links() {
    let tree = Tree::of("v1-systemd");
    symlink("cpu,cpuacct", tree.path("cpuacct")).unwrap();
    let copied = empty();
    copy(tree.dir.path(), copied.dir.path());
    assert!(copied.path("cpuacct").is_symlink());
    assert_eq!(detected(&copied), some(["cpu,cpuacct", "cpu,cpuacct", "memory"]));
}

#[test]
fn a_captured_directory_with_an_unusual_name_is_recognized_by_its_files() {
    let tree = empty();
    tree.write("one/cpuacct.usage", "0\n");
    tree.write("one/cpu.shares", "1024\n");
    tree.write("two/memory.usage_in_bytes", "0\n");
    tree.write("three/pids.current", "0\n");
    assert_eq!(detected(&tree), some(["one", "one", "two"]));
}

#[test]
fn one_hierarchy_may_have_all_controllers_of_v1() {
    let tree = empty();
    for file in ["cpuacct.usage", "cpu.shares", "memory.usage_in_bytes", "kubepods/cpuacct.usage"] {
        tree.write(file, "0\n");
    }
    assert_eq!(detected(&tree), some(["", "", ""]));
}

/// Needs any live cgroup file system, and no rights.
#[test]
fn on_a_live_host_an_ordinary_directory_is_no_hierarchy_whatever_its_name_and_files() {
    let tree = empty();
    fs::create_dir_all(tree.path("")).unwrap();
    let real = ["unified", "cpu,cpuacct", "cpuacct", "memory", ""]
        .map(|name| Path::new("/sys/fs/cgroup").join(name));
    let real = real.into_iter().find(|path| path.join("cgroup.procs").is_file());
    let Some(real) = real else {
        println!(
            "skipped: on_a_live_host_an_ordinary_directory_is_no_hierarchy_whatever_its_name_and_files needs cgroups"
        );
        return;
    };
    symlink(real, tree.path("real")).unwrap();
    for name in ["memory", "cpu,cpuacct", "cpu"] {
        for file in ["memory.usage_in_bytes", "cpuacct.usage", "cpu.shares", "cgroup.controllers"] {
            tree.write(&format!("{name}/{file}"), "memory\n");
        }
    }
    let mounts = Mounts::detect(&tree.path("")).unwrap();
    assert!(mounts.live);
    assert_eq!(mounts.paths, [tree.path("real")]);
}
