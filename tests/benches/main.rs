//! `make bench`: the cost of the agent, and of a report on the aggregator, always compared with something else in the same run.
//!
//! ```text
//!   cgroups     real cgroups of our own, or plain files if it cannot create any
//!   plan        the files that a sweep reads
//!   readers     the agent's Host, loop.c, cgroups-rs, std::fs
//!   sweep       1. one sweep, per container
//!   resident    2. the agent as a process
//!   pure        3. the core without files
//!   report      4. a report on the aggregator
//!   replay      5. rules that size a container, on traces of usage
//! ```
//!
//! Prints tables with the targets of DESIGN section 10, and whether each is met. Asserts no time, because machines differ; it
//! fails only if something cannot be measured. Needs root for real cgroups and `cc` for the C loop. It removes what it
//! created, also after Ctrl-C; the next run removes what a killed run left.

#![allow(clippy::print_stdout)] // it reports on stdout

use std::time::Duration;

use clap::{Parser, ValueEnum};
use interrupt::ChildProcesses;

mod cgroups;
mod cost;
mod interrupt;
mod plan;
mod pure;
mod readers;
mod replay;
mod report;
mod resident;
#[path = "../summary.rs"]
mod summary;
mod sweep;
mod table;

/// Measures what the agent and a report cost.
#[derive(Debug, Parser)]
struct Args {
    /// Number of rounds; in each, the readers take turns
    #[arg(long, default_value_t = 15)]
    rounds: usize,

    /// How long the agent is measured as a process, in seconds, twice
    #[arg(long, env = "PLIMSOLL_BENCH_SECONDS", default_value_t = 60)]
    seconds: u64,

    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,

    /// Run as the loop that the agent is compared with
    #[arg(long, hide = true)]
    library_loop: bool,

    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One sweep
    Sweep,
    /// The agent as a process
    Resident,
    /// The core without files
    Pure,
    /// A report on the aggregator
    Report,
    /// Rules that size a container, on traces of usage
    Replay,
    /// The agent's sweep and nothing else, for a profiler: ten sweeps per round
    Alone,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.library_loop {
        return resident::library_loop();
    }
    let children = ChildProcesses::guarded()?;
    if args.only == Some(Part::Alone) {
        return sweep::alone(args.rounds);
    }
    let is_selected = |part| args.only.is_none_or(|only| only == part);
    if is_selected(Part::Sweep) {
        sweep::run(args.rounds.max(1))?;
    }
    if is_selected(Part::Resident) {
        resident::run(&std::env::current_exe()?, Duration::from_secs(args.seconds.max(1)), &children)?;
    }
    if is_selected(Part::Pure) {
        pure::run(args.rounds.max(1))?;
    }
    if is_selected(Part::Report) {
        report::run(args.rounds.max(1))?;
    }
    if is_selected(Part::Replay) {
        replay::run()?;
    }
    Ok(())
}
