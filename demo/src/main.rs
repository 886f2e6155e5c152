//! The door of the demo: a workload of its own sandbox, or the demo itself.

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
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the demo ends");
            ExitCode::FAILURE
        }
    }
}
