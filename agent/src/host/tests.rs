//! Whole trees, read with all modules of `host`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::{ContainerId, PodUid};
use tempfile::TempDir;

use super::*;

mod damage;
mod descriptors;
mod discovery;
mod irregular;
mod limits;
mod mounts;
mod node;
mod odd;
mod places;
mod plan;
mod trees;
mod watches;

/// A captured host in a temporary directory, which is removed on drop.
struct Tree {
    dir: TempDir,
    case: PathBuf,
}

impl Tree {
    /// A copy of `tests/fixtures/<case>/tree`.
    fn of(case: &str) -> Tree {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(case);
        let dir = tempfile::tempdir().unwrap();
        copy(&case.join("tree"), dir.path());
        Tree { dir, case }
    }

    /// A v2 node without pods.
    fn bare() -> Tree {
        let tree = Tree { dir: tempfile::tempdir().unwrap(), case: PathBuf::new() };
        tree.write("cgroup.controllers", "cpu memory\n");
        tree
    }

    /// Applies the changes of the next second.
    fn later(&self) {
        copy(&self.case.join("later"), self.dir.path());
    }

    /// A path below `sys/fs/cgroup`.
    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("sys/fs/cgroup").join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A v2 container in a pod of the cgroupfs driver; returns its directory.
    fn container(&self, pod: u8, container: u8) -> String {
        self.cgroup(format!("kubepods/burstable/pod{}/{}", uid(pod), id(container)), "50000 100000\n")
    }

    /// The files of a pod of the cgroupfs driver, with this quota; returns its directory.
    fn pod(&self, pod: u8, cpu_max: &str) -> String {
        let dir = self.cgroup(format!("kubepods/burstable/pod{}", uid(pod)), cpu_max);
        self.write(&format!("{dir}/cgroup.events"), "populated 1\nfrozen 0\n");
        dir
    }

    /// A v2 cgroup with all files but `cgroup.events`; returns its directory.
    fn cgroup(&self, dir: String, cpu_max: &str) -> String {
        self.write(&format!("{dir}/cpu.stat"), "usage_usec 1000\nnr_periods 0\nnr_throttled 0\n");
        self.write(&format!("{dir}/cpu.max"), cpu_max);
        self.write(&format!("{dir}/cpu.pressure"), "some avg10=1.00 avg60=0.00 avg300=0.00 total=0\n");
        self.write(&format!("{dir}/memory.current"), "104857600\n");
        self.write(&format!("{dir}/memory.max"), "max\n");
        self.write(
            &format!("{dir}/memory.stat"),
            "anon 1\nshmem 0\ninactive_file 4096\nslab_unreclaimable 0\n",
        );
        self.write(&format!("{dir}/memory.events"), "high 0\nmax 0\noom_kill 0\n");
        self.write(&format!("{dir}/memory.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
        dir
    }

    fn config(&self) -> HostConfig {
        HostConfig { root: self.dir.path().to_owned(), kubepods: None }
    }

    /// Opened, with the first discovery done.
    fn host(&self) -> Host {
        let mut host = Host::open(&self.config()).unwrap();
        host.discover(at(0));
        host
    }
}

/// Copies a tree over another one. Symbolic links are kept.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_symlink() {
            let _ = symlink(fs::read_link(entry.path()).unwrap(), target);
        } else if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn uid(number: u8) -> PodUid {
    PodUid::new(&format!("00000000-5f2a-4c3b-9d8e-0000000000{number:02x}")).unwrap()
}

fn id(number: u8) -> ContainerId {
    ContainerId::new(&format!("c{number:063x}")).unwrap()
}

fn container(pod: u8, container: u8) -> Target {
    Target { pod: uid(pod), container: Some(id(container)) }
}

/// The pod's own cgroup.
fn pod(number: u8) -> Target {
    Target { pod: uid(number), container: None }
}

fn sweep(host: &mut Host) -> BTreeMap<Target, Reading> {
    let mut readings = BTreeMap::new();
    host.sweep(
        || at(1),
        |target, reading| {
            assert!(readings.insert(target.clone(), reading.clone()).is_none(), "{target:?} was read twice");
        },
    );
    readings
}

/// The number of read errors of this kind so far.
fn errors(host: &Host, file: &str, reason: UnknownReason) -> u64 {
    let of_kind = host.read_errors().iter().filter(|(f, r, _)| (*f, *r) == (file, reason));
    of_kind.map(|(.., count)| count).sum()
}

/// Sweeps until no cgroup is new: before, limits are read in every sweep.
fn sweep_until_not_new(host: &mut Host) {
    for _ in 0..cgroup::NEW_SWEEPS {
        sweep(host);
    }
}

/// The reading of the only container whose id has this prefix.
fn of<'a>(readings: &'a BTreeMap<Target, Reading>, prefix: &str) -> &'a Reading {
    let mut found = readings
        .iter()
        .filter(|(target, _)| target.container.as_ref().is_some_and(|id| id.as_str().starts_with(prefix)))
        .map(|(_, reading)| reading);
    let reading = found.next().unwrap_or_else(|| panic!("no container {prefix}"));
    assert!(found.next().is_none(), "more than one container {prefix}");
    reading
}
