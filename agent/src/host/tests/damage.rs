//! Every file of a container, damaged in every way: its fields are unknown with the right reason, and nobody else's are.

use std::os::unix::fs::PermissionsExt;

use plimsoll_contract::report::UnknownReason;

use super::*;
use crate::sample::Read;

/// A way to spoil a file, and what is then said of it.
struct Damage {
    name: &'static str,
    spoil: fn(&Path),
    reason: UnknownReason,
}

const DAMAGES: [Damage; 6] = [
    Damage { name: "empty", spoil: |path| fs::write(path, "").unwrap(), reason: UnknownReason::Malformed },
    Damage {
        name: "garbage",
        spoil: |path| fs::write(path, b"\xff\0-1 max\n\n").unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage {
        name: "number too large",
        spoil: |path| fs::write(path, "some 99999999999999999999999\n").unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage {
        name: "huge",
        spoil: |path| fs::write(path, "1".repeat(1 << 20)).unwrap(),
        reason: UnknownReason::Malformed,
    },
    Damage { name: "absent", spoil: |path| fs::remove_file(path).unwrap(), reason: UnknownReason::Absent },
    Damage {
        name: "a directory",
        spoil: |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        reason: UnknownReason::Failed,
    },
];

/// What the file tells, as said in a reading: the reason if it is unknown.
fn told(reading: &Reading, file: &str, v1: bool) -> Option<UnknownReason> {
    fn reason<T>(read: &Read<T>) -> Option<UnknownReason> {
        match read {
            Read::Unknown(reason) => Some(*reason),
            Read::NotDue => panic!("not due"),
            Read::Value(_) => None,
        }
    }
    match file {
        // The usage is in another file there; without this one only the throttling is not known.
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
        "memory.events" | "memory.failcnt" | "memory.oom_control" => reason(&reading.memory_events),
        other => panic!("{other} is not a file we read"),
    }
}

/// The files of the container web, in every hierarchy.
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
    files
}

/// Spoils one file before or after the first reading, looks at everybody, and mends it.
fn check(tree: &Tree, host: &mut Host, path: &Path, damage: &Damage, held: bool) {
    let case = tree.case.file_name().unwrap().to_str().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let what = format!("{case}: {name} {}", damage.name);
    let text = fs::read(path).unwrap();
    reopen(host);
    let whole = sweep(host);
    let counted = File::ALL.into_iter().find(|file| file.as_str() == name).unwrap();
    let before = host.read_errors().get(counted, damage.reason);

    (damage.spoil)(path);
    if held {
        host.slots.iter_mut().for_each(Slot::refresh);
    } else {
        reopen(host);
    }
    let readings = sweep(host);
    assert_eq!(readings.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "{what}");
    for (target, reading) in &readings {
        if target.container.as_ref().is_some_and(|id| id.as_str().starts_with("3eb")) {
            let v1 = case.starts_with("v1") || case == "hybrid";
            let expected = (!(v1 && name == "cpu.stat")).then_some(damage.reason);
            assert_eq!(told(reading, name, v1), expected, "{what}");
        } else {
            assert_eq!(reading, &whole[target], "{what}: somebody else");
        }
    }
    // A kernel may have no pressure accounting: that is no error.
    let error = !(name.ends_with(".pressure") && damage.reason == UnknownReason::Absent);
    assert_eq!(host.read_errors().get(counted, damage.reason), before + u64::from(error), "{what}");

    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    // Anew, as one without rights cannot be written over.
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
}

/// Closes all descriptors and finds everything anew, so that everything is due.
fn reopen(host: &mut Host) {
    host.drop_all(&mut Vec::new());
    host.listed = None;
    host.discover(at(0));
}

#[test]
fn every_file_damaged_in_every_way_is_unknown_with_its_reason_and_concerns_nobody_else() {
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
fn a_file_damaged_while_its_descriptor_is_held_is_no_better() {
    let tree = Tree::of("v2-systemd-containerd");
    let mut host = tree.host();
    for file in files_of_web(&tree) {
        // A plain file that was removed can still be read through its descriptor, a cgroup's cannot.
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
        spoil: |path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap(),
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
    grow_up(&mut host);
    sweep(&mut host);
    for file in fs::read_dir(tree.path(&dir)).unwrap().map(|entry| entry.unwrap().path()) {
        fs::write(file, "").unwrap();
    }
    fs::remove_dir_all(tree.path(&dir)).unwrap();
    let reading = &sweep(&mut host)[&container(1, 1)];
    assert_eq!(reading.cpu, Read::Unknown(UnknownReason::Malformed));
    assert_eq!(reading.memory, Read::Unknown(UnknownReason::Malformed));
    assert_eq!(host.discover(at(1)), [Change::Gone(container(1, 1))]);
    assert!(sweep(&mut host).is_empty());
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_hang_the_sweep() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let path = tree.path(&dir).join("cpu.max");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let reading = &sweep(&mut tree.host())[&container(1, 1)];
    assert!(matches!(reading.cpu_limit, Read::Unknown(UnknownReason::Failed)), "{reading:?}");
}

#[test]
fn the_damaged_case_says_what_is_wrong_and_reads_the_neighbors() {
    let tree = Tree::of("damaged-files");
    let readings = sweep(&mut tree.host());
    let web = of(&readings, "3eb");
    let (malformed, absent) = (UnknownReason::Malformed, UnknownReason::Absent);
    assert_eq!((web.cpu, web.memory), (Read::Unknown(malformed), Read::Unknown(malformed)));
    assert_eq!((web.cpu_limit, web.memory_limit), (Read::Unknown(malformed), Read::Unknown(malformed)));
    assert_eq!((web.memory_events, web.memory_pressure), (Read::Unknown(absent), Read::Unknown(absent)));
    assert!(of(&readings, "a91").cpu.value().is_some());
}
