//! The command line of Plimsoll: tables for people, the commands about the size of pods, and those that pause Plimsoll or remove its keys.
//!
//! ```text
//!   plimsoll labels ----- paginated list of metadata ----> API server
//!   plimsoll top -------- GET /v1/pods, /v1/status -> aggregator, through the API server's service proxy, or --url
//!                              |
//!                              v
//!              Snapshot -> table::PodTable -> lines (plain) | screen (terminal)
//!
//!   plimsoll explain ---- GET /v1/pods/NAMESPACE/NAME -> aggregator
//!   plimsoll candidates - GET /v1/pods -> aggregator; list of pods -> API server
//!   plimsoll recommend -- the same, and the template of the workload -> API server
//!
//!   plimsoll undo ------- one PATCH pods/resize per pod ----> API server
//!   plimsoll pause ------ key `paused` of ConfigMap plimsoll-control ----> API server ---> aggregator (confirmed)
//!   plimsoll cleanup ---- list, pause, list, per pod: restore its size, one apply; list ----> API server
//! ```
//!
//! Every command uses the rights of the person who runs it. Only `undo`, `pause` and `cleanup` write: `pause` and `cleanup` set the
//! pause switch, `undo` and `cleanup` restore the size of pods that Plimsoll resized, and `cleanup` removes our keys from pods.
//! `plimsoll` and `kubectl plimsoll` are the same program. Each request has a timeout. The client never retries; `undo` and `cleanup`
//! retry after an answer 429, and a list starts over if its continue token expired. A failure says what was attempted, with which
//! server, and what to do.
//!
//! | module | contents |
//! |---|---|
//! | [`args`] | flags and arguments |
//! | [`connect`] | clients for the API server or a URL, and failures with their remedy |
//! | [`source`] | the aggregator's documents |
//! | `pods` | pods of the API server, page by page |
//! | `live`, [`workload`] | a pod and its size; a workload, its template and its replicas |
//! | `size` | requests and limits, and what differs: pure |
//! | `requests`, `prompt` | requests for many pods; the question before a change |
//! | `restore` | the original resources of one pod |
//! | `labels` | all labels of all pods |
//! | `explain`, `candidates`, `recommend`, `undo` | the commands about the size of pods |
//! | `pause` | the pause switch, and confirming that the aggregator follows it |
//! | `cleanup` | removing our keys from the pods |
//! | [`table`] | pods as rows: pure, shared with the demo |
//! | [`screen`] | the same rows in a terminal |
//! | [`top`] | the live table |

pub mod args;
mod candidates;
mod cleanup;
pub mod connect;
mod explain;
mod labels;
mod live;
mod pause;
mod pods;
mod prompt;
mod recommend;
mod requests;
mod restore;
pub mod screen;
mod size;
pub mod source;
pub mod table;
pub mod top;
mod undo;
pub mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_process::shutdown::Shutdown;

use crate::args::{Args, Command};
use crate::source::Source;

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
        Command::Top(top) => top::run(&Source::new(&args.cluster, top.url.as_ref()).await?, top, out).await,
        Command::Explain(explain) => {
            explain::run(&Source::new(&args.cluster, explain.url.as_ref()).await?, explain, out).await
        }
        Command::Candidates(candidates) => {
            let source = Source::new(&args.cluster, candidates.url.as_ref()).await?;
            candidates::run(&connect::cluster(&args.cluster).await?, &source, candidates, out).await
        }
        Command::Recommend(recommend) => {
            let source = Source::new(&args.cluster, recommend.url.as_ref()).await?;
            recommend::run(&connect::cluster(&args.cluster).await?, &source, recommend, out).await
        }
        Command::Undo(undo) => {
            let context = connect::context(&args.cluster);
            undo::run(&connect::cluster(&args.cluster).await?, context.as_deref(), undo, out).await
        }
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
