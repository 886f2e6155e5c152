//! The command line of Plimsoll: tables for people, and the commands that pause Plimsoll or remove its keys.
//!
//! ```text
//!   plimsoll labels ---- paginated list of metadata ----> API server
//!   plimsoll top ------- GET /v1/pods, /v1/status -> aggregator, through the API server's service proxy, or --url
//!                              |
//!                              v
//!              Snapshot -> table::PodTable -> lines (plain) | screen (terminal)
//!
//!   plimsoll pause ----- key `paused` of ConfigMap plimsoll-control ----> API server ---> aggregator (confirmed)
//!   plimsoll cleanup --- list, pause, list, one apply per pod, list ----> API server
//! ```
//!
//! Every command uses the rights of the person who runs it. Only `pause` and `cleanup` write: both set the pause switch, and
//! `cleanup` removes our keys from pods. `plimsoll` and `kubectl plimsoll` are the same program. Each request has a timeout.
//! The client never retries; `cleanup` retries after an answer 429, and a list starts over if its continue token expired. A
//! failure says what was attempted, with which server, and what to do.
//!
//! | module | contents |
//! |---|---|
//! | [`args`] | flags and arguments |
//! | [`connect`] | clients for the API server or a URL, and failures with their remedy |
//! | `labels` | all labels of all pods |
//! | `pods` | the metadata of pods, page by page |
//! | `pause` | the pause switch, and confirming that the aggregator follows it |
//! | `cleanup` | removing our keys from the pods |
//! | [`table`] | pods as rows: pure, shared with the demo |
//! | [`screen`] | the same rows in a terminal |
//! | [`top`] | the live table |

pub mod args;
mod cleanup;
pub mod connect;
mod labels;
mod pause;
mod pods;
pub mod screen;
pub mod table;
pub mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_process::shutdown::Shutdown;

use crate::args::{Args, Command};

/// Parses the command line, runs the command, prints a failure on stderr, and returns the exit code.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if stderr is closed too.
            let _ = writeln!(io::stderr(), "plimsoll: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    install_crypto_provider();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(run_until(args, Shutdown::on_signals, &mut io::stdout()))
}

/// Runs one command, which prints to `out`, without a handler of signals.
///
/// # Errors
/// What was attempted, why it failed, and what to do.
pub async fn run(args: &Args, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    run_until(args, || Ok(Shutdown::new()), out).await
}

/// As [`run`]. `signals` is called by a command that must say something when it is interrupted, from when it must.
async fn run_until(
    args: &Args,
    signals: fn() -> io::Result<Shutdown>,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    match &args.command {
        Command::Labels(labels) => labels::run(&connect::cluster(&args.cluster).await?, labels, out).await,
        Command::Top(top) => top::run(&top::Source::new(&args.cluster, top).await?, top, out).await,
        Command::Pause(pause) => pause::run(&connect::cluster(&args.cluster).await?, pause, out).await,
        Command::Cleanup(cleanup) => {
            let context = connect::context(&args.cluster);
            let client = connect::cluster(&args.cluster).await?;
            cleanup::run(&client, context.as_deref(), cleanup, signals, out).await
        }
    }
}

/// Whether writing failed because the reader of the output has exited, as with `| head`. That is not a failure.
pub fn reader_left(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
