//! One cgroup's files by what they contain, under their v1 or v2 names.
//!
//! The hierarchies of v1 are separate mounts, in which the same cgroup usually has the same relative path (see [`Place`]). A missing
//! file makes its own number unknown, not its neighbors. Proof: `tests/trees.rs`, `tests/limits.rs`, `tests/damage.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit};

use super::mounts::{ControllerMount, Controllers, Mounts, Version};
use super::parse;
use super::places::Place;
use super::reader::{Failure, File, Reader};
use crate::sample::{CpuCounters, MemoryDetail, Read, Throttling};

/// A cgroup's directory in each hierarchy, by [`ControllerMount::index`].
pub(super) type Directories = Vec<Option<OwnedFd>>;

const NO_CONTROLLER: Failure = Failure::Unknown(UnknownReason::NoController);
const ABSENT: Failure = Failure::Unknown(UnknownReason::Absent);

/// The descriptors that a cgroup keeps open: every file of its own that is read more often than limits are. Opening and closing, with the
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
    /// v2 only.
    populated: Option<OwnedFd>,
}

impl OpenFiles {
    /// Number of descriptors at most.
    pub(super) const MAX: usize = 9;
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
        let file = match self.controllers.quota.ok_or(NO_CONTROLLER)?.version {
            Version::V1 => File::CfsQuota,
            Version::V2 => File::CpuMax,
        };
        self.quota()?.ok_or_else(|| self.reader.absent(file))
    }

    /// The CPU quota. Absent where it may be anything, since its file is missing without an explanation; not counted as an error.
    fn quota(&mut self) -> Result<Option<Limit<Cores>>, Failure> {
        let mount = self.controllers.quota.ok_or(NO_CONTROLLER)?;
        let limit = match mount.version {
            Version::V2 => self.read_optional(mount, File::CpuMax, parse::cpu_max)?,
            Version::V1 => match self.read_optional(mount, File::CfsQuota, parse::cfs_quota)? {
                Some(Limit::Of(micros)) => {
                    let period = self.read_once(mount, File::CfsPeriod, parse::line_number)?;
                    let limit = parse::cores(micros, period);
                    Some(limit.ok_or_else(|| self.reader.malformed(File::CfsQuota))?)
                }
                other => other.map(|_| Limit::Unlimited),
            },
        };
        match limit {
            None if self.has_no_quota(mount)? => Ok(Some(Limit::Unlimited)),
            limit => Ok(limit),
        }
    }

    /// Whether there is no quota file because nothing is enforced: the controller is enabled, but the kernel was built without quotas
    /// (`CONFIG_CFS_BANDWIDTH`), or the controller is not enabled in this cgroup.
    fn has_no_quota(&mut self, mount: ControllerMount) -> Result<bool, Failure> {
        let directory = directory(self.directories, mount)?;
        if mount.version == Version::V1 {
            return Ok(Reader::has(directory, File::CpuShares));
        }
        if Reader::has(directory, File::CpuWeight) {
            return Ok(true);
        }
        let enabled = self.read_optional(mount, File::CgroupControllers, parse::has_cpu_controller)?;
        Ok(enabled == Some(false))
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
        let file = match mount.version {
            Version::V1 => File::MemoryLimit,
            Version::V2 => File::MemoryMax,
        };
        self.memory_max()?.ok_or_else(|| self.reader.absent(file))
    }

    /// The memory limit; absent where its file is missing, which is not counted as an error.
    fn memory_max(&mut self) -> Result<Option<Limit<Bytes>>, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        match mount.version {
            Version::V1 => self.read_optional(mount, File::MemoryLimit, parse::memory_limit),
            Version::V2 => self.read_optional(mount, File::MemoryMax, parse::memory_max),
        }
    }

    /// Reduces the limits to those of the cgroup `container` directly below this one, if there is one: some versions of crun make it
    /// and set the limits there. Returns whether there is one. A tenant may make it too, and can only tighten its own limits so.
    pub(super) fn tighten(&mut self, cpu: &mut Read<Limit<Cores>>, memory: &mut Read<Limit<Bytes>>) -> bool {
        let directories = match self.inner() {
            Ok(Some(directories)) => directories,
            Ok(None) | Err(Failure::Gone) => return false,
            Err(Failure::Unknown(reason)) => {
                (*cpu, *memory) = (Read::Unknown(reason), Read::Unknown(reason));
                return true;
            }
        };
        let mut open = OpenFiles::default();
        let mut inner = self.of(&directories, &mut open);
        *cpu = tighter(*cpu, inner.quota());
        *memory = tighter(*memory, inner.memory_max());
        true
    }

    /// How often the quota of the cgroup `container` directly below this one ran out; absent where that is not known.
    pub(super) fn inner_throttling(&mut self) -> Option<Throttling> {
        let (quota, directories) = (self.controllers.quota?, self.inner().ok()??);
        let mut open = OpenFiles::default();
        self.of(&directories, &mut open).read_once(quota, File::CpuStat, parse::throttling).ok()
    }

    /// Those of another cgroup, which stay open no longer than this.
    fn of<'b>(&'b mut self, directories: &'b Directories, open: &'b mut OpenFiles) -> Files<'b> {
        let Files { controllers, ref mut reader, .. } = *self;
        Files { controllers, directories, open, keep_open: false, reader }
    }

    /// The directories named `container` below this cgroup's, in the hierarchies that have limits.
    fn inner(&mut self) -> Result<Option<Directories>, Failure> {
        let mut inner: Option<Directories> = None;
        for mount in [self.controllers.quota, self.controllers.memory].into_iter().flatten() {
            let known = inner.as_ref().is_some_and(|inner| inner[mount.index].is_some());
            let Some(above) = self.directories[mount.index].as_ref().filter(|_| !known) else {
                continue;
            };
            match openat(above, c"container", DIRECTORY, Mode::empty()) {
                Ok(fd) => {
                    let none = || self.directories.iter().map(|_| None).collect();
                    inner.get_or_insert_with(none)[mount.index] = Some(fd);
                }
                // a link or file of this name is the tenant's or nobody's; one hierarchy without it means that the others have none
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENODEV) => break,
                Err(errno) => return Err(self.reader.failure(File::Directory, errno)),
            }
        }
        Ok(inner)
    }

    /// On v1 the equivalents: how often the limit was hit, and the OOM kills, each absent where it cannot be read. It has no equivalent of
    /// `memory.high`.
    pub(super) fn memory_events(&mut self) -> Result<MemoryEvents, Failure> {
        let mount = self.controllers.memory.ok_or(NO_CONTROLLER)?;
        if mount.version == Version::V2 {
            return self.read(mount, |open| &mut open.events, File::MemoryEvents, parse::memory_events);
        }
        let max = self.read(mount, |open| &mut open.events, File::MemoryFailcnt, parse::line_number);
        let oom_kill = self.read(mount, |open| &mut open.oom_kills, File::OomControl, parse::oom_kills);
        match (max, oom_kill) {
            (Err(Failure::Gone), _) | (_, Err(Failure::Gone)) => Err(Failure::Gone),
            (Err(unknown), Err(_)) => Err(unknown),
            (max, oom_kill) => {
                Ok(MemoryEvents { high: None, max: max.ok(), oom_kill: oom_kill.ok().flatten() })
            }
        }
    }

    /// Whether a process is in the cgroup or below it. Only of the hierarchy in which its CPU time is counted: in a hybrid its processes
    /// may be elsewhere in the unified one. As [`Files::cpu_pressure`], a missing file is no error.
    pub(super) fn populated(&mut self) -> Result<bool, Failure> {
        let mount = self.controllers.usage.filter(|usage| usage.version == Version::V2).ok_or(ABSENT)?;
        self.read(mount, |open| &mut open.populated, File::CgroupEvents, parse::populated)
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
        self.read_optional(mount, file, parse)?.ok_or_else(|| self.reader.absent(file))
    }

    /// As [`Files::read_once`]; absent where the cgroup has no such file, which is not counted.
    fn read_optional<T>(
        &mut self,
        mount: ControllerMount,
        file: File,
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let fd = self.reader.open_optional(directory(self.directories, mount)?, file)?;
        fd.map(|fd| self.reader.read(fd.as_fd(), file, parse)).transpose()
    }
}

/// The smaller one of a limit and the one below it. Where there is none below, or no longer, the limit itself; where the one below may be
/// smaller, it is unknown.
fn tighter<T: Copy + PartialOrd>(
    limit: Read<Limit<T>>,
    below: Result<Option<Limit<T>>, Failure>,
) -> Read<Limit<T>> {
    match (limit, below) {
        (Read::Value(Limit::Unlimited), Ok(Some(below))) => Read::Value(below),
        (Read::Value(Limit::Of(limit)), Ok(Some(Limit::Of(below)))) if below < limit => {
            Read::Value(Limit::Of(below))
        }
        (Read::Value(_), Err(Failure::Unknown(reason)))
            if !matches!(reason, UnknownReason::Absent | UnknownReason::NoController) =>
        {
            Read::Unknown(reason)
        }
        (limit, _) => limit,
    }
}

fn directory(directories: &Directories, mount: ControllerMount) -> Result<BorrowedFd<'_>, Failure> {
    directories.get(mount.index).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(ABSENT)
}

/// Opens the directory in each hierarchy; only the one in which the cgroup was found must exist.
pub(super) fn open_directories(mounts: &Mounts, place: &Place) -> Result<Directories, Errno> {
    let mut directories = Vec::with_capacity(mounts.paths.len());
    for (index, root) in mounts.paths.iter().enumerate() {
        match open_directory(&root.join(place.within(index))) {
            Ok(fd) => directories.push(Some(fd)),
            Err(errno) if index == place.hierarchy => return Err(errno),
            Err(_) => directories.push(None),
        }
    }
    Ok(directories)
}

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// Opens one directory; a symbolic link is not followed.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, DIRECTORY, Mode::empty())
}

#[cfg(test)]
impl OpenFiles {
    /// Number of descriptors now.
    pub(super) fn count(&self) -> usize {
        let OpenFiles { usage, throttling, memory, detail, events, oom_kills, .. } = self;
        let OpenFiles { cpu_pressure, memory_pressure, populated, .. } = self;
        let all: [&Option<OwnedFd>; OpenFiles::MAX] =
            [usage, throttling, memory, detail, events, oom_kills, cpu_pressure, memory_pressure, populated];
        all.into_iter().flatten().count()
    }
}
