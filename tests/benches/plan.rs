//! The files that a sweep of the agent reads, stated a second time, for the other readers.
//!
//! Must be the same as in the agent's `host/cgroup.rs`. Each run verifies it: the kernel counts the read calls of both, and
//! the table shows the counts side by side.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cgroups::{Cgroup, CgroupTree, Kind};

/// After this many sweeps every file was read as often as it is due.
pub(crate) const CYCLE: u32 = 10;

const DETAIL: Schedule = Schedule { every: 5, offset: 0 };
const LIMITS: Schedule = Schedule { every: 10, offset: 2 };
const ALWAYS: Schedule = Schedule { every: 1, offset: 0 };

/// Due in the sweeps where `(sweep + phase) % every == offset`.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    every: u32,
    offset: u32,
}

/// One file of one cgroup.
#[derive(Debug)]
pub(crate) struct PlannedFile {
    schedule: Schedule,
    phase: u32,
    /// Whether the agent holds it open.
    held: bool,
    directory: PathBuf,
    name: &'static str,
}

impl PlannedFile {
    /// Whether it is read in this sweep.
    pub(crate) fn is_due(&self, sweep: u32) -> bool {
        (sweep + self.phase) % self.schedule.every == self.schedule.offset
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }
}

/// Every file that the agent reads of `tree`, in the order of its cgroups.
pub(crate) fn of(tree: &CgroupTree) -> Vec<PlannedFile> {
    let mut plan = Vec::new();
    for (number, cgroup) in (1..).zip(&tree.cgroups) {
        for (controller, name, schedule, held) in files(tree.kind, cgroup) {
            plan.push(PlannedFile {
                schedule,
                phase: number,
                held,
                directory: tree.directory(cgroup, controller),
                name,
            });
        }
    }
    plan
}

/// In the format of `loop.c`.
pub(crate) fn as_text(plan: &[PlannedFile]) -> String {
    let mut text = String::new();
    let mut last = None;
    for PlannedFile { schedule, phase, held, directory, name } in plan {
        if last != Some(directory) {
            let _ = writeln!(text, "D {}", directory.display());
            last = Some(directory);
        }
        let _ =
            writeln!(text, "F {} {} {phase} {} {name}", schedule.every, schedule.offset, i32::from(*held));
    }
    text
}

type File = (&'static str, &'static str, Schedule, bool);

fn files(kind: Kind, cgroup: &Cgroup) -> Vec<File> {
    let mut files: Vec<File> = match kind {
        Kind::V1 => vec![
            ("cpu", "cpu.cfs_quota_us", LIMITS, false),
            ("memory", "memory.limit_in_bytes", LIMITS, false),
        ],
        Kind::V2 | Kind::Simulated => {
            vec![("cpu", "cpu.max", LIMITS, false), ("memory", "memory.max", LIMITS, false)]
        }
    };
    if kind == Kind::V1 && cgroup.limited {
        files.push(("cpu", "cpu.cfs_period_us", LIMITS, false));
    }
    // The memory in use of a pod without a limit of its own is read with its details.
    let memory = if cgroup.container || cgroup.limited { ALWAYS } else { DETAIL };
    files.extend_from_slice(match kind {
        Kind::V1 => &[
            ("cpuacct", "cpuacct.usage", ALWAYS, true),
            ("cpu", "cpu.stat", ALWAYS, true),
            ("memory", "memory.stat", DETAIL, true),
            ("memory", "memory.failcnt", DETAIL, true),
            ("memory", "memory.oom_control", DETAIL, true),
        ],
        Kind::V2 | Kind::Simulated => &[
            ("cpu", "cpu.stat", ALWAYS, true),
            ("memory", "memory.stat", DETAIL, true),
            ("memory", "memory.events", DETAIL, true),
            ("cpu", "cpu.pressure", DETAIL, true),
            ("memory", "memory.pressure", DETAIL, true),
            ("cpu", "cgroup.events", DETAIL, true),
        ],
    });
    files.push(match kind {
        Kind::V1 => ("memory", "memory.usage_in_bytes", memory, true),
        Kind::V2 | Kind::Simulated => ("memory", "memory.current", memory, true),
    });
    // By directory, so that each is listed once in the plan.
    files.sort_by_key(|(controller, ..)| *controller);
    files
}
