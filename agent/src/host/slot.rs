//! One watched cgroup: its open descriptors, and whose turn it is in a sweep.
//!
//! The hot path. A slot that holds its descriptors reads without building a path, looking anything up or allocating.
//! One without (the process may not open enough) opens and closes everything each time. Proof: `tests/plan.rs` and
//! `tests/damage.rs`; on real cgroups `agent/tests/differential.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use plimsoll_contract::report::UnknownReason;
use plimsoll_contract::{Bytes, Limit};

use super::files::{Failure, File, Reader};
use super::mounts::{Mounts, Seats, Version};
use super::parse;
use super::spelling::{Directories, Files, Kept, NO_CONTROLLER, open_directories, open_directory};
use crate::sample::{CpuCounters, Inode, MemoryDetail, Moment, Read, Reading, Target};

/// Every how many sweeps a cgroup's events, pressures and (unless that is slow) `memory.stat` are read.
pub(super) const DETAIL_EVERY: u64 = 5;
/// Every how many sweeps the limits of a pod that is not managed are read.
pub(super) const LIMITS_EVERY: u64 = 10;
/// For so many sweeps the limits of a new cgroup are read in every one: the runtime sets them a moment after it made the
/// cgroup, and a first band of the request, because the quota was not there yet, would be wrong.
pub(super) const YOUNG: u8 = 20;
/// So that limits and details of one cgroup do not fall into the same sweep.
const LIMITS_OFFSET: u64 = 2;
/// Least often that `memory.stat` is read where it is slow.
const SELDOMEST: u64 = DETAIL_EVERY * 64;
/// A `memory.stat` read that takes longer is slow: thousands of dead cgroups, or a contended flush.
const SLOW: Duration = Duration::from_millis(50);
/// Less than this is no movement: the kernel charges memory in batches of 64 pages.
const CHARGE_BATCH: u64 = 256 << 10;

/// One watched cgroup.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) target: Target,
    /// Below each hierarchy's root.
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
    /// Whether its limits are read in every sweep.
    pub(super) managed: bool,
    /// Found gone; never read again.
    pub(super) gone: bool,
    /// Spreads what is not read in every sweep evenly over sweeps.
    phase: u64,
    /// `None`: opened on demand.
    directories: Option<Directories>,
    kept: Kept,
    /// Sweeps in which its limits are still read every time; at [`YOUNG`] nothing was read yet, so everything is due.
    young: u8,
    /// Whether a limit was in force when last read. A pod's own cgroup is only read while there is one.
    limited: bool,
    /// Memory in use when `memory.stat` was last read.
    detailed_at: Bytes,
    /// Every how many sweeps `memory.stat` is read.
    stat_every: u64,
}

/// What a sweep hands to each slot.
pub(super) struct Sweep<'a, C> {
    pub(super) mounts: &'a Mounts,
    pub(super) clock: C,
    /// Sweeps since the start.
    pub(super) tick: u64,
    /// Counts the slow `memory.stat` reads.
    pub(super) slow: &'a mut u64,
}

impl Slot {
    /// Opens the cgroup at `path` below each hierarchy. `hold`: whether to keep descriptors.
    ///
    /// # Errors
    /// The directory of the primary hierarchy could not be opened; [`Failure::Gone`] when it is no more.
    pub(super) fn open(
        target: Target,
        path: &Path,
        mounts: &Mounts,
        reader: &mut Reader,
        hold: bool,
    ) -> Result<Slot, Failure> {
        let directories = open_directories(mounts, path).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => Failure::Gone,
            errno => reader.failure(File::Directory, errno),
        })?;
        let primary = directories[mounts.primary()].as_ref().ok_or(Failure::Gone)?;
        let stat = fstat(primary).map_err(|errno| reader.failure(File::Directory, errno))?;
        Ok(Slot {
            target,
            path: path.to_owned(),
            inode: Inode { device: stat.st_dev, number: stat.st_ino },
            managed: false,
            gone: false,
            phase: 0,
            directories: hold.then_some(directories),
            kept: Kept::default(),
            young: YOUNG,
            limited: false,
            detailed_at: Bytes(0),
            stat_every: DETAIL_EVERY,
        })
    }

    /// With its place in the rota.
    pub(super) fn in_phase(self, phase: u64, managed: bool) -> Slot {
        Slot { phase, managed, ..self }
    }

    /// How many descriptors a slot may hold.
    pub(super) fn cost(mounts: &Mounts) -> usize {
        mounts.paths.len() + Kept::MOST
    }

    /// How many descriptors it is to be charged for.
    pub(super) fn held(&self, mounts: &Mounts) -> usize {
        if self.directories.is_some() { Slot::cost(mounts) } else { 0 }
    }

    /// Whether some hierarchy had no directory for it when it was opened: the kubelet makes them one after another.
    pub(super) fn is_partial(&self) -> bool {
        self.directories.as_ref().is_some_and(|directories| directories.iter().any(Option::is_none))
    }

    /// Opens the directories that were missing, if they are there by now.
    pub(super) fn complete(&mut self, mounts: &Mounts) {
        let Some(directories) = &mut self.directories else {
            return;
        };
        for (directory, root) in directories.iter_mut().zip(&mounts.paths) {
            if directory.is_none() {
                *directory = open_directory(&root.join(&self.path)).ok();
            }
        }
    }

    /// Reads what is due. `None` where there is nothing to say: a pod's own cgroup without a limit, or a cgroup that
    /// went away, which is then marked [`Slot::gone`].
    pub(super) fn read<C: Fn() -> Moment>(
        &mut self,
        reader: &mut Reader,
        sweep: &mut Sweep<'_, C>,
    ) -> Option<Reading> {
        // Taken out and put back, as the reads below change the rest of the slot.
        let held = self.directories.take();
        let hold = held.is_some();
        let directories = match held {
            Some(directories) => Ok(directories),
            None => open_directories(sweep.mounts, &self.path),
        };
        let result = match directories {
            Ok(directories) => {
                let result = self.read_in(&directories, hold, reader, sweep);
                self.directories = hold.then_some(directories);
                result
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Failure::Gone),
            Err(errno) => Err(reader.failure(File::Directory, errno)),
        };
        match result {
            Ok(reading) => reading,
            Err(Failure::Unknown(reason)) => Some(self.nothing_but(reason, (sweep.clock)())),
            Err(Failure::Gone) => {
                self.retire();
                None
            }
        }
    }

    /// Closes everything.
    pub(super) fn retire(&mut self) {
        self.gone = true;
        self.directories = None;
        self.kept = Kept::default();
    }

    /// `Err` only for gone.
    fn read_in<C: Fn() -> Moment>(
        &mut self,
        directories: &Directories,
        hold: bool,
        reader: &mut Reader,
        sweep: &mut Sweep<'_, C>,
    ) -> Result<Option<Reading>, Failure> {
        let seats = &sweep.mounts.seats;
        let mut files = Files { directories, hold, reader };
        let turn = sweep.tick.wrapping_add(self.phase);
        let was_limited = self.limited;
        let (mut cpu_limit, mut memory_limit) = (Read::NotDue, Read::NotDue);
        let (fresh, young) = (self.young == YOUNG, self.young > 0);
        self.young = self.young.saturating_sub(1);
        if young || self.managed || turn % LIMITS_EVERY == LIMITS_OFFSET {
            cpu_limit = settle(files.cpu_limit(seats.quota))?;
            memory_limit = settle(files.memory_limit(seats.memory))?;
            self.limited = is_bound(&cpu_limit, self.limited) | is_bound(&memory_limit, self.limited);
        }
        if self.target.container.is_none() && !self.limited && !was_limited {
            return Ok(None);
        }
        let before = (sweep.clock)();
        let cpu = settle(self.cpu(&mut files, seats))?;
        let at = Moment((before.0 + (sweep.clock)().0) / 2);
        let memory = settle(files.memory(seats.memory, &mut self.kept))?;

        let due = fresh || turn.is_multiple_of(DETAIL_EVERY);
        let mut reading = Reading { cpu, cpu_limit, memory, memory_limit, ..self.blank(at) };
        if fresh || self.stat_is_due(turn, memory) {
            reading.memory_detail = settle(self.detail(&mut files, memory, sweep))?;
        }
        if due {
            reading.cpu_pressure = settle(files.cpu_pressure(seats.pressure, &mut self.kept))?;
            reading.memory_pressure = settle(files.memory_pressure(seats.pressure, &mut self.kept))?;
            reading.memory_events = settle(files.memory_events(seats.memory, &mut self.kept))?;
        }
        Ok(Some(reading))
    }

    fn cpu(&mut self, files: &mut Files<'_>, seats: &Seats) -> Result<CpuCounters, Failure> {
        let seat = seats.usage.ok_or(NO_CONTROLLER)?;
        let mut counters = match seat.version {
            Version::V2 => files.held(seat, &mut self.kept.usage, File::CpuStat, parse::cpu_stat)?,
            Version::V1 => {
                let usage = files.held(seat, &mut self.kept.usage, File::CpuacctUsage, parse::nanoseconds)?;
                CpuCounters { usage, throttling: None }
            }
        };
        if let Some(seat) = seats.quota.filter(|seat| seat.version == Version::V1) {
            counters.throttling =
                match files.held(seat, &mut self.kept.throttling, File::CpuStat, parse::throttling) {
                    Ok(throttling) => Some(throttling),
                    Err(Failure::Gone) => return Err(Failure::Gone),
                    Err(Failure::Unknown(_)) => None,
                };
        }
        Ok(counters)
    }

    fn stat_is_due(&self, turn: u64, memory: Read<Bytes>) -> bool {
        let moved = memory.value().is_some_and(|now| {
            let change = now.0.abs_diff(self.detailed_at.0);
            // Where the read is slow, movement is no reason to suffer it more often.
            self.stat_every == DETAIL_EVERY && change >= CHARGE_BATCH && change >= self.detailed_at.0 / 20
        });
        moved || turn.is_multiple_of(self.stat_every)
    }

    fn detail<C: Fn() -> Moment>(
        &mut self,
        files: &mut Files<'_>,
        memory: Read<Bytes>,
        sweep: &mut Sweep<'_, C>,
    ) -> Result<MemoryDetail, Failure> {
        let before = (sweep.clock)();
        let detail = files.memory_detail(sweep.mounts.seats.memory, &mut self.kept);
        if (sweep.clock)().since(before) > SLOW {
            *sweep.slow += 1;
            self.stat_every = (self.stat_every * 2).min(SELDOMEST);
        } else {
            self.stat_every = (self.stat_every / 2).max(DETAIL_EVERY);
        }
        self.detailed_at = memory.value().unwrap_or(self.detailed_at);
        detail
    }

    fn blank(&self, at: Moment) -> Reading {
        Reading {
            at,
            inode: self.inode,
            cpu: Read::NotDue,
            cpu_limit: Read::NotDue,
            cpu_pressure: Read::NotDue,
            memory: Read::NotDue,
            memory_detail: Read::NotDue,
            memory_limit: Read::NotDue,
            memory_pressure: Read::NotDue,
            memory_events: Read::NotDue,
        }
    }

    fn nothing_but(&self, reason: UnknownReason, at: Moment) -> Reading {
        Reading { cpu: Read::Unknown(reason), memory: Read::Unknown(reason), ..self.blank(at) }
    }
}

/// What a read says in a reading; gone concerns the whole cgroup.
fn settle<T>(result: Result<T, Failure>) -> Result<Read<T>, Failure> {
    match result {
        Ok(value) => Ok(Read::Value(value)),
        Err(Failure::Unknown(reason)) => Ok(Read::Unknown(reason)),
        Err(Failure::Gone) => Err(Failure::Gone),
    }
}

/// Whether a limit is in force; as `before` where it could not be read.
fn is_bound<T: Copy>(limit: &Read<Limit<T>>, before: bool) -> bool {
    match limit {
        Read::Value(limit) => limit.bound().is_some(),
        Read::Unknown(_) | Read::NotDue => before,
    }
}

#[cfg(test)]
impl Slot {
    /// Everything is due again.
    pub(super) fn refresh(&mut self) {
        self.young = YOUNG;
    }
}
