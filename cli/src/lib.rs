//! The command line of Plimsoll: what a person asks, and the tables they are answered with.
//!
//! ```text
//!   plimsoll labels ---- paginated list of metadata ----> API server
//!   plimsoll top ------- GET /v1/pods ----------> aggregator, through the API server's service proxy, or --url
//!                              |
//!                              v
//!                   PodStatus -> table::Row -> lines (plain) | screen (terminal)
//!
//!   plimsoll pause ----- key `paused` of ConfigMap plimsoll-control ----> API server ---> aggregator (seen to follow)
//!   plimsoll cleanup --- the same; list; apply of nothing, a pod; list ----> API server
//! ```
//!
//! Everything is done with the rights of whoever runs it. Only `pause` and `cleanup` write: the switch, and on pods
//! nothing but that our own keys go. `plimsoll` and `kubectl plimsoll` are the same. Each request has a deadline and is
//! sent once; a failure says what was asked, of whom, and what to do.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | what was typed |
//! | [`connect`] | the way to the API server or a URL, and failures with their cure |
//! | [`labels`] | all labels of all pods |
//! | [`pods`] | the metadata of pods, page by page |
//! | [`pause`] | the switch, and seeing that the aggregator follows it |
//! | [`cleanup`] | our keys off the pods again |
//! | [`table`] | pods as rows: pure, shared with the demo |
//! | [`screen`] | the same rows in a terminal |
//! | [`top`] | the live table |

pub mod args;
pub mod cleanup;
pub mod connect;
pub mod labels;
pub mod pause;
pub mod pods;
pub mod screen;
pub mod table;
pub mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::args::{Args, Command};

/// Parses the command line, runs it, prints a failure on stderr, and says how it went.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done when stderr is closed too.
            let _ = writeln!(io::stderr(), "plimsoll: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    // One provider for all of rustls. A second call in one process answers with an error that means: already there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(run(args, &mut io::stdout()))
}

/// Runs one command; what it prints goes to `out`.
///
/// # Errors
/// What went wrong, of whom it was asked, and what to do about it.
pub async fn run(args: &Args, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    match &args.command {
        Command::Labels(labels) => labels::run(&connect::cluster(&args.cluster).await?, labels, out).await,
        Command::Top(top) => top::run(&top::Source::new(&args.cluster, top).await?, top, out).await,
        Command::Pause(pause) => pause::run(&connect::cluster(&args.cluster).await?, pause, out).await,
        Command::Cleanup(cleanup) => {
            let context = connect::context(&args.cluster);
            cleanup::run(&connect::cluster(&args.cluster).await?, context.as_deref(), cleanup, out).await
        }
    }
}

/// Whether the output went to a pipe whose reader has seen enough, as with `| head`: no failure.
pub fn reader_left(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
