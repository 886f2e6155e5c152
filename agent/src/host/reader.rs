//! Reads one cgroup file and counts read errors.
//!
//! One buffer serves all reads; no valid file fills it. Errors are classified here only: a removed
//! cgroup is [`Failure::Gone`], everything else is an [`UnknownReason`], counted by file. What is in a captured tree may be anything:
//! there only regular files are read. Proof: `tests/damage.rs`, `tests/irregular.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::uio::pread;
use plimsoll_contract::load::UnknownReason;

/// Size of the read buffer, larger than any file that is read: the longest, `memory.stat`, has about 2 KiB.
const BUFFER: usize = 32 << 10;
/// Most paths that are logged because they are not regular files.
const MAX_IRREGULAR: usize = 16;

/// A file that is read, or a directory that is listed. A closed list: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum File {
    CgroupControllers,
    CgroupEvents,
    CpuStat,
    CpuacctUsage,
    CpuMax,
    CfsQuota,
    CfsPeriod,
    CpuShares,
    CpuWeight,
    CpusetCpus,
    CpusetEffective,
    CpusetEffectiveV1,
    CpuPressure,
    MemoryCurrent,
    MemoryUsage,
    MemoryStat,
    MemoryEvents,
    MemoryFailcnt,
    OomControl,
    MemoryMax,
    MemoryLimit,
    MemoryPressure,
    Directory,
}

impl File {
    /// Its name in a cgroup's directory, and in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }

    fn name(self) -> &'static CStr {
        match self {
            File::CgroupControllers => c"cgroup.controllers",
            File::CgroupEvents => c"cgroup.events",
            File::CpuStat => c"cpu.stat",
            File::CpuacctUsage => c"cpuacct.usage",
            File::CpuMax => c"cpu.max",
            File::CfsQuota => c"cpu.cfs_quota_us",
            File::CfsPeriod => c"cpu.cfs_period_us",
            File::CpuShares => c"cpu.shares",
            File::CpuWeight => c"cpu.weight",
            File::CpusetCpus => c"cpuset.cpus",
            File::CpusetEffective => c"cpuset.cpus.effective",
            File::CpusetEffectiveV1 => c"cpuset.effective_cpus",
            File::CpuPressure => c"cpu.pressure",
            File::MemoryCurrent => c"memory.current",
            File::MemoryUsage => c"memory.usage_in_bytes",
            File::MemoryStat => c"memory.stat",
            File::MemoryEvents => c"memory.events",
            File::MemoryFailcnt => c"memory.failcnt",
            File::OomControl => c"memory.oom_control",
            File::MemoryMax => c"memory.max",
            File::MemoryLimit => c"memory.limit_in_bytes",
            File::MemoryPressure => c"memory.pressure",
            File::Directory => c"directory",
        }
    }
}

/// Read errors since the start, by file and reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadErrors {
    counts: BTreeMap<(File, UnknownReason), u64>,
}

impl ReadErrors {
    /// The counts that are not zero, with the file's name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, UnknownReason, u64)> {
        self.counts.iter().map(|((file, reason), count)| (file.as_str(), *reason, *count))
    }
}

/// Why a file has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The cgroup was removed.
    Gone,
    /// The cgroup exists, but this value is not known now.
    Unknown(UnknownReason),
}

/// Whether this is a property of the node, not an error: its kernel has no pressure accounting or it is switched off, or the tree
/// was captured without `cgroup.events`.
fn is_optional(file: File, reason: UnknownReason) -> bool {
    match file {
        File::CpuPressure | File::MemoryPressure => {
            matches!(reason, UnknownReason::Absent | UnknownReason::NoController)
        }
        File::CgroupEvents => reason == UnknownReason::Absent,
        _ => false,
    }
}

/// Reads files into one buffer and counts errors.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Box<[u8]>,
    pub(super) errors: ReadErrors,
    /// Whether these are live cgroups, which exist as long as their `cgroup.procs` does; plain directories exist while linked.
    pub(super) live: bool,
    /// What was found in place of a regular file, and how many of these paths are logged.
    irregular: BTreeSet<PathBuf>,
    irregular_logged: usize,
}

impl Reader {
    pub(super) fn new(live: bool) -> Reader {
        Reader {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            errors: ReadErrors::default(),
            live,
            irregular: BTreeSet::new(),
            irregular_logged: 0,
        }
    }

    /// Reads an open file from the beginning.
    pub(super) fn read<T>(
        &mut self,
        fd: BorrowedFd<'_>,
        file: File,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        match pread(fd, &mut self.buffer, 0) {
            Ok(length) if length < self.buffer.len() => match parse(&self.buffer[..length]) {
                Some(value) => Ok(value),
                None => Err(self.unknown(file, UnknownReason::Malformed)),
            },
            Ok(_) => Err(self.unknown(file, UnknownReason::Malformed)),
            Err(errno) => Err(self.failure(file, errno)),
        }
    }

    /// Opens a file of the cgroup whose directory is `dir`.
    pub(super) fn open(&mut self, dir: BorrowedFd<'_>, file: File) -> Result<OwnedFd, Failure> {
        self.open_optional(dir, file)?.ok_or_else(|| self.absent(file))
    }

    /// As [`Reader::open`]; absent where the cgroup has no such file, which is not counted.
    pub(super) fn open_optional(
        &mut self,
        dir: BorrowedFd<'_>,
        file: File,
    ) -> Result<Option<OwnedFd>, Failure> {
        // before it is opened, which may have an effect on a device; and again when it is open, because it may have been replaced
        let before = || fstatat(dir, file.name(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if !self.live && before().is_ok_and(|stat| !is_regular(&stat)) {
            return Err(self.irregular(dir, file));
        }
        // do not hang if there is a pipe in place of the file
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        match openat(dir, file.name(), flags, Mode::empty()) {
            Ok(fd) if self.live || fstat(&fd).is_ok_and(|stat| is_regular(&stat)) => Ok(Some(fd)),
            Ok(_) => Err(self.irregular(dir, file)),
            Err(Errno::ENOENT) if self.exists(dir) => Ok(None),
            Err(Errno::ENOENT) => Err(Failure::Gone),
            Err(errno) => Err(self.failure(file, errno)),
        }
    }

    /// Whether the cgroup whose directory is `dir` has this file.
    pub(super) fn has(dir: BorrowedFd<'_>, file: File) -> bool {
        fstatat(dir, file.name(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Counts and classifies an error.
    pub(super) fn failure(&mut self, file: File, errno: Errno) -> Failure {
        let reason = match errno {
            Errno::ENODEV => return Failure::Gone,
            Errno::ENOENT => UnknownReason::Absent,
            Errno::EACCES | Errno::EPERM => UnknownReason::Denied,
            // pressure accounting is compiled in but switched off
            Errno::EOPNOTSUPP => UnknownReason::NoController,
            _ => UnknownReason::Failed,
        };
        self.unknown(file, reason)
    }

    /// Counts a file whose content contradicts another's.
    pub(super) fn malformed(&mut self, file: File) -> Failure {
        self.unknown(file, UnknownReason::Malformed)
    }

    /// Counts a missing file.
    pub(super) fn absent(&mut self, file: File) -> Failure {
        self.unknown(file, UnknownReason::Absent)
    }

    fn unknown(&mut self, file: File, reason: UnknownReason) -> Failure {
        if !is_optional(file, reason) {
            *self.errors.counts.entry((file, reason)).or_default() += 1;
        }
        Failure::Unknown(reason)
    }

    /// Counts what is no regular file, and notes where it is.
    fn irregular(&mut self, dir: BorrowedFd<'_>, file: File) -> Failure {
        if self.irregular.len() < MAX_IRREGULAR
            && let Ok(directory) = fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))
        {
            self.irregular.insert(directory.join(file.as_str()));
        }
        self.unknown(file, UnknownReason::Failed)
    }

    /// Logs what was found in place of a regular file, each path once.
    pub(super) fn log_irregular(&mut self) {
        if self.irregular.len() > self.irregular_logged {
            self.irregular_logged = self.irregular.len();
            let paths: Vec<_> = self.irregular.iter().map(|path| path.display().to_string()).collect();
            tracing::warn!(
                paths = paths.join(", "),
                "not read, because they are pipes, devices, links or directories in place of regular files (at most 16 are named)"
            );
        }
    }

    /// Whether the cgroup still exists: only then is a missing file an error.
    fn exists(&self, dir: BorrowedFd<'_>) -> bool {
        if self.live {
            fstatat(dir, c"cgroup.procs", AtFlags::empty()) != Err(Errno::ENOENT)
        } else {
            fstat(dir).is_ok_and(|stat| stat.st_nlink > 0)
        }
    }
}

fn is_regular(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

#[cfg(test)]
impl Reader {
    /// What was found in place of a regular file.
    pub(super) fn irregular_paths(&self) -> &BTreeSet<PathBuf> {
        &self.irregular
    }
}
