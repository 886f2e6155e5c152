//! How many descriptors of cgroup files stay open: as many as the process may open, and as its memory limit has room for.
//!
//! The kernel charges an open cgroup file to the agent: a page for its content, the open file, its inode and directory entry. With
//! many pods and a small limit that is more than all else, and nothing of it can be reclaimed. The limit is that of the agent's own
//! cgroup and of those above it, as far as the agent sees them: in a pod the runtime mounts its container's cgroup, beside the host's
//! hierarchies, which do not show which one it is. Proof: the tests below, and `tests/descriptors.rs`.

use std::path::{Component, Path, PathBuf};

use plimsoll_contract::Bytes;
use plimsoll_process::descriptors::raise_limit;
use procfs::process::MountInfo;
use procfs::{FromRead, ProcessCGroups};

use super::Host;
use super::cgroup::Cgroup;
use super::mounts::Version;
use super::parse;
use crate::regular;

/// Kernel memory of an open cgroup file that was read. Measured: 4.7 to 5.1 KiB of a file, 1.2 KiB of a directory.
const BYTES_PER_DESCRIPTOR: u64 = 5 << 10;
/// Memory that is not used for descriptors, whatever the limit: twice what all else takes at 110 pods.
const RESERVED_MEMORY: u64 = 16 << 20;
/// Descriptors reserved for the rest of the process: connections, logs, files that are not kept open.
const RESERVED_DESCRIPTORS: u64 = 256;

/// What bounds the number of descriptors.
#[derive(Debug)]
pub(super) struct DescriptorBound {
    /// How many files the process may open.
    open_files: u64,
    /// The directories of the agent's own memory cgroup and of those above it.
    own_cgroups: Vec<(PathBuf, Version)>,
}

impl DescriptorBound {
    /// Raises the process's limit of open files to the hard limit, and looks for the agent's own cgroup.
    pub(super) fn detect() -> DescriptorBound {
        DescriptorBound { open_files: raise_limit().unwrap_or(0), own_cgroups: own_cgroups() }
    }

    /// The number of descriptors, as the limits are now.
    pub(super) fn max(&self) -> usize {
        let by_files = self.open_files.saturating_sub(RESERVED_DESCRIPTORS);
        let by_memory = self.memory_limit().map_or(u64::MAX, descriptors_of);
        usize::try_from(by_files.min(by_memory)).unwrap_or(usize::MAX)
    }

    /// The smallest memory limit that applies to the agent. Absent where there is none, or none can be seen.
    pub(super) fn memory_limit(&self) -> Option<Bytes> {
        let limits = self.own_cgroups.iter().filter_map(|(directory, version)| {
            let limit = match version {
                Version::V1 => parse::memory_limit(&read(directory, "memory.limit_in_bytes")?)?,
                Version::V2 => parse::memory_max(&read(directory, "memory.max")?)?,
            };
            limit.bound()
        });
        limits.min_by_key(|limit| limit.0)
    }
}

/// How many descriptors a memory limit has room for: half of it is theirs, but not of the reserved memory.
fn descriptors_of(limit: Bytes) -> u64 {
    limit.0.saturating_sub(RESERVED_MEMORY.max(limit.0 / 2)) / BYTES_PER_DESCRIPTOR
}

fn read(directory: &Path, file: &str) -> Option<Vec<u8>> {
    regular::read(&directory.join(file)).ok()
}

/// The directories of this process's memory cgroup and of those above it.
fn own_cgroups() -> Vec<(PathBuf, Version)> {
    let text = |path| regular::read(Path::new(path)).unwrap_or_default();
    memory_directories(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"))
}

/// Where the memory cgroup of a process, and those above it, are mounted. A mount whose root is not above the cgroup does not contain it.
fn memory_directories(cgroups: &[u8], mounts: &[u8]) -> Vec<(PathBuf, Version)> {
    let Ok(cgroups) = ProcessCGroups::from_read(cgroups) else {
        return Vec::new();
    };
    let is_v1 = |controllers: &[String]| controllers.iter().any(|name| name == "memory");
    let v1 = cgroups.0.iter().find(|cgroup| is_v1(&cgroup.controllers)).map(|cgroup| (cgroup, Version::V1));
    let v2 = || cgroups.0.iter().find(|cgroup| cgroup.hierarchy == 0).map(|cgroup| (cgroup, Version::V2));
    let Some((cgroup, version)) = v1.or_else(v2) else {
        return Vec::new();
    };
    let mut directories = Vec::new();
    for mount in String::from_utf8_lossy(mounts).lines().filter_map(|line| MountInfo::from_line(line).ok()) {
        let contains = match version {
            Version::V1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
            Version::V2 => mount.fs_type == "cgroup2",
        };
        let Some(below) = Path::new(&cgroup.pathname).strip_prefix(&mount.root).ok().filter(|_| contains)
        else {
            continue;
        };
        // a cgroup outside of the process's cgroup namespace begins with `..`, and is in no mount of it
        if below.components().all(|part| matches!(part, Component::Normal(_))) {
            directories.extend(below.ancestors().map(|path| (mount.mount_point.join(path), version)));
        }
    }
    directories
}

impl Host {
    /// Takes the descriptors of the newest cgroups where there are too many, and gives some to those that have none where there is room.
    pub(super) fn distribute_descriptors(&mut self) {
        let room = self.max_descriptors / Cgroup::max_descriptors(&self.mounts);
        let kept = self.cgroups.iter().filter(|cgroup| cgroup.keeps_open()).count();
        let newest_first = self.cgroups.iter_mut().rev().filter(|cgroup| cgroup.keeps_open());
        newest_first.take(kept.saturating_sub(room)).for_each(|cgroup| cgroup.set_keep_open(false));
        let without = self.cgroups.iter_mut().filter(|cgroup| !cgroup.keeps_open());
        without.take(room.saturating_sub(kept)).for_each(|cgroup| cgroup.set_keep_open(true));
        self.count_descriptors();
    }

    pub(super) fn count_descriptors(&mut self) {
        self.descriptors = self.cgroups.iter().map(|cgroup| cgroup.descriptors(&self.mounts)).sum();
    }

    /// The cgroups whose files are kept open, and those whose files are opened for every read because of the bound.
    pub(crate) fn count_by_files(&self) -> (usize, usize) {
        let kept = self.cgroups.iter().filter(|cgroup| cgroup.keeps_open()).count();
        (kept, self.cgroups.len() - kept)
    }

    /// Logs when the bound begins or ceases to matter.
    pub(super) fn log_bound(&mut self) {
        let (kept_open, opened_per_read) = self.count_by_files();
        match (std::mem::replace(&mut self.is_bounded, opened_per_read > 0), self.is_bounded) {
            (false, true) => tracing::warn!(
                opened_per_read,
                kept_open,
                max_descriptors = self.max_descriptors,
                memory_limit_bytes = self.bound.memory_limit().map(|limit| limit.0),
                "the files of some cgroups are opened for every read, which takes more CPU: the agent's memory limit (or its limit of open \
                 files) has no room for more open files; raise it if the node runs that many pods"
            ),
            (true, false) => tracing::info!(kept_open, "the files of all cgroups are kept open again"),
            _ => {}
        }
    }
}

#[cfg(test)]
impl DescriptorBound {
    /// Room for this many descriptors.
    pub(super) fn of(descriptors: u64) -> DescriptorBound {
        DescriptorBound {
            open_files: descriptors.saturating_add(RESERVED_DESCRIPTORS),
            own_cgroups: Vec::new(),
        }
    }

    /// As many as the limit in `memory.max` of this directory has room for.
    pub(super) fn of_memory(directory: &Path) -> DescriptorBound {
        DescriptorBound { open_files: u64::MAX, own_cgroups: vec![(directory.to_owned(), Version::V2)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MI: u64 = 1 << 20;

    fn paths(cgroups: &str, mounts: &str) -> Vec<String> {
        let found = memory_directories(cgroups.as_bytes(), mounts.as_bytes());
        found
            .into_iter()
            .map(|(path, _)| path.display().to_string().trim_end_matches('/').to_owned())
            .collect()
    }

    #[test]
    fn half_of_a_memory_limit_is_for_descriptors_but_not_what_the_agent_needs_itself() {
        // the manifests' limit: 110 pods with two containers each, and their own cgroups
        assert!(descriptors_of(Bytes(64 * MI)) >= 3 * 110 * 12);
        assert_eq!(descriptors_of(Bytes(64 * MI)) * BYTES_PER_DESCRIPTOR / MI, 31);
        assert_eq!(descriptors_of(Bytes(24 * MI)) * BYTES_PER_DESCRIPTOR / MI, 7);
        assert_eq!((descriptors_of(Bytes(16 * MI)), descriptors_of(Bytes(0))), (0, 0));
    }

    #[test]
    fn in_a_pod_the_limit_is_that_of_the_mount_of_the_containers_own_cgroup() {
        let mounts = "\
1 0 0:20 / /proc rw - proc proc rw
2 0 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
3 0 0:25 /../../../.. /host/sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw
";
        assert_eq!(paths("0::/\n", mounts), ["/sys/fs/cgroup"]);
        let mounts = "\
2 0 0:30 /kubepods/podu/c /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup cgroup rw,memory
3 0 0:31 /kubepods/podu/c /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
4 0 0:30 / /host/sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
5 0 0:32 / /host/sys/fs/cgroup/unified ro - cgroup2 cgroup rw
";
        assert_eq!(
            paths("4:memory:/kubepods/podu/c\n3:cpu,cpuacct:/kubepods/podu/c\n0::/\n", mounts),
            [
                "/sys/fs/cgroup/memory",
                "/host/sys/fs/cgroup/memory/kubepods/podu/c",
                "/host/sys/fs/cgroup/memory/kubepods/podu",
                "/host/sys/fs/cgroup/memory/kubepods",
                "/host/sys/fs/cgroup/memory",
            ],
            "on v1 there is no cgroup namespace, so that the limit of the pod is seen too"
        );
    }

    #[test]
    fn on_a_host_the_limits_above_count_too_and_a_cgroup_that_is_not_mounted_has_none() {
        let mounts = "2 0 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\nnot a mount\n";
        let expected = ["/system.slice/agent.service", "/system.slice", ""];
        let found = paths("0::/system.slice/agent.service\n", mounts);
        assert_eq!(found, expected.map(|path| format!("/sys/fs/cgroup{path}")));
        assert_eq!(paths("0::/../elsewhere\n", mounts), [""; 0]);
        assert_eq!(paths("1:cpu:/\n", mounts), [""; 0]);
        assert_eq!(paths("garbage", ""), [""; 0]);
    }

    #[test]
    fn the_smallest_limit_counts_and_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("pod");
        std::fs::create_dir(&inner).unwrap();
        let mut bound = DescriptorBound::of_memory(&inner);
        bound.own_cgroups.push((dir.path().to_owned(), Version::V2));
        assert_eq!(bound.memory_limit(), None);
        assert!(bound.max() > 1 << 40, "{}", bound.max());
        for (own, above, expected) in [
            ("max\n", "max\n", None),
            ("67108864\n", "max\n", Some(64 * MI)),
            ("67108864\n", "33554432\n", Some(32 * MI)),
        ] {
            std::fs::write(inner.join("memory.max"), own).unwrap();
            std::fs::write(dir.path().join("memory.max"), above).unwrap();
            assert_eq!(bound.memory_limit(), expected.map(Bytes));
        }
        bound.open_files = 300;
        assert_eq!(bound.max(), 44, "the smaller one of both bounds");
    }
}
