//! Entry point of the demo, and of the workloads that it starts.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use plimsoll_demo::args::Args;

fn main() -> ExitCode {
    let done = match plimsoll_sandbox::workload::main_if_requested(std::env::args_os()) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => plimsoll_demo::start(&Args::parse()),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if plimsoll::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not logged: logs are off while the table is shown. If stderr is closed, nothing can be reported.
            let _ = writeln!(io::stderr(), "plimsoll-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
