//! The cgroups of one host through `cgroups-rs`: one directory per hierarchy, and everything below it.
//!
//! On cgroup v1 the hierarchies of `cpu`, `cpuacct` and `memory`; on v2 the one tree, with the controllers delegated down to
//! the containers. Nothing outside the directory [`CgroupTree::base`] is written, except `cgroup.subtree_control` above it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use cgroups_rs::CgroupPid;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::error::Error;
use cgroups_rs::fs::hierarchies::{V1, auto, is_cgroup2_unified_mode};
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::{Cgroup, Controllers, MaxValue};
use plimsoll_contract::{Bytes, Cores, Limit};

use crate::host::{Limits, PERIOD};

/// Prefix of the directories of [`super::RealHost::available`].
pub(super) const PROBE: &str = "plimsoll-probe-";
/// Mount point of the v2 hierarchy.
const V2_MOUNT: &str = "/sys/fs/cgroup";
/// Memory limits from here on mean "unlimited" on v1: the kernel rounds its largest value down to a page.
const V1_UNLIMITED: i64 = i64::MAX - (1 << 16);
/// The largest `cpu.shares` of v1 and `cpu.weight` of v2.
const MOST_SHARES: u64 = 262_144;
const MOST_WEIGHT: u64 = 10_000;
/// Interval between attempts to remove a cgroup whose processes are ending.
const RETRY: Duration = Duration::from_millis(20);
/// How often a cgroup of a dead run is checked before its processes are taken for running ones.
const CHECKS: u32 = 50;

/// The directory of one host in every hierarchy that it uses.
#[derive(Debug, Clone)]
pub(super) struct CgroupTree {
    /// Path of the directory below each hierarchy: `plimsoll-demo-123`, or the same below a delegated subtree.
    base: String,
    /// The parent of `base`: empty, or the delegated subtree.
    parent: String,
    v2: bool,
    /// Mount points of the hierarchies, without duplicates.
    mounts: Vec<PathBuf>,
}

impl CgroupTree {
    /// Finds the hierarchies.
    ///
    /// # Errors
    /// When one is not mounted, or none may be written.
    pub(super) fn find(name: &str, pid: u32) -> anyhow::Result<CgroupTree> {
        let v2 = is_cgroup2_unified_mode();
        let mounts = if v2 { vec![PathBuf::from(V2_MOUNT)] } else { v1_mounts()? };
        let parent =
            if v2 && !is_writable(Path::new(V2_MOUNT))? { delegated_subtree()? } else { String::new() };
        let base = if parent.is_empty() { format!("{name}-{pid}") } else { format!("{parent}/{name}-{pid}") };
        Ok(CgroupTree { base, parent, v2, mounts })
    }

    /// Whether the directory exists already.
    pub(super) fn exists(&self) -> bool {
        self.mounts.iter().any(|mount| mount.join(&self.base).exists())
    }

    /// Path of the directory below each hierarchy.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    fn cgroup(&self, path: &Path) -> Cgroup {
        let controllers: &[&str] = if self.v2 { &["cpu", "memory"] } else { &["cpu", "cpuacct", "memory"] };
        let controllers = controllers.iter().map(ToString::to_string).collect();
        Cgroup::load_with_specified_controllers(auto(), Path::new(&self.base).join(path), controllers)
    }

    fn describe(&self, attempt: &str, path: &Path) -> String {
        format!("cannot {attempt} cgroup {}", Path::new(&self.base).join(path).display())
    }

    /// Creates the cgroup at `path` below the directory, with its parents.
    pub(super) fn create(&self, path: &Path) -> anyhow::Result<()> {
        self.cgroup(path).create().with_context(|| self.describe("create", path))
    }

    /// Gives the directory the largest weight among its siblings: the script of a workload is the ground truth of a
    /// measurement, so it must get its CPU time on a busy machine too. Its limits still apply.
    pub(super) fn maximize_weight(&self) -> anyhow::Result<()> {
        let path = Path::new("");
        let cgroup = self.cgroup(path);
        let (cpu, _) = self.controllers(&cgroup, path)?;
        let most = if self.v2 { MOST_WEIGHT } else { MOST_SHARES };
        cpu.set_shares(most).with_context(|| self.describe("set the weight of", path))
    }

    /// Moves a process into the cgroup at `path`.
    pub(super) fn add(&self, path: &Path, pid: u32) -> anyhow::Result<()> {
        let pid = CgroupPid::from(u64::from(pid));
        self.cgroup(path).add_task_by_tgid(pid).with_context(|| self.describe("move a process into", path))
    }

    /// Sets the limits of the cgroup at `path`.
    pub(super) fn set(&self, path: &Path, limits: &Limits) -> anyhow::Result<()> {
        let cgroup = self.cgroup(path);
        let quota = limits.quota().bound().map_or(-1, |micros| i64::try_from(micros).unwrap_or(i64::MAX));
        let most = limits.memory.bound().map_or(-1, |bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX));
        let period = PERIOD.as_micros() as u64;
        let (cpu, memory) = self.controllers(&cgroup, path)?;
        let set = || {
            cpu.set_shares(if self.v2 { limits.weight() } else { limits.shares() })?;
            cpu.set_cfs_quota_and_period(Some(quota), Some(period))?;
            memory.set_limit(most)
        };
        set().with_context(|| self.describe("set the limits of", path))
    }

    /// Reads the limits of the cgroup at `path`.
    pub(super) fn get(&self, path: &Path) -> anyhow::Result<Limits> {
        let cgroup = self.cgroup(path);
        let (cpu, memory) = self.controllers(&cgroup, path)?;
        let get = || Ok((cpu.cfs_quota()?, cpu.cfs_period()?, cpu.shares()?, self.memory_limit(memory)?));
        let (quota, period, weight, memory) =
            get().map_err(|error: Error| error).with_context(|| self.describe("read the limits of", path))?;
        let shares = if self.v2 { (weight.saturating_sub(1)) * 262_142 / 9999 + 2 } else { weight };
        Ok(Limits {
            cpu: if quota > 0 { Limit::Of(Cores(quota as f64 / period as f64)) } else { Limit::Unlimited },
            memory,
            cpu_request: (shares > 2).then(|| Cores(shares as f64 / 1024.0)),
        })
    }

    fn controllers<'c>(
        &self,
        cgroup: &'c Cgroup,
        path: &Path,
    ) -> anyhow::Result<(&'c CpuController, &'c MemController)> {
        let both = cgroup.controller_of().zip(cgroup.controller_of());
        both.with_context(|| {
            format!("{}: the controllers cpu and memory are not enabled", self.describe("use", path))
        })
    }

    fn memory_limit(&self, memory: &MemController) -> Result<Limit<Bytes>, Error> {
        let value = if self.v2 {
            memory.get_mem()?.max.unwrap_or(MaxValue::Max)
        } else {
            MaxValue::Value(memory.memory_stat().limit_in_bytes)
        };
        Ok(match value {
            MaxValue::Value(bytes) if bytes < V1_UNLIMITED => Limit::Of(Bytes(bytes.unsigned_abs())),
            _ => Limit::Unlimited,
        })
    }

    /// Removes the cgroup at `path` and all below it, in every hierarchy. Its processes must have ended or be ending.
    pub(super) fn remove(&self, path: &Path) -> anyhow::Result<()> {
        let path = Path::new(&self.base).join(path);
        self.mounts.iter().try_for_each(|mount| remove_tree(&mount.join(&path)))
    }

    /// Removes the whole directory. Errors are logged, and the rest is removed.
    pub(super) fn remove_all(&self) {
        for mount in &self.mounts {
            let directory = mount.join(&self.base);
            if let Err(error) = remove_tree(&directory) {
                let error = format!("{error:#}");
                tracing::warn!(path = %directory.display(), error, "a cgroup of this host could not be removed");
            }
        }
    }

    /// Removes the directories `<name>-<pid>` of runs whose process no longer exists.
    pub(super) fn remove_leftovers(&self, name: &str) {
        let is_of_dead_run = |entry: &fs::DirEntry| {
            let file_name = entry.file_name();
            let stem_and_pid = file_name.to_str().and_then(|text| text.rsplit_once('-'));
            stem_and_pid.is_some_and(|(stem, pid)| {
                let ours = stem == name || stem.starts_with(PROBE);
                ours && pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
            })
        };
        for mount in &self.mounts {
            let entries = fs::read_dir(mount.join(&self.parent)).into_iter().flatten().flatten();
            let directories = entries.filter(is_of_dead_run).map(|entry| entry.path());
            // The pid of a process in another pid namespace does not exist here: a cgroup with processes is not a leftover.
            for directory in directories.filter(|directory| becomes_empty(directory)) {
                match remove_tree(&directory) {
                    Ok(()) => {
                        tracing::info!(path = %directory.display(), "removed a cgroup that a dead run left behind");
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::warn!(path = %directory.display(), error, "a cgroup of a dead run could not be removed");
                    }
                }
            }
        }
    }
}

/// The parent of our own cgroup, if it is writable, as in a user's systemd session. (Our own cgroup cannot have limited
/// children: a v2 cgroup has either processes or children with controllers.)
fn delegated_subtree() -> anyhow::Result<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let parent = Path::new(own).parent().map(|path| path.display().to_string()).unwrap_or_default();
    if !is_writable(&Path::new(V2_MOUNT).join(&parent))? {
        bail!(
            "neither the cgroup hierarchy nor {parent:?} in it is writable: run as root, or have the subtree delegated"
        );
    }
    Ok(parent)
}

/// Whether processes may be moved into and out of a cgroup.
fn is_writable(cgroup: &Path) -> anyhow::Result<bool> {
    let procs = cgroup.join("cgroup.procs");
    match fs::OpenOptions::new().append(true).open(&procs) {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot open {}", procs.display())),
    }
}

fn v1_mounts() -> anyhow::Result<Vec<PathBuf>> {
    let v1 = V1::new();
    let mut mounts = Vec::new();
    for (controller, name) in
        [(Controllers::Cpu, "cpu"), (Controllers::CpuAcct, "cpuacct"), (Controllers::Mem, "memory")]
    {
        let mount = v1.get_mount_point(controller);
        let (mount, _) = mount
            .with_context(|| format!("the hierarchy of the cgroup controller `{name}` is not mounted"))?;
        if !mounts.contains(&mount) {
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

/// Whether a cgroup has no processes, or only ending ones: the threads of a killed process end one by one, and until the last
/// one has ended the process is listed.
fn becomes_empty(directory: &Path) -> bool {
    (0..CHECKS).any(|round| {
        if round > 0 {
            thread::sleep(RETRY);
        }
        !has_processes(directory)
    })
}

/// Whether there are processes in a cgroup or below it; also true when that cannot be read.
fn has_processes(directory: &Path) -> bool {
    let procs = fs::read_to_string(directory.join("cgroup.procs"));
    let (Ok(procs), Ok(entries)) = (procs, fs::read_dir(directory)) else {
        return true;
    };
    let mut children = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    !procs.trim().is_empty() || children.any(|path| has_processes(&path))
}

/// Removes a tree of cgroups, deepest first. A missing one is not an error.
fn remove_tree(directory: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(_) if !directory.exists() => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", directory.display())),
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    // A cgroup stays busy for some milliseconds after its last process ended.
    for _ in 0..100 {
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return Ok(());
        }
        thread::sleep(RETRY);
    }
    fs::remove_dir(directory).with_context(|| format!("cannot remove {}", directory.display()))
}
