//! `make bench`: what the agent costs, always beside something else in the same run.
//!
//! ```text
//!   ground      real cgroups of our own (or plain files, and it says so)
//!   plan        what a sweep reads
//!   contenders  the agent's Host, loop.c, cgroups-rs, std::fs
//!   sweep       1. one sweep, per container
//!   resident    2. the agent as a process
//!   pure        3. the core without files
//! ```
//!
//! Prints tables with the targets of DESIGN section 9, and whether each is met. Asserts no time, since machines differ;
//! it fails only where something could not be measured. Needs root for real cgroups and `cc` for the C loop. What it
//! makes it removes, also after Ctrl-C; what a killed run left, the next one removes.

#![allow(clippy::print_stdout)] // printing is what it is for

use std::time::Duration;

use clap::{Parser, ValueEnum};
use interrupt::Brood;

mod contenders;
mod figures;
mod ground;
mod interrupt;
mod plan;
mod print;
mod pure;
mod resident;
#[path = "../spread.rs"]
mod spread;
mod sweep;

/// Measures what the agent costs.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds in which the contenders take turns
    #[arg(long, default_value_t = 15)]
    rounds: usize,

    /// How long the agent is watched as a process, in seconds, twice
    #[arg(long, env = "PLIMSOLL_BENCH_SECONDS", default_value_t = 60)]
    seconds: u64,

    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,

    /// Be the loop that the agent is measured beside
    #[arg(long, hide = true)]
    library_loop: bool,

    /// Given by cargo
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
    /// The agent's sweep and nothing else, to put a profiler on: as many rotas as there are rounds
    Alone,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.library_loop {
        return resident::library_loop();
    }
    let brood = Brood::guarded()?;
    if args.only == Some(Part::Alone) {
        return sweep::alone(args.rounds);
    }
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Sweep) {
        sweep::run(args.rounds.max(1))?;
    }
    if wanted(Part::Resident) {
        resident::run(&std::env::current_exe()?, Duration::from_secs(args.seconds.max(1)), &brood)?;
    }
    if wanted(Part::Pure) {
        pure::run(args.rounds.max(1))?;
    }
    Ok(())
}
