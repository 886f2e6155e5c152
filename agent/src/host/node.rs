//! The node's own capacity, CPUs and memory, and its boot id.
//!
//! Reads three files of `/proc`, two of them with the `procfs` crate, again on each call, because CPUs may be added or taken
//! offline. Available memory is read alone, too, as it changes with every sweep. A node that is a container itself (kind, minikube, LXC) sees its machine's `/proc` and has less: its limits are those of the
//! root cgroup, as far as the agent can see. Proof: `tests/node.rs`.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{Bytes, Cores, Limit};
use procfs::{FromRead, FromReadSI, KernelStats, Meminfo, current_system_info};

use super::HostError;
use super::files::{Files, OpenFiles, open_directories, open_directory};
use super::mounts::{Mounts, Version};
use super::parse;
use super::places::Place;
use super::reader::{Failure, File, Reader};
use crate::regular;

/// The node's capacity and its boot id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeInfo {
    /// The smallest of what `/proc` shows and of what the root cgroup is limited to.
    pub(crate) capacity: Capacity,
    /// The CPUs that the kernel schedules on: nothing uses more. Absent where `/proc` may show fewer of them.
    pub(crate) cpus: Option<Cores>,
    /// Boot id.
    pub(crate) boot: String,
}

/// What the root cgroup is limited to, where it is: on a machine it has none of these files, or they say "unlimited".
#[derive(Debug, Default)]
struct RootLimits {
    quota: Option<Cores>,
    memory: Option<Bytes>,
    /// Number of CPUs.
    cpuset: Option<u64>,
    /// Which of them cannot be read, so that `/proc` is used instead.
    malformed: Option<&'static str>,
}

/// The `/proc` to read: that below `root` where there is one.
pub(super) fn proc_below(root: &Path) -> PathBuf {
    let below = root.join("proc");
    // whatever it is: that it cannot be read is said by name, not hidden by the numbers of this machine
    if fs::symlink_metadata(below.join("stat")).is_ok() { below } else { PathBuf::from("/proc") }
}

/// `was_malformed`: whether a file of the root cgroup was, the last time. That is logged when it changes.
pub(super) fn read(proc: &Path, mounts: &Mounts, was_malformed: &AtomicBool) -> Result<NodeInfo, HostError> {
    let (stat, meminfo, boot_id) =
        (proc.join("stat"), proc.join("meminfo"), proc.join("sys/kernel/random/boot_id"));
    let read = |path: &PathBuf| regular::read(path).map_err(|error| unreadable(path, &error));
    let cpus = KernelStats::from_read(&*read(&stat)?, current_system_info())
        .map_err(|error| unreadable(&stat, &error))?
        .cpu_time
        .len();
    if cpus == 0 {
        return Err(unreadable(&stat, &"it lists no CPU"));
    }
    let memory_info = Meminfo::from_read(&*read(&meminfo)?).map_err(|error| unreadable(&meminfo, &error))?;
    let memory = memory_info.mem_total;
    if memory == 0 {
        return Err(unreadable(&meminfo, &"it reports no memory"));
    }
    let boot = String::from_utf8_lossy(&read(&boot_id)?).trim().to_owned();
    if boot.is_empty() || boot.len() > 64 {
        return Err(unreadable(&boot_id, &"it does not contain a boot id"));
    }
    let root = root_limits(mounts);
    let before = was_malformed.swap(root.malformed.is_some(), Ordering::Relaxed);
    if let (Some(limit), false) = (root.malformed, before) {
        tracing::warn!(
            limit,
            "a limit of the root cgroup cannot be read; the node's capacity is that of /proc"
        );
    }
    let cores = [root.quota, root.cpuset.map(|cpus| Cores(cpus as f64))].into_iter().flatten();
    let cores = cores.fold(cpus as f64, |least, limit| least.min(limit.0));
    let bytes = root.memory.map_or(memory, |limit| limit.0.min(memory));
    let is_virtual = statfs(&stat).is_ok_and(|fs| fs.filesystem_type() == FUSE_SUPER_MAGIC);
    let cpus = schedulable(cpus as u64, root.cpuset, is_virtual);
    let more = cpus.filter(|cpus| cpus.0 > cores);
    let available_bytes = available(&memory_info, mounts, Bytes(bytes));
    let capacity = Capacity { cores: Cores(cores), bytes: Bytes(bytes), cpus: more, available_bytes };
    Ok(NodeInfo { capacity, cpus, boot })
}

/// The memory that could be allocated now, on a node with this `capacity`; absent where it cannot be read.
pub(super) fn read_available(proc: &Path, mounts: &Mounts, capacity: Bytes) -> Option<Bytes> {
    available(&Meminfo::from_read(&*regular::read(&proc.join("meminfo")).ok()?).ok()?, mounts, capacity)
}

/// What the kernel says, and where the node itself is limited, no more than its limit leaves: what of it is in use and cannot be reclaimed
/// at once is taken.
fn available(meminfo: &Meminfo, mounts: &Mounts, capacity: Bytes) -> Option<Bytes> {
    let available = Bytes(meminfo.mem_available?).min(capacity);
    if capacity.0 >= meminfo.mem_total {
        return Some(available);
    }
    let used = with_root_files(mounts, |files| files.memory_detail().ok()?.required(files.memory().ok()?))??;
    Some(available.min(capacity.saturating_sub(used)))
}

/// Passes the files of the root cgroup; absent where it cannot be opened.
fn with_root_files<T>(mounts: &Mounts, read: impl FnOnce(&mut Files<'_>) -> T) -> Option<T> {
    // its errors are not those of a container
    let mut reader = Reader::new(mounts.live);
    let directories = open_directories(mounts, &Place::new(mounts.primary(), PathBuf::new())).ok()?;
    let mut files = Files {
        controllers: &mounts.controllers,
        directories: &directories,
        open: &mut OpenFiles::default(),
        keep_open: false,
        reader: &mut reader,
    };
    Some(read(&mut files))
}

/// The CPUs that the kernel schedules on: the more of what `/proc` and the root's cpuset show. A virtual `/proc` (lxcfs) shows as many as
/// the quota of a container is worth, on any of those that it may use.
fn schedulable(proc: u64, cpuset: Option<u64>, is_virtual: bool) -> Option<Cores> {
    let more = cpuset.filter(|cpuset| *cpuset > proc);
    more.or((!is_virtual).then_some(proc)).map(|cpus| Cores(cpus as f64))
}

fn root_limits(mounts: &Mounts) -> RootLimits {
    let mut limits = RootLimits::default();
    let read =
        |files: &mut Files<'_>| (files.cpu_limit(), files.memory_limit(), cpuset(mounts, files.reader));
    let Some((quota, memory, cpuset)) = with_root_files(mounts, read) else {
        return limits;
    };
    let mut malformed = |file| limits.malformed = Some(file);
    let quota = known(quota, "the CPU quota", &mut malformed);
    let memory = known(memory, "the memory limit", &mut malformed);
    let cpuset = known(cpuset, "the cpuset", &mut malformed);
    limits.quota = quota.and_then(Limit::bound);
    limits.memory = memory.and_then(Limit::bound).filter(|bytes| bytes.0 > 0);
    limits.cpuset = cpuset;
    limits
}

/// The value, if there is one. Missing files are normal at the root; other failures are passed to `malformed`.
fn known<T>(
    value: Result<T, Failure>,
    what: &'static str,
    malformed: &mut impl FnMut(&'static str),
) -> Option<T> {
    match value {
        Ok(value) => Some(value),
        Err(Failure::Gone | Failure::Unknown(UnknownReason::Absent | UnknownReason::NoController)) => None,
        Err(Failure::Unknown(_)) => {
            malformed(what);
            None
        }
    }
}

/// The number of CPUs in the root's cpuset.
fn cpuset(mounts: &Mounts, reader: &mut Reader) -> Result<u64, Failure> {
    let absent = Failure::Unknown(UnknownReason::Absent);
    let (root, version) = mounts.cpuset.as_ref().ok_or(absent)?;
    let directory = open_directory(&root.join("")).map_err(|_| absent)?;
    let files: &[File] = match version {
        Version::V1 => &[File::CpusetEffectiveV1, File::CpusetCpus],
        Version::V2 => &[File::CpusetEffective],
    };
    for file in files {
        if let Some(fd) = reader.open_optional(directory.as_fd(), *file)? {
            return reader.read(fd.as_fd(), *file, parse::cpu_count);
        }
    }
    Err(absent)
}

fn unreadable(path: &Path, why: &impl ToString) -> HostError {
    HostError::Node(path.to_owned(), why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_proc_is_no_bound_of_a_rate_but_a_larger_cpuset_is() {
        let cores = |cpus| Some(Cores(cpus));
        for (proc, cpuset, is_virtual, expected) in [
            (8, None, false, cores(8.0)),
            (8, Some(4), false, cores(8.0)),
            (2, Some(8), false, cores(8.0)),
            (2, None, true, None),
            (2, Some(2), true, None),
            (2, Some(8), true, cores(8.0)),
        ] {
            assert_eq!(schedulable(proc, cpuset, is_virtual), expected, "{proc} {cpuset:?} {is_virtual}");
        }
    }
}
