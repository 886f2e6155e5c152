//! Cgroups of our own through `cgroups-rs`: one directory per hierarchy, and everything below it.
//!
//! On v1 the hierarchies of `cpu`, `cpuacct` and `memory`; on v2 the one tree, with the controllers delegated down to the
//! containers. Nothing outside the directory [`Grove::base`] is ever written, except `cgroup.subtree_control` above it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cgroups_rs::CgroupPid;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::hierarchies::{V1, auto, is_cgroup2_unified_mode};
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::{Cgroup, Controllers, MaxValue};
use plimsoll_contract::{Bytes, Cores, Limit};

use super::WhyNot;
use crate::host::{HostError, Limits, PERIOD};

/// What the directories of [`super::RealHost::available`] are called.
pub(super) const PROBE: &str = "plimsoll-probe-";
/// Where the one tree of v2 is mounted.
const V2_MOUNT: &str = "/sys/fs/cgroup";
/// From here on cgroup v1 means "unlimited": the kernel rounds its largest value down to a page.
const V1_UNLIMITED: i64 = i64::MAX - (1 << 16);
/// The largest `cpu.shares` of v1 and `cpu.weight` of v2.
const MOST_SHARES: u64 = 262_144;
const MOST_WEIGHT: u64 = 10_000;
/// How long a cgroup may take to become empty once its processes are dead.
const LINGER: Duration = Duration::from_millis(20);
/// For how many times [`LINGER`] processes of a dead run are believed to be dying.
const DYING: u32 = 50;

/// One directory of ours in every hierarchy that matters.
#[derive(Debug, Clone)]
pub(super) struct Grove {
    /// Path of the directory below each hierarchy: `plimsoll-demo-123`, or that below a subtree we were given.
    base: String,
    /// Where `base` is created: the hierarchy itself (empty), or the subtree.
    above: String,
    v2: bool,
    /// Mount points of the hierarchies, without duplicates.
    mounts: Vec<PathBuf>,
}

impl Grove {
    /// Finds the hierarchies.
    ///
    /// # Errors
    /// When one that is needed is not mounted.
    pub(super) fn find(name: &str, pid: u32) -> Result<Grove, WhyNot> {
        let v2 = is_cgroup2_unified_mode();
        let mounts = if v2 { vec![PathBuf::from(V2_MOUNT)] } else { v1_mounts()? };
        let above =
            if v2 && !is_writable(Path::new(V2_MOUNT))? { delegated_subtree()? } else { String::new() };
        let base = if above.is_empty() { format!("{name}-{pid}") } else { format!("{above}/{name}-{pid}") };
        Ok(Grove { base, above, v2, mounts })
    }

    /// Whether the directory of ours is there already.
    pub(super) fn exists(&self) -> bool {
        self.mounts.iter().any(|mount| mount.join(&self.base).exists())
    }

    /// Path below each hierarchy.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    fn cgroup(&self, path: &Path) -> Cgroup {
        let controllers: &[&str] = if self.v2 { &["cpu", "memory"] } else { &["cpu", "cpuacct", "memory"] };
        let controllers = controllers.iter().map(ToString::to_string).collect();
        Cgroup::load_with_specified_controllers(auto(), Path::new(&self.base).join(path), controllers)
    }

    /// Creates the cgroup at `path` below the base, with what is above it.
    pub(super) fn create(&self, path: &Path) -> Result<(), HostError> {
        self.cgroup(path).create().map_err(|source| self.error("create", path, source))
    }

    /// Gives the directory of ours the largest weight among its neighbors: what a workload's script says is the ground
    /// truth of a measurement, so it must get its CPU however busy the machine is. What it may use is still limited.
    pub(super) fn favor(&self) -> Result<(), HostError> {
        let path = Path::new("");
        let cgroup = self.cgroup(path);
        let (cpu, _) = self.controllers(&cgroup, path)?;
        let most = if self.v2 { MOST_WEIGHT } else { MOST_SHARES };
        cpu.set_shares(most).map_err(|source| self.error("weigh", path, source))
    }

    /// Puts a process into the cgroup at `path`.
    pub(super) fn add(&self, path: &Path, pid: u32) -> Result<(), HostError> {
        let pid = CgroupPid::from(u64::from(pid));
        self.cgroup(path)
            .add_task_by_tgid(pid)
            .map_err(|source| self.error("put a process into", path, source))
    }

    /// Enforces limits on the cgroup at `path`.
    pub(super) fn set(&self, path: &Path, limits: &Limits) -> Result<(), HostError> {
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
        set().map_err(|source| self.error("limit", path, source))
    }

    /// What is enforced on the cgroup at `path`.
    pub(super) fn get(&self, path: &Path) -> Result<Limits, HostError> {
        let cgroup = self.cgroup(path);
        let (cpu, memory) = self.controllers(&cgroup, path)?;
        let get = || Ok((cpu.cfs_quota()?, cpu.cfs_period()?, cpu.shares()?, self.memory_limit(memory)?));
        let (quota, period, weight, memory) =
            get().map_err(|source| self.error("read the limits of", path, source))?;
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
    ) -> Result<(&'c CpuController, &'c MemController), HostError> {
        let both = cgroup.controller_of().zip(cgroup.controller_of());
        both.ok_or_else(|| HostError::NoController {
            path: Path::new(&self.base).join(path).display().to_string(),
        })
    }

    fn memory_limit(&self, memory: &MemController) -> Result<Limit<Bytes>, cgroups_rs::fs::error::Error> {
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

    /// Removes the cgroup at `path` and all below it, in every hierarchy. Its processes must be dead or dying.
    pub(super) fn remove(&self, path: &Path) -> Result<(), HostError> {
        let path = Path::new(&self.base).join(path);
        self.mounts.iter().try_for_each(|mount| remove_tree(&mount.join(&path)))
    }

    /// Removes everything of ours, and goes on after errors: they are logged.
    pub(super) fn remove_all(&self) {
        for mount in &self.mounts {
            let directory = mount.join(&self.base);
            if let Err(error) = remove_tree(&directory) {
                tracing::warn!(path = %directory.display(), %error, "a cgroup of ours could not be removed");
            }
        }
    }

    /// Removes the directories `<name>-<pid>` of runs whose process no longer exists.
    pub(super) fn remove_leftovers(&self, name: &str) {
        let dead = |entry: &fs::DirEntry| {
            let file_name = entry.file_name();
            let stem_and_pid = file_name.to_str().and_then(|text| text.rsplit_once('-'));
            stem_and_pid.is_some_and(|(stem, pid)| {
                let ours = stem == name || stem.starts_with(PROBE);
                ours && pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
            })
        };
        // A process of another pid namespace looks dead from here: what stays inhabited is not a leftover.
        let empty = |directory: &PathBuf| empties(directory);
        for mount in &self.mounts {
            let entries = fs::read_dir(mount.join(&self.above)).into_iter().flatten().flatten();
            for directory in entries.filter(dead).map(|entry| entry.path()).filter(empty) {
                match remove_tree(&directory) {
                    Ok(()) => {
                        tracing::info!(path = %directory.display(), "removed a cgroup that a dead run left behind");
                    }
                    Err(error) => {
                        tracing::warn!(path = %directory.display(), %error, "a cgroup of a dead run stays");
                    }
                }
            }
        }
    }

    fn error(&self, attempt: &'static str, path: &Path, source: cgroups_rs::fs::error::Error) -> HostError {
        HostError::Cgroup { attempt, path: Path::new(&self.base).join(path).display().to_string(), source }
    }
}

/// The cgroup above our own, where it is ours to write: as in a user's systemd session. (Below our own cgroup there can be
/// no limits: a v2 cgroup has processes or limited children, not both.)
fn delegated_subtree() -> Result<String, WhyNot> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let above = Path::new(own).parent().map(|path| path.display().to_string()).unwrap_or_default();
    if is_writable(&Path::new(V2_MOUNT).join(&above))? {
        Ok(above)
    } else {
        Err(WhyNot::NotDelegated { cgroup: above })
    }
}

/// Whether processes may be put into and out of a cgroup.
fn is_writable(cgroup: &Path) -> Result<bool, HostError> {
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
        Err(source) => Err(HostError::Io { attempt: "open", path: procs, source }),
    }
}

fn v1_mounts() -> Result<Vec<PathBuf>, WhyNot> {
    let v1 = V1::new();
    let mut mounts = Vec::new();
    for (controller, name) in
        [(Controllers::Cpu, "cpu"), (Controllers::CpuAcct, "cpuacct"), (Controllers::Mem, "memory")]
    {
        let (mount, _) = v1.get_mount_point(controller).ok_or(WhyNot::NoHierarchy { controller: name })?;
        if !mounts.contains(&mount) {
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

/// Whether the processes in a cgroup and below it, if any, are only on their way out: the threads of a killed process
/// leave one by one, and until the last has left the process counts as an inhabitant.
fn empties(directory: &Path) -> bool {
    (0..DYING).any(|round| {
        if round > 0 {
            thread::sleep(LINGER);
        }
        !is_inhabited(directory)
    })
}

/// Whether a process lives in a cgroup or below it; also when that cannot be said.
fn is_inhabited(directory: &Path) -> bool {
    let procs = fs::read_to_string(directory.join("cgroup.procs"));
    let (Ok(procs), Ok(entries)) = (procs, fs::read_dir(directory)) else {
        return true;
    };
    let mut below = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    !procs.trim().is_empty() || below.any(|path| is_inhabited(&path))
}

/// Removes a tree of cgroups, deepest first. What is not there is no error.
fn remove_tree(directory: &Path) -> Result<(), HostError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(_) if !directory.exists() => return Ok(()),
        Err(source) => {
            return Err(HostError::Io { attempt: "list", path: directory.to_owned(), source });
        }
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    // A cgroup stays busy for some milliseconds after its last process died.
    for _ in 0..100 {
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return Ok(());
        }
        thread::sleep(LINGER);
    }
    fs::remove_dir(directory).map_err(HostError::io("remove", directory))
}
