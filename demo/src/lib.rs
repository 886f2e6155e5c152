//! plimsoll-demo: the whole of Plimsoll on one machine, live.
//!
//! ```text
//!   stage (sandbox + agent + aggregator)  <- cast (pods that show something)
//!     |
//!     +-- watch: what workloads do, what the agent says, what labels a watch sees -> timeline -> show (JSON, lines, table)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`args`] | what was typed |
//! | [`stage`] | starts and strikes everything; the system tests stand on it too |
//! | `folder` | the directory that holds its files, and what killed runs left |
//! | [`cast`] | the pods |
//! | [`watch`] | three witnesses of the loop |
//! | [`timeline`] | what happened, as values |
//! | [`show`] | how it is shown |
//!
//! The agent and the aggregator are the very programs of a cluster; only what surrounds them is made of sand. Nothing is
//! left behind: no process, no cgroup, no file.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use plimsoll_contract::PodName;
use plimsoll_process::shutdown::Shutdown;
use plimsoll_process::telemetry::TelemetryArgs;
use plimsoll_sandbox::api::{Resource, Selector};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

pub mod args;
pub mod cast;
mod folder;
pub mod held;
pub mod show;
pub mod stage;
pub mod timeline;
pub mod watch;

use args::Args;
use show::{Manner, Show};
use stage::{Options, Stage};
use timeline::{Event, HostKind, What};
use watch::Timeline;

/// Runs the demo as `args` say.
///
/// # Errors
/// Whatever cannot be started, or ended by itself.
pub fn start(args: &Args) -> anyhow::Result<()> {
    plimsoll_process::crypto::install_crypto_provider();
    let manner = manner(args);
    let log_filter = match manner {
        // Log lines would tear the table apart.
        Manner::Table => "off".into(),
        Manner::Json | Manner::Lines => args.log_filter.clone(),
    };
    TelemetryArgs { log_format: args.log_format, log_filter }.install()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(run(args, manner))
}

fn manner(args: &Args) -> Manner {
    match (args.json, args.plain || !io::stdout().is_terminal()) {
        (true, _) => Manner::Json,
        (false, true) => Manner::Lines,
        (false, false) => Manner::Table,
    }
}

async fn run(args: &Args, manner: Manner) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot handle signals")?;
    // A terminal window that is closed ends the demo like Ctrl-C: what it made is removed.
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle signals")?;
    let (host, why) = stage::choose_host(args.simulated);
    let mut stage = Stage::set(Options::new(args.profile, host)).await?;
    let stop = async {
        tokio::select! {
            () = shutdown.triggered() => {}
            _ = hangup.recv() => {}
        }
    };
    let played = play(&mut stage, args, manner, &why, stop).await;
    let struck = stage.strike().await;
    played.and(struck)
}

async fn play(
    stage: &mut Stage,
    args: &Args,
    manner: Manner,
    why: &str,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (timeline, events) = Timeline::begin();
    let mut witnesses = witnesses(stage, &timeline).await?;
    let mut show = Show::open(manner, stage, why, events).await?;
    let end = args.length().unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        biased;
        () = stop => Ok(()),
        () = tokio::time::sleep(end) => Ok(()),
        shown = show.run() => shown,
        error = stage.broken() => Err(error),
        Some(witness) = witnesses.join_next() => Err(witness_ended(witness)),
    };
    witnesses.shutdown().await;
    let end = What::End { host: stage.kind(), writes: stage.writes() };
    show.close(&Event::new(timeline.elapsed(), end))?;
    ended
}

/// Creates the pods, and starts those who watch them.
async fn witnesses(stage: &Stage, timeline: &Timeline) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut witnesses = JoinSet::new();
    witnesses.spawn(watch::workloads(stage.host().changes(), timeline.clone()));
    for pod in cast::pods(stage.profile(), stage::NODE) {
        stage.create_pod(pod)?;
    }
    witnesses.spawn(watch::labels(stage.kube().await?, timeline.clone()));
    witnesses.spawn(watch::agent(stage.agent_address(), names(stage)?, timeline.clone()));
    Ok(witnesses)
}

fn names(stage: &Stage) -> anyhow::Result<BTreeMap<String, PodName>> {
    let pods = stage.api().store().list(&Resource::PODS, Some(cast::NAMESPACE), &Selector::default());
    let pods = pods.context("cannot list the demo's pods")?;
    let text =
        |pod: &serde_json::Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    Ok(pods.iter().map(|pod| (text(pod, "uid"), PodName::new(cast::NAMESPACE, &text(pod, "name")))).collect())
}

fn witness_ended(witness: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match witness {
        Ok(Ok(())) => anyhow::anyhow!("a witness of the demo ended"),
        Ok(Err(error)) => error.context("a witness of the demo ended"),
        Err(error) => anyhow::Error::from(error).context("a witness of the demo panicked"),
    }
}

/// What a person is told about the host: what the pods are, and why.
pub(crate) fn about_host(host: HostKind, why: &str) -> String {
    match host {
        HostKind::Real => format!("real processes in real cgroups ({why})"),
        HostKind::Simulated => format!("a simulated host ({why})"),
    }
}
