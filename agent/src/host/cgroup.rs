//! One cgroup: its open descriptors, and what of it is due in a sweep.
//!
//! The hot path. A cgroup that keeps its descriptors open is read without building a path, looking anything up or allocating, unless its quota is
//! in a cgroup below it (older crun).
//! One without (see [`descriptors`](super::descriptors)) opens and closes everything each time. Proof: `tests/plan.rs`,
//! `tests/descriptors.rs` and `tests/damage.rs`; on real cgroups `agent/tests/differential.rs`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::{Bytes, Limit, Moment};

use super::files::{Directories, Files, OpenFiles, open_directories, open_directory};
use super::mounts::Mounts;
use super::places::Place;
use super::reader::{Failure, File, Reader};
use crate::sample::{DETAIL_EVERY, Inode, Read, Reading, Target, has_memory_changed};

/// Interval, in sweeps, at which the limits of a pod that is not managed are read.
const LIMITS_EVERY: u64 = 10;
/// Interval, in sweeps, at which a container is read that no roster lists. Its usage is part of its pod's.
const UNLISTED_EVERY: u64 = 10;
/// Longest time, but for one sweep, between two readings of pressures, events, and the memory of a pod's own cgroup without a limit.
const DETAILS_WITHIN: Duration = Duration::from_millis(4500);
/// Keeps limits and details of one cgroup out of the same sweep.
const LIMITS_OFFSET: u64 = 2;
/// For this many sweeps the limits of a new cgroup are read in every one: the runtime sets them shortly after it created the
/// cgroup, and a first band relative to the request, because the quota was not set yet, would be wrong.
pub(super) const NEW_SWEEPS: u8 = 20;
/// Longest interval, in sweeps, at which `memory.stat` is read where it is slow.
const MAX_DETAIL_EVERY: u64 = DETAIL_EVERY * 64;
/// A read of `memory.stat` that takes longer is slow: thousands of dead cgroups, or a contended flush.
const SLOW_READ: Duration = Duration::from_millis(50);

/// One cgroup that is read.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub(super) target: Target,
    pub(super) place: Place,
    pub(super) inode: Inode,
    /// Whether its limits and memory events are read in every sweep, and its `memory.stat` near the limit.
    pub(super) managed: bool,
    /// Whether nothing depends on it: a container that no roster lists, such as the pause container.
    pub(super) unlisted: bool,
    /// Found removed; never read again.
    pub(super) gone: bool,
    /// Added to the number of the sweep, so that what is not read in every sweep is distributed evenly over sweeps.
    pub(super) sweep_offset: u64,
    /// Whether its descriptors stay open. If not, everything is opened for every read.
    keep_open: bool,
    /// Those that stay open, once they were opened.
    directories: Option<Directories>,
    open: OpenFiles,
    /// Sweeps left in which its limits are read every time; at [`NEW_SWEEPS`] nothing was read yet, so everything is due.
    new_sweeps: u8,
    /// Whether there was a limit when last read. The memory in use of a pod's own cgroup is read in every sweep only while there is one.
    limited: bool,
    /// Whether a cgroup `container` below it may have limits too. A runtime makes that with the container: once this is not new, only
    /// one that was seen before is looked for.
    has_inner: bool,
    /// Whether its quota is the one that counts: then that counts the throttling, too.
    has_inner_quota: bool,
    /// When memory in use was last read.
    memory_read: Moment,
    /// When pressures and events were last read.
    details_read: Moment,
    /// Memory in use when `memory.stat` was last read.
    memory_at_detail: Bytes,
    /// Interval, in sweeps, at which `memory.stat` is read.
    detail_every: u64,
}

/// What a sweep provides to each cgroup.
pub(super) struct Sweep<'a, C> {
    pub(super) mounts: &'a Mounts,
    pub(super) clock: C,
    /// Number of the sweep.
    pub(super) number: u64,
    pub(super) reader: &'a mut Reader,
    /// Counts the slow reads of `memory.stat`.
    pub(super) slow_reads: &'a mut u64,
}

impl Cgroup {
    /// Opens the cgroup at `place`. `keep_open`: whether to keep descriptors.
    ///
    /// # Errors
    /// The directory in which it was found cannot be opened; [`Failure::Gone`] if it was removed.
    pub(super) fn open(
        target: Target,
        place: Place,
        mounts: &Mounts,
        reader: &mut Reader,
        keep_open: bool,
    ) -> Result<Cgroup, Failure> {
        let directories =
            open_directories(mounts, &place).map_err(|errno| directory_failure(reader, errno))?;
        let inode = inode(directories[place.hierarchy].as_ref(), reader)?;
        Ok(Cgroup {
            target,
            place,
            inode,
            managed: false,
            unlisted: false,
            gone: false,
            sweep_offset: 0,
            keep_open,
            directories: keep_open.then_some(directories),
            open: OpenFiles::default(),
            new_sweeps: NEW_SWEEPS,
            limited: false,
            has_inner: false,
            has_inner_quota: false,
            memory_read: Moment::default(),
            details_read: Moment::default(),
            memory_at_detail: Bytes(0),
            detail_every: DETAIL_EVERY,
        })
    }

    /// How many descriptors a cgroup may keep open.
    pub(super) fn max_descriptors(mounts: &Mounts) -> usize {
        mounts.paths.len() + OpenFiles::MAX
    }

    /// How many descriptors are reserved for it.
    pub(super) fn descriptors(&self, mounts: &Mounts) -> usize {
        if self.keep_open { Cgroup::max_descriptors(mounts) } else { 0 }
    }

    pub(super) fn keeps_open(&self) -> bool {
        self.keep_open
    }

    /// Closes its descriptors, or keeps those that the next reading opens.
    pub(super) fn set_keep_open(&mut self, keep_open: bool) {
        self.keep_open = keep_open;
        if !keep_open {
            self.close();
        }
    }

    /// Opens the directories that did not exist yet when it was opened: the kubelet creates those of the hierarchies one by one.
    pub(super) fn open_missing(&mut self, mounts: &Mounts) {
        let directories = self.directories.iter_mut().flatten();
        for (index, (directory, root)) in directories.zip(&mounts.paths).enumerate() {
            if directory.is_none() {
                *directory = open_directory(&root.join(self.place.within(index))).ok();
            }
        }
    }

    /// Reads what is due. `None` if the cgroup was removed, and is then marked as [`Cgroup::gone`], or is a pod's own without files:
    /// trees are captured with those of the containers only.
    pub(super) fn read<C: Fn() -> Moment>(&mut self, sweep: &mut Sweep<'_, C>) -> Option<Reading> {
        let turn = sweep.number.wrapping_add(self.sweep_offset);
        if self.unlisted && self.new_sweeps == 0 && !turn.is_multiple_of(UNLISTED_EVERY) {
            return None;
        }
        // moved out and back, since the reads below change the rest of the cgroup
        let result = self.take_directories(sweep).and_then(|directories| {
            let result = self.read_files(&directories, sweep);
            self.directories = self.keep_open.then_some(directories);
            result
        });
        match result {
            Ok(reading) => (self.target.container.is_some() || !is_empty(&reading)).then_some(reading),
            Err(Failure::Unknown(reason)) => {
                let (at, cpu, memory) = ((sweep.clock)(), Read::Unknown(reason), Read::Unknown(reason));
                Some(Reading { at, inode: self.inode, cpu, memory, ..Reading::default() })
            }
            Err(Failure::Gone) => {
                self.set_gone();
                None
            }
        }
    }

    /// Those that stayed open, or else opened by their paths: there may be another cgroup now.
    fn take_directories<C>(&mut self, sweep: &mut Sweep<'_, C>) -> Result<Directories, Failure> {
        if let Some(open) = self.directories.take() {
            return Ok(open);
        }
        let directories = open_directories(sweep.mounts, &self.place)
            .map_err(|errno| directory_failure(sweep.reader, errno))?;
        let found = inode(directories[self.place.hierarchy].as_ref(), sweep.reader)?;
        if found == self.inode { Ok(directories) } else { Err(Failure::Gone) }
    }

    /// Closes everything.
    pub(super) fn set_gone(&mut self) {
        self.gone = true;
        self.close();
    }

    fn close(&mut self) {
        self.directories = None;
        self.open = OpenFiles::default();
    }

    /// `Err` only if the cgroup was removed.
    fn read_files<C: Fn() -> Moment>(
        &mut self,
        directories: &Directories,
        sweep: &mut Sweep<'_, C>,
    ) -> Result<Reading, Failure> {
        let turn = sweep.number.wrapping_add(self.sweep_offset);
        let (was_limited, is_container) = (self.limited, self.target.container.is_some());
        let had_inner_quota = self.has_inner_quota;
        let (first, new) = (self.new_sweeps == NEW_SWEEPS, self.new_sweeps > 0);
        self.new_sweeps = self.new_sweeps.saturating_sub(1);
        let mut reading = Reading { inode: self.inode, ..Reading::default() };
        let mut files = Files {
            controllers: &sweep.mounts.controllers,
            directories,
            open: &mut self.open,
            keep_open: self.keep_open,
            reader: &mut *sweep.reader,
        };
        if new || self.managed || turn % LIMITS_EVERY == LIMITS_OFFSET {
            reading.cpu_limit = read(files.cpu_limit())?;
            reading.memory_limit = read(files.memory_limit())?;
            if is_container && (new || self.has_inner) {
                let own = reading.cpu_limit;
                self.has_inner = files.tighten(&mut reading.cpu_limit, &mut reading.memory_limit);
                // One that could not be read says nothing of the other.
                if own.value().is_some() {
                    self.has_inner_quota = reading.cpu_limit != own;
                }
            }
            self.limited =
                is_bound(reading.cpu_limit, was_limited) | is_bound(reading.memory_limit, was_limited);
        }
        let before = (sweep.clock)();
        reading.cpu = read(files.cpu())?;
        if let Read::Value(counters) = &mut reading.cpu {
            if self.has_inner_quota != had_inner_quota && !first {
                // What was counted elsewhere before is no rise.
                counters.throttling = None;
            } else if self.has_inner_quota {
                counters.throttling = files.inner_throttling();
            }
        }
        reading.at = Moment((before.0 + (sweep.clock)().0) / 2);
        let detail_due = first || turn.is_multiple_of(self.detail_every);
        // by time, too: an agent that sweeps seldom would read it too seldom for a mean
        let memory_due = detail_due
            || turn.is_multiple_of(DETAIL_EVERY)
            || reading.at.since(self.memory_read) >= DETAILS_WITHIN;
        if is_container || self.limited || memory_due {
            reading.memory = read(files.memory())?;
            self.memory_read = reading.at;
        }
        let memory = reading.memory.value().unwrap_or(self.memory_at_detail);
        let changed = has_memory_changed(self.memory_at_detail, memory);
        // what of it cannot be reclaimed may be near the limit, and grow into the page cache without a change of the sum
        let near_limit = is_container && self.managed && is_half(memory, reading.memory_limit);
        // where the read is slow, neither is a reason to do it more often
        if detail_due || ((changed || near_limit) && self.detail_every == DETAIL_EVERY) {
            let before = (sweep.clock)();
            let detail = files.memory_detail();
            if (sweep.clock)().since(before) > SLOW_READ {
                *sweep.slow_reads += 1;
                self.detail_every = (self.detail_every * 2).min(MAX_DETAIL_EVERY);
            } else {
                self.detail_every = (self.detail_every / 2).max(DETAIL_EVERY);
            }
            self.memory_at_detail = memory;
            reading.memory_detail = read(detail)?;
        }
        let is_old = reading.at.since(self.details_read) >= DETAILS_WITHIN;
        let details = first || turn.is_multiple_of(DETAIL_EVERY) || is_old;
        // also those of the pod: they count what happened in containers that are gone
        if details || self.managed {
            reading.memory_events = read(files.memory_events())?;
        }
        if details {
            self.details_read = reading.at;
            reading.cpu_pressure = read(files.cpu_pressure())?;
            reading.memory_pressure = read(files.memory_pressure())?;
            reading.populated = read(files.populated())?;
        }
        Ok(reading)
    }
}

/// The identity of the cgroup with this directory, which must exist.
fn inode(directory: Option<&OwnedFd>, reader: &mut Reader) -> Result<Inode, Failure> {
    let stat =
        fstat(directory.ok_or(Failure::Gone)?).map_err(|errno| reader.failure(File::Directory, errno))?;
    Ok(Inode { device: stat.st_dev, number: stat.st_ino })
}

fn directory_failure(reader: &mut Reader, errno: Errno) -> Failure {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Failure::Gone,
        errno => reader.failure(File::Directory, errno),
    }
}

/// The result of one file as part of a reading. That the cgroup is gone concerns the whole reading.
fn read<T>(result: Result<T, Failure>) -> Result<Read<T>, Failure> {
    match result {
        Ok(value) => Ok(Read::Value(value)),
        Err(Failure::Unknown(reason)) => Ok(Read::Unknown(reason)),
        Err(Failure::Gone) => Err(Failure::Gone),
    }
}

/// Whether there are no files to read in the cgroup.
fn is_empty(reading: &Reading) -> bool {
    fn none<T>(read: &Read<T>) -> bool {
        matches!(read, Read::NotDue | Read::Unknown(UnknownReason::Absent | UnknownReason::NoController))
    }
    let Reading { cpu, cpu_limit, memory, memory_limit, .. } = reading;
    none(cpu) && none(cpu_limit) && none(memory) && none(memory_limit)
}

/// Whether this is half of the limit, or more.
fn is_half(memory: Bytes, limit: Read<Limit<Bytes>>) -> bool {
    limit.value().and_then(Limit::bound).is_some_and(|limit| memory.0 >= limit.0 / 2)
}

/// Whether there is a limit; as `before` where it could not be read.
fn is_bound<T>(limit: Read<Limit<T>>, before: bool) -> bool {
    limit.value().map_or(before, |limit| limit.bound().is_some())
}

#[cfg(test)]
impl Cgroup {
    /// Makes everything due again.
    pub(super) fn refresh(&mut self) {
        self.new_sweeps = NEW_SWEEPS;
    }

    /// How many descriptors it keeps open.
    pub(super) fn count_open(&self) -> usize {
        self.directories.iter().flatten().flatten().count() + self.open.count()
    }
}
