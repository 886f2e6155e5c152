//! Reading one cgroup file, and counting what could not be read.
//!
//! One buffer serves all reads. A file that fills it is not one of ours. Errors are classified once, here: a vanished
//! cgroup is [`Failure::Gone`], everything else is an [`UnknownReason`], counted by file.
//! Proof: `tests/damage.rs`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::sys::uio::pread;
use plimsoll_contract::report::UnknownReason;

/// Larger than any file we read: the longest, `memory.stat`, has about 2 KiB.
const BUFFER: usize = 32 << 10;

/// A file that is read, or a directory that is listed. Closed: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// `cpu.stat` (v1 and v2).
    CpuStat,
    /// `cpuacct.usage` (v1).
    CpuacctUsage,
    /// `cpu.max`.
    CpuMax,
    /// `cpu.cfs_quota_us` (v1).
    CfsQuota,
    /// `cpu.cfs_period_us` (v1).
    CfsPeriod,
    /// `cpu.pressure`.
    CpuPressure,
    /// `memory.current`.
    MemoryCurrent,
    /// `memory.usage_in_bytes` (v1).
    MemoryUsage,
    /// `memory.stat` (v1 and v2).
    MemoryStat,
    /// `memory.events`.
    MemoryEvents,
    /// `memory.failcnt` (v1).
    MemoryFailcnt,
    /// `memory.oom_control` (v1).
    OomControl,
    /// `memory.max`.
    MemoryMax,
    /// `memory.limit_in_bytes` (v1).
    MemoryLimit,
    /// `memory.pressure`.
    MemoryPressure,
    /// A directory that was listed or opened.
    Directory,
}

impl File {
    /// Every file.
    pub const ALL: [File; 16] = [
        File::CpuStat,
        File::CpuacctUsage,
        File::CpuMax,
        File::CfsQuota,
        File::CfsPeriod,
        File::CpuPressure,
        File::MemoryCurrent,
        File::MemoryUsage,
        File::MemoryStat,
        File::MemoryEvents,
        File::MemoryFailcnt,
        File::OomControl,
        File::MemoryMax,
        File::MemoryLimit,
        File::MemoryPressure,
        File::Directory,
    ];

    /// Its name in a cgroup's directory, and in metrics.
    pub fn as_str(self) -> &'static str {
        self.name().to_str().unwrap_or("directory")
    }

    fn name(self) -> &'static CStr {
        match self {
            File::CpuStat => c"cpu.stat",
            File::CpuacctUsage => c"cpuacct.usage",
            File::CpuMax => c"cpu.max",
            File::CfsQuota => c"cpu.cfs_quota_us",
            File::CfsPeriod => c"cpu.cfs_period_us",
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

/// How often what could not be read, since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadErrors {
    counts: [[u64; UnknownReason::ALL.len()]; File::ALL.len()],
}

impl ReadErrors {
    /// One count.
    pub fn get(&self, file: File, reason: UnknownReason) -> u64 {
        self.counts[file as usize][reason as usize]
    }

    /// The counts that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (File, UnknownReason, u64)> {
        File::ALL
            .into_iter()
            .flat_map(move |file| UnknownReason::ALL.map(|reason| (file, reason, self.get(file, reason))))
            .filter(|(_, _, count)| *count > 0)
    }

    pub(super) fn count(&mut self, file: File, reason: UnknownReason) {
        self.counts[file as usize][reason as usize] += 1;
    }
}

/// Why a file gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The cgroup is no more.
    Gone,
    /// It stands, but this cannot be known now.
    Unknown(UnknownReason),
}

/// A kernel without pressure accounting, or with it switched off, is how that node is, and no error.
fn is_without_pressure(file: File, reason: UnknownReason) -> bool {
    matches!(file, File::CpuPressure | File::MemoryPressure)
        && matches!(reason, UnknownReason::Absent | UnknownReason::NoController)
}

/// Reads files into one buffer and keeps the counts.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Box<[u8]>,
    pub(super) errors: ReadErrors,
    /// Real cgroups tell by `cgroup.procs` whether they still stand; plain files by their links.
    pub(super) real: bool,
}

impl Reader {
    pub(super) fn new(real: bool) -> Reader {
        Reader { buffer: vec![0; BUFFER].into_boxed_slice(), errors: ReadErrors::default(), real }
    }

    /// Reads an open file from its start.
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
        // Not to hang should somebody have put a pipe there.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        openat(dir, file.name(), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT if !self.stands(dir) => Failure::Gone,
            errno => self.failure(file, errno),
        })
    }

    /// Opens, reads and closes a file of the cgroup whose directory is `dir`.
    pub(super) fn read_at<T>(
        &mut self,
        dir: BorrowedFd<'_>,
        file: File,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Failure> {
        let fd = self.open(dir, file)?;
        self.read(fd.as_fd(), file, parse)
    }

    /// Counts and classifies an error.
    pub(super) fn failure(&mut self, file: File, errno: Errno) -> Failure {
        let reason = match errno {
            Errno::ENODEV => return Failure::Gone,
            Errno::ENOENT => UnknownReason::Absent,
            Errno::EACCES | Errno::EPERM => UnknownReason::Denied,
            // Pressure accounting is compiled in but switched off.
            Errno::EOPNOTSUPP => UnknownReason::NoController,
            _ => UnknownReason::Failed,
        };
        self.unknown(file, reason)
    }

    /// Counts a file whose text makes no sense together with another's.
    pub(super) fn malformed(&mut self, file: File) -> Failure {
        self.unknown(file, UnknownReason::Malformed)
    }

    fn unknown(&mut self, file: File, reason: UnknownReason) -> Failure {
        if !is_without_pressure(file, reason) {
            self.errors.count(file, reason);
        }
        Failure::Unknown(reason)
    }

    /// Whether the directory is still linked: only then does a missing file mean just that.
    fn stands(&self, dir: BorrowedFd<'_>) -> bool {
        if self.real {
            fstatat(dir, c"cgroup.procs", AtFlags::empty()) != Err(Errno::ENOENT)
        } else {
            fstat(dir).is_ok_and(|stat| stat.st_nlink > 0)
        }
    }
}
