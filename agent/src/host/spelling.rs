//! One cgroup's files by what they tell, spelled as v1 or v2 spells them.
//!
//! v1's hierarchies are mounts of their own, in which the same cgroup has the same relative path.
//! Proof: `tests/trees.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plimsoll_contract::report::{MemoryEvents, UnknownReason};
use plimsoll_contract::{Bytes, Cores, Limit};

use super::files::{Failure, File, Reader};
use super::mounts::{Mounts, Seat, Version};
use super::parse;
use crate::sample::MemoryDetail;

/// A cgroup's directory in each hierarchy, by [`Seat::mount`].
pub(super) type Directories = Vec<Option<OwnedFd>>;

pub(super) const NO_CONTROLLER: Failure = Failure::Unknown(UnknownReason::NoController);
const ABSENT: Failure = Failure::Unknown(UnknownReason::Absent);

/// The descriptors that a slot keeps: everything that is read more often than limits are. Opening, closing and the
/// kernel's allocations for them cost several times what most reads do (`docs/benchmarks.md`).
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) usage: Option<OwnedFd>,
    /// v1 only.
    pub(super) throttling: Option<OwnedFd>,
    pub(super) memory: Option<OwnedFd>,
    detail: Option<OwnedFd>,
    events: Option<OwnedFd>,
    /// v1 only: the other half of the events.
    kills: Option<OwnedFd>,
    cpu_pressure: Option<OwnedFd>,
    memory_pressure: Option<OwnedFd>,
}

impl Kept {
    /// How many they are at most.
    pub(super) const MOST: usize = 8;
}

/// The files of one slot in one sweep.
pub(super) struct Files<'a> {
    pub(super) directories: &'a Directories,
    /// Whether descriptors may be kept.
    pub(super) hold: bool,
    pub(super) reader: &'a mut Reader,
}

impl Files<'_> {
    /// Reads a file whose descriptor is kept in `kept`.
    pub(super) fn held<T>(
        &mut self,
        seat: Seat,
        kept: &mut Option<OwnedFd>,
        file: File,
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        if let Some(fd) = kept {
            return self.reader.read(fd.as_fd(), file, parse);
        }
        let directory = directory(self.directories, seat)?;
        let fd = self.reader.open(directory, file)?;
        let result = self.reader.read(fd.as_fd(), file, parse);
        if self.hold {
            *kept = Some(fd);
        }
        result
    }

    fn once<T>(&mut self, seat: Seat, file: File, parse: fn(&[u8]) -> Option<T>) -> Result<T, Failure> {
        let directory = directory(self.directories, seat)?;
        self.reader.read_at(directory, file, parse)
    }

    pub(super) fn memory(&mut self, seat: Option<Seat>, kept: &mut Kept) -> Result<Bytes, Failure> {
        let seat = seat.ok_or(NO_CONTROLLER)?;
        let file = by_version(seat, File::MemoryUsage, File::MemoryCurrent);
        self.held(seat, &mut kept.memory, file, parse::bytes)
    }

    pub(super) fn memory_detail(
        &mut self,
        seat: Option<Seat>,
        kept: &mut Kept,
    ) -> Result<MemoryDetail, Failure> {
        let seat = seat.ok_or(NO_CONTROLLER)?;
        let parse = match seat.version {
            Version::V1 => parse::memory_stat_v1,
            Version::V2 => parse::memory_stat,
        };
        self.held(seat, &mut kept.detail, File::MemoryStat, parse)
    }

    pub(super) fn memory_limit(&mut self, seat: Option<Seat>) -> Result<Limit<Bytes>, Failure> {
        let seat = seat.ok_or(NO_CONTROLLER)?;
        match seat.version {
            Version::V1 => self.once(seat, File::MemoryLimit, parse::memory_limit),
            Version::V2 => self.once(seat, File::MemoryMax, parse::memory_max),
        }
    }

    /// On v1 the twins: how often the limit was hit, and the kills. It has nothing like `memory.high`.
    pub(super) fn memory_events(
        &mut self,
        seat: Option<Seat>,
        kept: &mut Kept,
    ) -> Result<MemoryEvents, Failure> {
        let seat = seat.ok_or(NO_CONTROLLER)?;
        match seat.version {
            Version::V2 => self.held(seat, &mut kept.events, File::MemoryEvents, parse::memory_events),
            Version::V1 => Ok(MemoryEvents {
                high: 0,
                max: self.held(seat, &mut kept.events, File::MemoryFailcnt, parse::line_number)?,
                oom_kill: self.held(seat, &mut kept.kills, File::OomControl, parse::oom_kills)?,
            }),
        }
    }

    pub(super) fn cpu_limit(&mut self, seat: Option<Seat>) -> Result<Limit<Cores>, Failure> {
        let seat = seat.ok_or(NO_CONTROLLER)?;
        if seat.version == Version::V2 {
            return self.once(seat, File::CpuMax, parse::cpu_max);
        }
        let Limit::Of(quota) = self.once(seat, File::CfsQuota, parse::cfs_quota)? else {
            return Ok(Limit::Unlimited);
        };
        let period = self.once(seat, File::CfsPeriod, parse::line_number)?;
        parse::cores(quota, period).ok_or_else(|| self.reader.malformed(File::CfsQuota))
    }

    /// Missing pressure files are not counted as errors: the kernel may be built without, and v1 has none.
    pub(super) fn cpu_pressure(&mut self, seat: Option<Seat>, kept: &mut Kept) -> Result<f64, Failure> {
        self.held(seat.ok_or(ABSENT)?, &mut kept.cpu_pressure, File::CpuPressure, parse::pressure)
    }

    /// As [`Files::cpu_pressure`].
    pub(super) fn memory_pressure(&mut self, seat: Option<Seat>, kept: &mut Kept) -> Result<f64, Failure> {
        self.held(seat.ok_or(ABSENT)?, &mut kept.memory_pressure, File::MemoryPressure, parse::pressure)
    }
}

fn by_version(seat: Seat, v1: File, v2: File) -> File {
    match seat.version {
        Version::V1 => v1,
        Version::V2 => v2,
    }
}

fn directory(directories: &Directories, seat: Seat) -> Result<BorrowedFd<'_>, Failure> {
    directories.get(seat.mount).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(ABSENT)
}

/// Opens the directory at `path` below each hierarchy; only the primary one must be there.
pub(super) fn open_directories(mounts: &Mounts, path: &Path) -> Result<Directories, Errno> {
    let primary = mounts.primary();
    let mut directories = Vec::with_capacity(mounts.paths.len());
    for (place, root) in mounts.paths.iter().enumerate() {
        match open_directory(&root.join(path)) {
            Ok(fd) => directories.push(Some(fd)),
            Err(errno) if place == primary => return Err(errno),
            Err(_) => directories.push(None),
        }
    }
    Ok(directories)
}

/// Opens one directory; a link is none.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}
