//! What a sweep of the agent reads, written down a second time: the list that the other contenders follow.
//!
//! Must say the same as the agent's `host/slot.rs` does. That it does is measured in each run: the kernel counts the read
//! calls of both, and the table shows the counts side by side.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::ground::{Cgroup, Ground, Kind};

/// After so many sweeps the rota begins again.
pub(crate) const ROTA: u32 = 10;

const DETAIL: Turn = Turn { every: 5, offset: 0 };
const LIMITS: Turn = Turn { every: 10, offset: 2 };
const ALWAYS: Turn = Turn { every: 1, offset: 0 };

/// In which sweeps: those where `(sweep + phase) % every == offset`.
#[derive(Debug, Clone, Copy)]
struct Turn {
    every: u32,
    offset: u32,
}

/// One file of one cgroup.
#[derive(Debug)]
pub(crate) struct Due {
    turn: Turn,
    phase: u32,
    /// Whether the agent keeps it open.
    kept: bool,
    directory: PathBuf,
    name: &'static str,
}

impl Due {
    /// Whether it is read in this sweep.
    pub(crate) fn is_due(&self, sweep: u32) -> bool {
        (sweep + self.phase) % self.turn.every == self.turn.offset
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }
}

/// Every file that the agent reads of `ground`, in the order of its cgroups.
pub(crate) fn of(ground: &Ground) -> Vec<Due> {
    let mut plan = Vec::new();
    for (place, cgroup) in (1..).zip(&ground.cgroups) {
        for (controller, name, turn, kept) in files(ground.kind, cgroup) {
            plan.push(Due {
                turn,
                phase: place,
                kept,
                directory: ground.directory(cgroup, controller),
                name,
            });
        }
    }
    plan
}

/// As `loop.c` reads it.
pub(crate) fn as_text(plan: &[Due]) -> String {
    let mut text = String::new();
    let mut last = None;
    for Due { turn, phase, kept, directory, name } in plan {
        if last != Some(directory) {
            let _ = writeln!(text, "D {}", directory.display());
            last = Some(directory);
        }
        let _ = writeln!(text, "F {} {} {phase} {} {name}", turn.every, turn.offset, i32::from(*kept));
    }
    text
}

type File = (&'static str, &'static str, Turn, bool);

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
    // A pod without a limit of its own is looked at for one, no more.
    if cgroup.container || cgroup.limited {
        files.extend_from_slice(match kind {
            Kind::V1 => &[
                ("cpuacct", "cpuacct.usage", ALWAYS, true),
                ("cpu", "cpu.stat", ALWAYS, true),
                ("memory", "memory.usage_in_bytes", ALWAYS, true),
                ("memory", "memory.stat", DETAIL, true),
                ("memory", "memory.failcnt", DETAIL, true),
                ("memory", "memory.oom_control", DETAIL, true),
            ],
            Kind::V2 | Kind::Simulated => &[
                ("cpu", "cpu.stat", ALWAYS, true),
                ("memory", "memory.current", ALWAYS, true),
                ("memory", "memory.stat", DETAIL, true),
                ("memory", "memory.events", DETAIL, true),
                ("cpu", "cpu.pressure", DETAIL, true),
                ("memory", "memory.pressure", DETAIL, true),
            ],
        });
    }
    // By directory, so that the plan names each once.
    files.sort_by_key(|(controller, ..)| *controller);
    files
}
