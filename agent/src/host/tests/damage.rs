//! Every file of a container, damaged in every way: its values are unknown with the right reason, other values are not affected.

use std::os::unix::fs::PermissionsExt;

use plimsoll_contract::load::UnknownReason;

use super::*;
use crate::sample::Read;

/// A way to damage a file, and the reason that results.
pub(super) struct Damage {
    pub(super) name: &'static str,
    pub(super) apply: fn(&Path),
    pub(super) reason: UnknownReason,
}

pub(super) const DAMAGES: [Damage; 6] = [
    Damage { name: "empty", apply: |path| fs::write(path, "").unwrap(), reason: UnknownReason::Malformed },
    Damage {
        name: "garbage",
        apply: |path| fs::write(path, b"\xff\0-1 max\n\n").unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage {
        name: "number too large",
        apply: |path| fs::write(path, "some 99999999999999999999999\n").unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage {
        name: "huge",
        apply: |path| fs::write(path, "1".repeat(1 << 20)).unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage { name: "absent", apply: |path| fs::remove_file(path).unwrap(), reason: UnknownReason::Absent },
    Damage {
        name: "a directory",
        apply: |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        reason: UnknownReason::Failed,
    },
];

/// Why the value of a file is unknown in a reading, if it is.
fn reason_of(reading: &Reading, file: &str, v1: bool) -> Option<UnknownReason> {
    fn reason<T>(read: &Read<T>) -> Option<UnknownReason> {
        match read {
            Read::Unknown(reason) => Some(*reason),
            Read::NotDue => panic!("not due"),
            Read::Value(_) => None,
        }
    }
    match file {
        // the usage is in another file there; without this one only the throttling is not known
        "cpu.stat" if v1 => {
            assert_eq!(reading.cpu.value().unwrap().throttling, None);
            None
        }
        "cpu.stat" | "cpuacct.usage" => reason(&reading.cpu),
        "cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us" => reason(&reading.cpu_limit),
        "cpu.pressure" => reason(&reading.cpu_pressure),
        "memory.current" | "memory.usage_in_bytes" => reason(&reading.memory),
        "memory.stat" => reason(&reading.memory_detail),
        "memory.max" | "memory.limit_in_bytes" => reason(&reading.memory_limit),
        "memory.pressure" => reason(&reading.memory_pressure),
        "memory.events" => reason(&reading.memory_events),
        "cgroup.events" => reason(&reading.populated),
        // the events of v1 are in two files
        "memory.failcnt" | "memory.oom_control" => {
            let events = reading.memory_events.value().unwrap();
            let (damaged, other) = match file {
                "memory.failcnt" => (events.max, events.oom_kill),
                _ => (events.oom_kill, events.max),
            };
            assert!(damaged.is_none() && other.is_some(), "{file}: {events:?}");
            None
        }
        other => panic!("{other} is not a file we read"),
    }
}

/// The files of the container web, in every hierarchy. On v2 with `cgroup.events`, which no captured tree has.
fn files_of_web(tree: &Tree) -> Vec<PathBuf> {
    let mut folders = vec![tree.path("")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let of_web = path
                .parent()
                .and_then(Path::file_name)
                .is_some_and(|name| name.to_str().unwrap().contains("3eb0"));
            if path.is_dir() {
                folders.push(path);
            } else if of_web && !path.to_str().unwrap().contains("9a05e") {
                files.push(path);
            }
        }
    }
    if let Some(max) = files.iter().find(|path| path.ends_with("memory.max")) {
        let events = max.with_file_name("cgroup.events");
        fs::write(&events, "populated 1\nfrozen 0\n").unwrap();
        files.push(events);
    }
    files
}

/// Damages one file before or, with `kept_open`, after the first reading, compares all readings, and repairs it.
fn check(tree: &Tree, host: &mut Host, path: &Path, damage: &Damage, kept_open: bool) {
    let case = tree.case.file_name().unwrap().to_str().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let what = format!("{case}: {name} {}", damage.name);
    let text = fs::read(path).unwrap();
    reopen(host);
    let undamaged = sweep(host);
    let before = errors(host, name, damage.reason);

    (damage.apply)(path);
    if kept_open {
        host.cgroups.iter_mut().for_each(Cgroup::refresh);
    } else {
        reopen(host);
    }
    let readings = sweep(host);
    assert_eq!(readings.keys().collect::<Vec<_>>(), undamaged.keys().collect::<Vec<_>>(), "{what}");
    for (target, reading) in &readings {
        if target.container.as_ref().is_some_and(|id| id.as_str().starts_with("3eb")) {
            let v1 = case.starts_with("v1") || case == "hybrid";
            let is_part = matches!(name, "memory.failcnt" | "memory.oom_control") || v1 && name == "cpu.stat";
            let expected = (!is_part).then_some(damage.reason);
            assert_eq!(reason_of(reading, name, v1), expected, "{what}");
        } else {
            assert_eq!(reading, &undamaged[target], "{what}: another container");
        }
    }
    // a kernel may have no pressure accounting, a captured tree no cgroup.events: that is no error
    let optional = name.ends_with(".pressure") || name == "cgroup.events";
    let error = !(optional && damage.reason == UnknownReason::Absent);
    assert_eq!(errors(host, name, damage.reason), before + u64::from(error), "{what}");

    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    // removed first, since a file without permissions cannot be overwritten
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
}

/// Closes all descriptors and discovers everything again, so that everything is due.
fn reopen(host: &mut Host) {
    host.remove_all(&mut Vec::new());
    host.last_reconcile = None;
    host.discover(at(0));
}

#[test]
fn a_file_damaged_in_any_way_is_unknown_with_its_reason_and_affects_no_other_container() {
    for case in ["v2-cgroupfs-containerd", "v1-cgroupfs", "hybrid"] {
        let tree = Tree::of(case);
        let mut host = tree.host();
        let files = files_of_web(&tree);
        assert!(files.len() >= 8, "{case}: {files:?}");
        for file in files {
            DAMAGES.iter().for_each(|damage| check(&tree, &mut host, &file, damage, false));
        }
    }
}

#[test]
fn a_file_damaged_while_it_is_kept_open_is_unknown_too() {
    let tree = Tree::of("v2-systemd-containerd");
    let mut host = tree.host();
    for file in files_of_web(&tree) {
        // unlike a cgroup's, a plain file that was removed can still be read through its descriptor
        DAMAGES.iter().take(4).for_each(|damage| check(&tree, &mut host, &file, damage, true));
    }
}

#[test]
fn a_file_that_must_not_be_read_is_denied() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(file.path()).is_ok() {
        println!("skipped: a_file_that_must_not_be_read_is_denied needs a user that is not root");
        return;
    }
    let denied = Damage {
        name: "denied",
        apply: |path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap(),
        reason: UnknownReason::Denied,
    };
    let tree = Tree::of("v2-cgroupfs-containerd");
    let mut host = tree.host();
    for file in files_of_web(&tree) {
        check(&tree, &mut host, &file, &denied, false);
    }
}

#[test]
fn a_simulated_container_that_is_being_removed_is_malformed_until_it_is_gone() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let mut host = tree.host();
    sweep_until_not_new(&mut host);
    sweep(&mut host);
    for file in fs::read_dir(tree.path(&dir)).unwrap().map(|entry| entry.unwrap().path()) {
        fs::write(file, "").unwrap();
    }
    fs::remove_dir_all(tree.path(&dir)).unwrap();
    let reading = &sweep(&mut host)[&container(1, 1)];
    assert_eq!(reading.cpu, Read::Unknown(UnknownReason::Malformed));
    assert_eq!(reading.memory, Read::Unknown(UnknownReason::Malformed));
    assert_eq!(host.discover(at(1)), [CgroupEvent::Gone(container(1, 1))]);
    assert!(sweep(&mut host).is_empty());
}

#[test]
fn the_damaged_case_has_reasons_and_other_containers_are_read() {
    let tree = Tree::of("damaged-files");
    let readings = sweep(&mut tree.host());
    let web = of(&readings, "3eb");
    let (malformed, absent) = (UnknownReason::Malformed, UnknownReason::Absent);
    assert_eq!((web.cpu, web.memory), (Read::Unknown(malformed), Read::Unknown(malformed)));
    assert_eq!((web.cpu_limit, web.memory_limit), (Read::Unknown(malformed), Read::Unknown(malformed)));
    assert_eq!((web.memory_events, web.memory_pressure), (Read::Unknown(absent), Read::Unknown(absent)));
    assert!(of(&readings, "a91").cpu.value().is_some());
}
