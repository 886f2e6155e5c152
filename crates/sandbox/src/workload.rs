//! The process in a real container: this program, started again, which uses CPU and memory as its load script says.
//!
//! A binary that uses [`crate::host::real::RealHost`] calls [`main_if_requested`] at the start of `main`. The child process
//! reads one line from its standard input, the [`Load`] as JSON, and plays it from then on. For each change of its
//! *demand* it writes one JSON line (`DemandChange`) to its standard output; under a quota the usage is lower than the
//! demand. It ends when its standard input is closed, and is killed by the kernel when its parent ends.
//!
//! Uses its own CPU time and memory, nothing else. Tests: `host/real/tests.rs`.

use std::ffi::OsStr;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use plimsoll_contract::Resource;
use serde::{Deserialize, Serialize};

use crate::load::{ChangeFilter, Load, Script};

/// The first argument that turns a program into a workload.
pub const ARGUMENT: &str = "plimsoll-workload";

/// Length of one cycle of spinning and sleeping: several per quota period of 100 ms.
const SLICE: Duration = Duration::from_millis(20);
/// How long a thread without work sleeps: an idle container must use next to no CPU.
const REST: Duration = Duration::from_millis(50);
/// How often the memory is adjusted.
const MEMORY_SLICE: Duration = Duration::from_millis(50);
/// Size of the allocations: large enough for the allocator to return them to the kernel.
const PIECE: usize = 256 << 10;

/// One line of a workload's standard output: its demand from now on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct DemandChange {
    /// Seconds since it started to play.
    pub(crate) t: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cores: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<f64>,
}

impl DemandChange {
    /// The resource and its value; absent in a line that names none.
    pub(crate) fn demand(&self) -> Option<(Resource, f64)> {
        let cores = self.cores.map(|cores| (Resource::Cpu, cores));
        cores.or(self.bytes.map(|bytes| (Resource::Memory, bytes)))
    }
}

/// Plays a workload to its end if the arguments (the name of the program first) ask for one, and returns whether they did.
///
/// # Errors
/// When the script on standard input cannot be read.
pub fn main_if_requested<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> anyhow::Result<bool> {
    if arguments.into_iter().nth(1).is_none_or(|argument| argument.as_ref() != ARGUMENT) {
        return Ok(false);
    }
    run()?;
    Ok(true)
}

/// Plays the script on standard input until standard input is closed.
///
/// # Errors
/// When the script cannot be read, or the threads cannot be started.
pub fn run() -> anyhow::Result<()> {
    // In addition to the end of standard input: another process may hold the pipe of a killed parent open.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim().is_empty() {
        return Ok(());
    }
    let load = Arc::new(Load::parse(&line)?);
    let start = Instant::now();
    for core in 0..threads(&load.cpu) {
        let load = Arc::clone(&load);
        thread::Builder::new().name(format!("burn-{core}")).spawn(move || use_cpu(&load.cpu, core, start))?;
    }
    thread::Builder::new().name("hold".into()).spawn(move || use_memory(&load.memory, start))?;
    // The threads end with the process, which ends when this function returns.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

fn threads(cpu: &Script) -> u32 {
    (cpu.max().ceil() as u32).max(1)
}

/// Uses this thread's part of the script: the demand above `core` cores, at most one core.
fn use_cpu(cpu: &Script, core: u32, start: Instant) {
    let mut changes = ChangeFilter::default();
    loop {
        let since = start.elapsed();
        let slice = since.as_nanos() / SLICE.as_nanos();
        let end = start + SLICE * u32::try_from(slice + 1).unwrap_or(u32::MAX);
        let demand = cpu.at(since);
        if core == 0 && changes.accepts(demand) {
            report(DemandChange { t: since.as_secs_f64(), cores: Some(demand), bytes: None });
        }
        let share = (demand - f64::from(core)).clamp(0.0, 1.0);
        if share > 0.0 {
            spin(share, end);
            thread::sleep(end.saturating_duration_since(Instant::now()));
        } else {
            thread::sleep(REST);
        }
    }
}

/// Uses a share of a slice of CPU time, but not beyond its end: time lost to a quota is not made up for.
fn spin(share: f64, end: Instant) {
    let target = own_cpu_time() + SLICE.mul_f64(share);
    while own_cpu_time() < target && Instant::now() < end {
        black_box((0..4000_u64).fold(0_u64, |sum, i| sum.wrapping_mul(31).wrapping_add(i)));
    }
}

fn own_cpu_time() -> Duration {
    // The clock of the calling thread always exists; without it the thread would not spin.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}

/// Keeps as many touched pages as the script says.
fn use_memory(memory: &Script, start: Instant) {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut changes = ChangeFilter::default();
    loop {
        let since = start.elapsed();
        let demand = memory.at(since);
        if changes.accepts(demand) {
            report(DemandChange { t: since.as_secs_f64(), cores: None, bytes: Some(demand) });
        }
        let count = (demand as usize).div_ceil(PIECE);
        pieces.truncate(count);
        while pieces.len() < count {
            // Ones, not zeros: the kernel does not allocate pages for zeroed memory.
            pieces.push(black_box(vec![1; PIECE]));
        }
        thread::sleep(MEMORY_SLICE);
    }
}

/// Writes one line. A parent that no longer reads is about to end this process.
fn report(change: DemandChange) {
    let Ok(mut line) = serde_json::to_vec(&change) else {
        return;
    };
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Amount;

    #[test]
    fn only_the_hidden_argument_starts_a_workload() {
        assert!(!main_if_requested(["plimsoll-demo"]).unwrap());
        assert!(!main_if_requested(["plimsoll-demo", "--seconds", ARGUMENT]).unwrap());
    }

    #[test]
    fn a_line_names_exactly_one_resource() {
        let line = serde_json::to_string(&DemandChange { t: 1.5, cores: Some(0.2), bytes: None }).unwrap();
        assert_eq!(line, r#"{"t":1.5,"cores":0.2}"#);
        assert_eq!(serde_json::from_str::<DemandChange>(&line).unwrap().demand(), Some((Resource::Cpu, 0.2)));
        assert_eq!(
            serde_json::from_str::<DemandChange>(r#"{"t":0,"bytes":4096}"#).unwrap().demand(),
            Some((Resource::Memory, 4096.0))
        );
    }

    #[test]
    fn there_is_one_thread_per_core_of_the_largest_demand() {
        assert_eq!(threads(&Script::Constant(Amount(0.2))), 1);
        assert_eq!(threads(&Script::Constant(Amount(2.5))), 3);
    }
}
