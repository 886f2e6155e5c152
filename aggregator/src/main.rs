//! The entry point of the aggregator: flags, logs, exit code.

use std::process::ExitCode;

use clap::Parser;
use plimsoll_aggregator::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    plimsoll_process::crypto::install_crypto_provider();
    let args = Args::parse();
    let done = match args.telemetry().install() {
        Ok(()) => plimsoll_aggregator::start(&args).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the aggregator failed");
            ExitCode::FAILURE
        }
    }
}
