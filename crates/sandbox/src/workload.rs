//! The process inside a real container: this program, started again, that burns CPU and holds memory by a load script.
//!
//! A binary that uses [`crate::host::real::RealHost`] calls [`main_if_requested`] first thing in `main`. The child then
//! waits for one line on its standard input, the [`Load`] as JSON, and plays it from that moment. It writes one JSON line
//! ([`Told`]) to its standard output for each change of what it *wants*: under a quota it gets less, and wants the same.
//! It ends when its standard input ends, and by a signal when its parent dies.
//!
//! Touches its own CPU time and memory, nothing else. Proof: `host/real/tests.rs`.

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

use crate::load::{Changes, Load, Script};

/// The first argument that makes a program of ours a workload.
pub const ARGUMENT: &str = "plimsoll-workload";

/// Length of one turn of burning and sleeping: several in a quota period of 100 ms.
const SLICE: Duration = Duration::from_millis(20);
/// How long a thread without work sleeps: an idle container must look idle.
const REST: Duration = Duration::from_millis(50);
/// How often the memory follows its script.
const MEMORY_SLICE: Duration = Duration::from_millis(50);
/// Memory is taken and given back in pieces of this size: large enough for the allocator to hand them back.
const PIECE: usize = 256 << 10;

/// One line of a workload's standard output: what it wants from now on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Seconds since it started to play.
    pub t: f64,
    /// CPU, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
}

impl Told {
    /// The resource and its value; absent in a line that says nothing.
    pub fn change(&self) -> Option<(Resource, f64)> {
        let cores = self.cores.map(|cores| (Resource::Cpu, cores));
        cores.or(self.bytes.map(|bytes| (Resource::Memory, bytes)))
    }
}

/// Whether the arguments (the program's name first) ask for a workload; if so it has been played to its end.
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

/// Plays the script that comes on standard input until standard input ends.
///
/// # Errors
/// When the script cannot be read, or the threads cannot be started.
pub fn run() -> anyhow::Result<()> {
    // Beside the end of standard input: a parent that is killed while a pipe is held elsewhere takes its children along.
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
        thread::Builder::new().name(format!("burn-{core}")).spawn(move || burn(&load.cpu, core, start))?;
    }
    thread::Builder::new().name("hold".into()).spawn(move || hold(&load.memory, start))?;
    // The threads run until the process ends, which it does when this returns.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

fn threads(cpu: &Script) -> u32 {
    (cpu.bounds().1.ceil() as u32).max(1)
}

/// Uses the part of the script that is this thread's: what is above `core` cores, at most one.
fn burn(cpu: &Script, core: u32, start: Instant) {
    let mut changes = Changes::default();
    loop {
        let since = start.elapsed();
        let slice = since.as_nanos() / SLICE.as_nanos();
        let end = start + SLICE * u32::try_from(slice + 1).unwrap_or(u32::MAX);
        let wanted = cpu.at(since);
        if core == 0 && changes.tells(wanted) {
            tell(Told { t: since.as_secs_f64(), cores: Some(wanted), bytes: None });
        }
        let share = (wanted - f64::from(core)).clamp(0.0, 1.0);
        if share > 0.0 {
            spin(share, end);
            thread::sleep(end.saturating_duration_since(Instant::now()));
        } else {
            thread::sleep(REST);
        }
    }
}

/// Uses `share` of a slice of CPU time, but not beyond its end: what a quota took away is not made up for.
fn spin(share: f64, end: Instant) {
    let target = own_cpu_time() + SLICE.mul_f64(share);
    while own_cpu_time() < target && Instant::now() < end {
        black_box((0..4000_u64).fold(0_u64, |sum, i| sum.wrapping_mul(31).wrapping_add(i)));
    }
}

fn own_cpu_time() -> Duration {
    // The clock of the calling thread always exists; without it there would be nothing to burn by.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}

/// Holds as many touched pages as the script wants.
fn hold(memory: &Script, start: Instant) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut changes = Changes::default();
    loop {
        let since = start.elapsed();
        let wanted = memory.at(since);
        if changes.tells(wanted) {
            tell(Told { t: since.as_secs_f64(), cores: None, bytes: Some(wanted) });
        }
        let pieces = (wanted as usize).div_ceil(PIECE);
        held.truncate(pieces);
        while held.len() < pieces {
            // Ones, not zeros: zeroed memory would not be touched.
            held.push(black_box(vec![1; PIECE]));
        }
        thread::sleep(MEMORY_SLICE);
    }
}

/// One line, at once. A parent that no longer reads is about to end this process.
fn tell(told: Told) {
    let Ok(mut line) = serde_json::to_vec(&told) else {
        return;
    };
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hidden_argument_makes_a_workload() {
        assert!(!main_if_requested(["plimsoll-demo"]).unwrap());
        assert!(!main_if_requested(["plimsoll-demo", "--seconds", ARGUMENT]).unwrap());
    }

    #[test]
    fn a_line_names_exactly_one_resource() {
        let line = serde_json::to_string(&Told { t: 1.5, cores: Some(0.2), bytes: None }).unwrap();
        assert_eq!(line, r#"{"t":1.5,"cores":0.2}"#);
        assert_eq!(serde_json::from_str::<Told>(&line).unwrap().change(), Some((Resource::Cpu, 0.2)));
        assert_eq!(
            serde_json::from_str::<Told>(r#"{"t":0,"bytes":4096}"#).unwrap().change(),
            Some((Resource::Memory, 4096.0))
        );
    }

    #[test]
    fn as_many_threads_as_cores_are_wanted_at_most() {
        assert_eq!(threads(&Script::Constant(0.2)), 1);
        assert_eq!(threads(&Script::Constant(2.5)), 3);
    }
}
