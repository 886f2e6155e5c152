//! One cgroup's files by what they contain, under their v1 or v2 names.
//!
//! The hierarchies of v1 are separate mounts, in which the same cgroup has the same relative path.
//! Proof: `tests/trees.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit};

use super::mounts::{ControllerMount, Controllers, Mounts, Version};
use super::parse;
use super::reader::{Failure, File, Reader};
use crate::sample::{CpuCounters, MemoryDetail};

/// A cgroup's directory in each hierarchy, by [`ControllerMount::index`].
pub(super) type Directories = Vec<Option<OwnedFd>>;

const NO_CONTROLLER: Failure = Failure::Unknown(UnknownReason::NoController);
const ABSENT: Failure = Failure::Unknown(UnknownReason::Absent);

/// The descriptors that a cgroup keeps open: every file that is read more often than limits are. Opening and closing, with the
/// kernel's allocations for it, costs several times as much as most reads (`docs/benchmarks.md`).
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    usage: Option<OwnedFd>,
    /// v1 only.
    throttling: Option<OwnedFd>,
    memory: Option<OwnedFd>,
    detail: Option<OwnedFd>,
    events: Option<OwnedFd>,
    /// v1 only: the other half of the events.
    oom_kills: Option<OwnedFd>,
    cpu_pressure: Option<OwnedFd>,
    memory_pressure: Option<OwnedFd>,
}

impl OpenFiles {
    /// Number of descriptors at most.
    pub(super) const MAX: usize = 8;
}

/// The files of one cgroup in one sweep.
pub(super) struct Files<'a> {
    pub(super) controllers: &'a Controllers,
    pub(super) directories: &'a Directories,
    pub(super) open: &'a mut OpenFiles,
    /// Whether descriptors may be kept open.
    pub(super) keep_open: bool,
    pub(super) reader: &'a mut Reader,
}

impl Files<'_> {
    pub(super) fn cpu(&mut self) -> Result<CpuCounters, Failure> {
        let usage = self.controllers.usage.ok_or(NO_CONTROLLER)?;
        let mut counters = match usage.version {
            Version::V2 => self.read(usage, |open| &mut open.usage, File::CpuStat, parse::cpu_stat)?,
            Version::V1 => {
                let file = File::CpuacctUsage;
                let usage = self.read(usage, |open| &mut open.usage, file, parse::nanoseconds)?;
                CpuCounters { usage, throttling: None }
            }
        };
        if let Some(quota) = self.controllers.quota.filter(|quota| quota.version == Version::V1) {
            let open: fn(&mut OpenFiles) -> &mut Option<OwnedFd> = |open| &mut open.throttling;
            counters.throttling = match self.read(quota, open, File::CpuStat, parse::throttling) {
                Ok(throttling) => Some(throttling),
                Err(Failure::Gone) => return Err(Failure::Gone),
                Err(Failure::Unknown(_)) => None,
            };
        }
        Ok(counters)
    }

    pub(super) fn cpu_limit(&mut self) -> Result<Limit<Cores>, Failure> {
        let quota = self.controllers.quota.ok_or(NO_CONTROLLER)?;
        if quota.version == Version::V2 {
            return self.read_once(quota, File::CpuMax, parse::cpu_max);
        }
        let Limit::Of(micros) = self.read_once(quota, File::CfsQuota, parse::cfs_quota)? else {
            return Ok(Limit::Unlimited);
        };
        let period = self.read_once(quota, File::CfsPeriod, parse::line_number)?;
        parse::cores(micros, period).ok_or_else(|| self.reader.malformed(File::CfsQuota))
    }

    /// A missing pressure file is not counted as an error: the kernel may be built without, and v1 has none.
    pub(super) fn cpu_pressure(&mut self) -> Result<f64, Failure> {
        let mount = self.controllers.pressure.ok_or(ABSENT)?;
        self.read(mount, |open| &mut open.cpu_pressure, File::CpuPressure, parse::pressure)
    }

    pub(super) fn memory(&mut self) -> Result<Bytes, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        let file = match mount.version {
            Version::V1 => File::MemoryUsage,
            Version::V2 => File::MemoryCurrent,
        };
        self.read(mount, |open| &mut open.memory, file, parse::bytes)
    }

    pub(super) fn memory_detail(&mut self) -> Result<MemoryDetail, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        let parse = match mount.version {
            Version::V1 => parse::memory_stat_v1,
            Version::V2 => parse::memory_stat,
        };
        self.read(mount, |open| &mut open.detail, File::MemoryStat, parse)
    }

    pub(super) fn memory_limit(&mut self) -> Result<Limit<Bytes>, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        match mount.version {
            Version::V1 => self.read_once(mount, File::MemoryLimit, parse::memory_limit),
            Version::V2 => self.read_once(mount, File::MemoryMax, parse::memory_max),
        }
    }

    /// On v1 the equivalents: how often the limit was hit, and the OOM kills. It has no equivalent of `memory.high`.
    pub(super) fn memory_events(&mut self) -> Result<MemoryEvents, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        match mount.version {
            Version::V2 => {
                self.read(mount, |open| &mut open.events, File::MemoryEvents, parse::memory_events)
            }
            Version::V1 => Ok(MemoryEvents {
                high: 0,
                max: self.read(mount, |open| &mut open.events, File::MemoryFailcnt, parse::line_number)?,
                oom_kill: self.read(mount, |open| &mut open.oom_kills, File::OomControl, parse::oom_kills)?,
            }),
        }
    }

    /// As [`Files::cpu_pressure`].
    pub(super) fn memory_pressure(&mut self) -> Result<f64, Failure> {
        let mount = self.controllers.pressure.ok_or(ABSENT)?;
        self.read(mount, |open| &mut open.memory_pressure, File::MemoryPressure, parse::pressure)
    }

    /// Reads a file and, if allowed, keeps it open.
    fn read<T>(
        &mut self,
        mount: ControllerMount,
        descriptor: fn(&mut OpenFiles) -> &mut Option<OwnedFd>,
        file: File,
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        let open = descriptor(self.open);
        if let Some(fd) = open {
            return self.reader.read(fd.as_fd(), file, parse);
        }
        let fd = self.reader.open(directory(self.directories, mount)?, file)?;
        let result = self.reader.read(fd.as_fd(), file, parse);
        if self.keep_open {
            *open = Some(fd);
        }
        result
    }

    /// Opens, reads and closes a file.
    fn read_once<T>(
        &mut self,
        mount: ControllerMount,
        file: File,
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        let fd = self.reader.open(directory(self.directories, mount)?, file)?;
        self.reader.read(fd.as_fd(), file, parse)
    }
}

fn directory(directories: &Directories, mount: ControllerMount) -> Result<BorrowedFd<'_>, Failure> {
    directories.get(mount.index).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(ABSENT)
}

/// Opens the directory at `path` below each hierarchy; only that of the primary one must exist.
pub(super) fn open_directories(mounts: &Mounts, path: &Path) -> Result<Directories, Errno> {
    let primary = mounts.primary();
    let mut directories = Vec::with_capacity(mounts.paths.len());
    for (index, root) in mounts.paths.iter().enumerate() {
        match open_directory(&root.join(path)) {
            Ok(fd) => directories.push(Some(fd)),
            Err(errno) if index == primary => return Err(errno),
            Err(_) => directories.push(None),
        }
    }
    Ok(directories)
}

/// Opens one directory; a symbolic link is not followed.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}
