//! The door of the agent.

use std::process::ExitCode;

use clap::Parser;
use plimsoll_agent::args::Args;

fn main() -> ExitCode {
    plimsoll_process::crypto::install_crypto_provider();
    let args = Args::parse();
    let done = args.telemetry.install().and_then(|()| plimsoll_agent::start(&args));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the agent ends");
            ExitCode::FAILURE
        }
    }
}
