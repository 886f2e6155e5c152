//! The agent's reader compared with `cgroups-rs` on real cgroups: both must read the same numbers.
//!
//! Requires root: creates cgroups (`plimsoll-test-...`) with a busy process, and removes them, also when
//! a test fails. Without root, or where the required hierarchy is not mounted, a test prints that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests: a failure is a failed test"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuacct::CpuAcctController;
use cgroups_rs::fs::memory::MemController;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll_agent::host::{CgroupEvent, Host, HostConfig, Version};
use plimsoll_agent::sample::{CpuCounters, Read, Reading, Throttling};
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit, Moment};

const POD: &str = "pod0d1ff000-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const BUSY: &str = "b5b5000000000000000000000000000000000000000000000000000000000001";
const IDLE: &str = "1d1e000000000000000000000000000000000000000000000000000000000002";

/// Cgroups below one or more hierarchies. Removed on drop.
struct Cgroups {
    roots: Vec<PathBuf>,
    name: String,
    child: Option<Child>,
}

impl Cgroups {
    /// The same pod with two containers in each hierarchy. `None`, with a message, where they cannot be created.
    fn make(test: &str, roots: Vec<PathBuf>) -> Option<Cgroups> {
        let name = format!("plimsoll-test-{}-{test}", std::process::id());
        if roots.is_empty() {
            println!("skipped: {test} needs a cgroup hierarchy that is not mounted here");
            return None;
        }
        let cgroups = Cgroups { roots, name, child: None };
        for container in [BUSY, IDLE] {
            if cgroups.paths(container).iter().any(|path| fs::create_dir_all(path).is_err()) {
                println!("skipped: {test} needs root");
                return None;
            }
        }
        Some(cgroups)
    }

    fn kubepods(&self) -> String {
        format!("{}/kubepods", self.name)
    }

    /// The container's directories, one in each hierarchy.
    fn paths(&self, container: &str) -> Vec<PathBuf> {
        let below = format!("{}/burstable/{POD}/{container}", self.kubepods());
        self.roots.iter().map(|root| root.join(&below)).collect()
    }

    /// The container's directory in the hierarchy where it has this file.
    fn with(&self, container: &str, file: &str) -> PathBuf {
        self.paths(container).into_iter().find(|path| path.join(file).exists()).unwrap()
    }

    fn write(&self, container: &str, file: &str, text: &str) {
        fs::write(self.with(container, file).join(file), text).unwrap();
    }

    /// Starts a process in the container that allocates 20 MB and then uses all the CPU it gets.
    fn occupy(&mut self, container: &str) {
        let script = "read go; memory=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done";
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let child = self.child.insert(child);
        let pid = child.id().to_string();
        let mut stdin = child.stdin.take().unwrap();
        for path in self.paths(container) {
            fs::write(path.join("cgroup.procs"), &pid).unwrap();
        }
        stdin.write_all(b"go\n").unwrap();
    }

    fn stop(&self) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Removes one container's cgroups; a process that just ended may still be leaving them.
    fn remove(&self, container: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        for path in self.paths(container) {
            while path.exists() && fs::remove_dir(&path).is_err() && Instant::now() < deadline {
                sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.end();
        [BUSY, IDLE].into_iter().for_each(|container| self.remove(container));
        for root in &self.roots {
            for below in [
                format!("kubepods/burstable/{POD}"),
                "kubepods/burstable".into(),
                "kubepods".into(),
                String::new(),
            ] {
                let _ = fs::remove_dir(root.join(&self.name).join(below));
            }
        }
    }
}

/// The v1 hierarchies with CPU and memory controllers, each once.
fn v1_roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = ["cpu,cpuacct", "cpu", "cpuacct", "memory"]
        .iter()
        .filter_map(|name| fs::canonicalize(Path::new("/sys/fs/cgroup").join(name)).ok())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    roots.sort();
    roots.dedup();
    roots
}

/// The v2 hierarchy, alone or beside v1.
fn v2_root() -> Option<PathBuf> {
    let candidates = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    candidates.into_iter().find(|path| path.join("cgroup.controllers").exists())
}

fn open(root: &Path, kubepods: String) -> Host {
    let mut host = Host::open(&HostConfig { root: root.to_owned(), kubepods: Some(kubepods) }).unwrap();
    host.discover(Moment::default());
    host
}

fn read(host: &mut Host, container: &str) -> Option<Reading> {
    let mut found = None;
    host.sweep(Moment::default, |target, reading| {
        if target.container.as_ref().is_some_and(|id| id.as_str() == container) {
            found = Some(reading.clone());
        }
    });
    found
}

/// The values of one v1 container that both readers have.
#[derive(Debug, PartialEq)]
struct Values {
    cpu: CpuCounters,
    cpu_limit: Limit<Cores>,
    memory: Bytes,
    inactive_file: Bytes,
    unreclaimable: Bytes,
    memory_limit: Limit<Bytes>,
    events: MemoryEvents,
}

impl Values {
    /// As read by `cgroups-rs`.
    fn of_cgroups_rs(cgroups: &Cgroups, container: &str) -> Values {
        let usage = cgroups.with(container, "cpuacct.usage");
        let quota = cgroups.with(container, "cpu.cfs_quota_us");
        let memory = cgroups.with(container, "memory.usage_in_bytes");
        let cpu = CpuController::new(quota.clone(), quota, false);
        let usage = CpuAcctController::new(usage.clone(), usage).cpuacct().usage;
        let memory = MemController::new(memory.clone(), memory, false).memory_stat();
        let stat = cpu.cpu().stat;
        let field =
            |key: &str| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap();
        Values {
            cpu: CpuCounters {
                usage: Duration::from_nanos(usage),
                throttling: Some(Throttling {
                    periods: field("nr_periods "),
                    throttled: field("nr_throttled "),
                }),
            },
            cpu_limit: match cpu.cfs_quota().unwrap() {
                -1 => Limit::Unlimited,
                quota => Limit::Of(Cores(quota as f64 / cpu.cfs_period().unwrap() as f64)),
            },
            memory: Bytes(memory.usage_in_bytes),
            inactive_file: Bytes(memory.stat.total_inactive_file),
            unreclaimable: Bytes(memory.stat.total_rss + memory.stat.total_shmem),
            memory_limit: match u64::try_from(memory.limit_in_bytes).unwrap() {
                limit if limit > 1 << 60 => Limit::Unlimited,
                limit => Limit::Of(Bytes(limit)),
            },
            events: MemoryEvents {
                high: None,
                max: Some(memory.fail_cnt),
                oom_kill: Some(memory.oom_control.oom_kill),
            },
        }
    }

    /// As read by the agent.
    fn of_reading(reading: &Reading) -> Values {
        let detail = reading.memory_detail.value().unwrap();
        Values {
            cpu: reading.cpu.value().unwrap(),
            cpu_limit: reading.cpu_limit.value().unwrap(),
            memory: reading.memory.value().unwrap(),
            inactive_file: detail.inactive_file.unwrap(),
            unreclaimable: detail.unreclaimable().unwrap(),
            memory_limit: reading.memory_limit.value().unwrap(),
            events: reading.memory_events.value().unwrap(),
        }
    }
}

/// Compares both readers, once `cgroups-rs` reads the same twice: counters still change for a moment after a stop.
fn compare(cgroups: &Cgroups, container: &str) -> Values {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let before = Values::of_cgroups_rs(cgroups, container);
        // a new host, for which everything is due
        let ours = read(&mut open(Path::new("/"), cgroups.kubepods()), container).unwrap();
        if Values::of_cgroups_rs(cgroups, container) == before {
            assert_eq!(Values::of_reading(&ours), before, "{container}");
            return before;
        }
        assert!(Instant::now() < deadline, "the counters of a stopped cgroup keep changing");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn on_v1_both_readers_agree_on_a_busy_and_an_idle_container() {
    let Some(mut cgroups) =
        Cgroups::make("on_v1_both_readers_agree_on_a_busy_and_an_idle_container", v1_roots())
    else {
        return;
    };
    cgroups.write(BUSY, "cpu.cfs_quota_us", "20000");
    cgroups.write(BUSY, "memory.limit_in_bytes", "67108864");
    cgroups.occupy(BUSY);
    sleep(Duration::from_millis(1500));
    cgroups.stop();

    let busy = compare(&cgroups, BUSY);
    // they must not agree for lack of values
    assert!(busy.cpu.usage > Duration::from_millis(100), "{busy:?}");
    assert!(busy.cpu.throttling.is_some_and(|throttling| throttling.throttled > 0), "{busy:?}");
    assert!(busy.memory > Bytes(10 << 20) && busy.unreclaimable > Bytes(10 << 20), "{busy:?}");
    assert_eq!(busy.cpu_limit, Limit::Of(Cores(0.2)));
    assert_eq!(busy.memory_limit, Limit::Of(Bytes(64 << 20)));

    let idle = compare(&cgroups, IDLE);
    assert_eq!((idle.cpu_limit, idle.memory_limit), (Limit::Unlimited, Limit::Unlimited));
    assert_eq!(idle.cpu.usage, Duration::ZERO);
}

#[test]
fn on_v1_a_removed_container_is_gone_and_one_created_again_is_another() {
    let Some(mut cgroups) =
        Cgroups::make("on_v1_a_removed_container_is_gone_and_one_created_again_is_another", v1_roots())
    else {
        return;
    };
    cgroups.occupy(BUSY);
    let mut host = open(Path::new("/"), cgroups.kubepods());
    assert_eq!(host.describe().usage, Some(Version::V1));
    let before = read(&mut host, BUSY).unwrap();
    let errors = host.read_errors().clone();
    cgroups.end();
    cgroups.remove(BUSY);
    assert_eq!(read(&mut host, BUSY), None);
    assert!(read(&mut host, IDLE).is_some());
    assert_eq!(host.read_errors(), &errors, "a removed cgroup is no error");
    let changes = host.discover(Moment::default());
    assert!(
        matches!(changes.as_slice(), [CgroupEvent::Gone(target)] if target.container.as_ref().unwrap().as_str() == BUSY)
    );

    for path in cgroups.paths(BUSY) {
        fs::create_dir(path).unwrap();
    }
    assert!(
        matches!(host.discover(Moment::default()).as_slice(), [CgroupEvent::Appeared(_)]),
        "by inotify, at once"
    );
    let after = read(&mut host, BUSY).unwrap();
    assert_ne!(after.inode, before.inode);
    assert_eq!(after.cpu.value().unwrap().usage, Duration::ZERO);
}

#[test]
fn on_v2_usage_and_pressure_are_read_and_a_removed_cgroup_is_gone() {
    let Some(unified) = v2_root() else {
        println!(
            "skipped: on_v2_usage_and_pressure_are_read_and_a_removed_cgroup_is_gone needs a cgroup2 hierarchy that is not mounted here"
        );
        return;
    };
    let Some(mut cgroups) = Cgroups::make(
        "on_v2_usage_and_pressure_are_read_and_a_removed_cgroup_is_gone",
        vec![unified.clone()],
    ) else {
        return;
    };
    // a host whose only hierarchy is the unified one
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("sys/fs")).unwrap();
    std::os::unix::fs::symlink(&unified, root.path().join("sys/fs/cgroup")).unwrap();
    let mut host = open(root.path(), cgroups.kubepods());
    let description = host.describe();
    assert_eq!((description.usage, description.live), (Some(Version::V2), true), "{description}");

    cgroups.occupy(BUSY);
    sleep(Duration::from_millis(500));
    cgroups.stop();
    sleep(Duration::from_millis(200));
    let reading = read(&mut host, BUSY).unwrap();
    let path = cgroups.with(BUSY, "cpu.stat");
    let stat = CpuController::new(path.clone(), path.clone(), true).cpu().stat;
    let usage: u64 = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()).unwrap();
    assert!(usage > 50_000, "{stat}");
    assert_eq!(reading.cpu.value().unwrap().usage, Duration::from_micros(usage));
    let pressure = path.join("cpu.pressure");
    assert_eq!(fs::read(pressure).is_ok(), reading.cpu_pressure.value().is_some(), "{reading:?}");
    if description.memory.is_none() {
        assert_eq!(reading.memory, Read::Unknown(UnknownReason::NoController));
    }

    cgroups.end();
    cgroups.remove(BUSY);
    assert_eq!(read(&mut host, BUSY), None);
    assert!(read(&mut host, IDLE).is_some());
    assert_eq!(host.discover(Moment::default()).len(), 1);
}
