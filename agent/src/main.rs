//! Entry point of the agent: arguments, telemetry, exit code.

use std::process::ExitCode;

use clap::Parser;
use plimsoll_agent::args::Args;

fn main() -> ExitCode {
    plimsoll_process::crypto::install_crypto_provider();
    let args = Args::parse();
    let result = args.telemetry.install().and_then(|()| plimsoll_agent::start(&args));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "agent failed");
            ExitCode::FAILURE
        }
    }
}
