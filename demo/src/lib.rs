//! plimsoll-demo: runs Plimsoll with a sandbox on one machine and shows what happens.
//!
//! ```text
//!   cluster (sandbox + agent + aggregator)  <- pods
//!     |
//!     +-- observers: loads of workloads, bands of the agent, labels and sizes in watches, limits of the host
//!           -> timeline -> show (JSON, lines, table)
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`args`] | command line arguments |
//! | [`cluster`] | starts and stops everything; the system tests use it too |
//! | `folder` | the temporary directory of a run, and those of killed runs |
//! | [`reserved`] | ports that remain the same across restarts |
//! | [`pods`] | the pods |
//! | [`observers`] | four observers, each of one part of the loop |
//! | [`timeline`] | the observed events |
//! | [`show`] | the output |
//! | [`replay`] | instead of all that: a recording run again, or rules that size a container compared on a trace of its usage |
//!
//! The agent and the aggregator are the unmodified programs of a cluster; only their environment is simulated. No process, cgroup
//! or file remains after a run.

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
pub mod cluster;
mod folder;
pub mod observers;
pub mod pods;
pub mod replay;
pub mod reserved;
pub mod show;
pub mod timeline;

use args::{Args, Command};
use cluster::{Options, TestCluster};
use observers::Timeline;
use show::{OutputMode, Show};
use timeline::{Event, HostKind, What};

/// Runs the demo.
///
/// # Errors
/// When a part cannot be started, or ends by itself.
pub fn start(args: &Args) -> anyhow::Result<()> {
    if let Some(Command::Replay(args)) = &args.command {
        return replay::start(args);
    }
    plimsoll_process::crypto::install_crypto_provider();
    let mode = output_mode(args);
    let log_filter = match mode {
        // Log lines would destroy the table.
        OutputMode::Table => "off".into(),
        OutputMode::Json | OutputMode::Lines => args.log_filter.clone(),
    };
    TelemetryArgs { log_format: args.log_format, log_filter }.install()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(run(args, mode))
}

fn output_mode(args: &Args) -> OutputMode {
    match (args.json, args.plain || !io::stdout().is_terminal()) {
        (true, _) => OutputMode::Json,
        (false, true) => OutputMode::Lines,
        (false, false) => OutputMode::Table,
    }
}

async fn run(args: &Args, mode: OutputMode) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot handle signals")?;
    // Closing the terminal window ends the demo like Ctrl-C.
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle signals")?;
    let (host, why) = cluster::choose_host(args.simulated);
    let mut cluster =
        TestCluster::start(Options { resize: true, ..Options::new(args.profile, host) }).await?;
    let stop = async {
        tokio::select! {
            () = shutdown.triggered() => {}
            _ = hangup.recv() => {}
        }
    };
    let result = observe(&mut cluster, args, mode, &why, stop).await;
    let shutdown = cluster.shutdown().await;
    result.and(shutdown)
}

/// Shows the events of the cluster until the demo ends.
async fn observe(
    cluster: &mut TestCluster,
    args: &Args,
    mode: OutputMode,
    why: &str,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (timeline, events) = Timeline::begin();
    let mut observers = start_observers(cluster, &timeline).await?;
    let mut show = Show::open(mode, cluster, why, events).await?;
    let end = args.length().unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        biased;
        () = stop => Ok(()),
        () = tokio::time::sleep(end) => Ok(()),
        shown = show.run() => shown,
        error = cluster.failure() => Err(error),
        Some(observer) = observers.join_next() => Err(observer_ended(observer)),
    };
    observers.shutdown().await;
    let end = What::End { host: cluster.host_kind(), writes: cluster.writes() };
    show.close(&Event::new(timeline.elapsed(), end))?;
    ended
}

/// Creates the pods and starts the observers.
async fn start_observers(
    cluster: &TestCluster,
    timeline: &Timeline,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut running = JoinSet::new();
    running.spawn(observers::workloads(cluster.host().changes(), timeline.clone()));
    for pod in pods::objects(cluster.profile(), cluster::NODE, cluster.node_size()) {
        cluster.create_pod(pod)?;
    }
    running.spawn(observers::labels(cluster.kube().await?, timeline.clone()));
    running.spawn(observers::sizes(cluster.kube().await?, cluster.host().clone(), timeline.clone()));
    running.spawn(observers::agent(cluster.agent_address(), names(cluster)?, timeline.clone()));
    Ok(running)
}

/// The names of the pods by uid.
fn names(cluster: &TestCluster) -> anyhow::Result<BTreeMap<String, PodName>> {
    let list = cluster.api().store().list(&Resource::PODS, Some(pods::NAMESPACE), &Selector::default());
    let list = list.context("cannot list the pods of the demo")?;
    let text =
        |pod: &serde_json::Value, field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    Ok(list.iter().map(|pod| (text(pod, "uid"), PodName::new(pods::NAMESPACE, &text(pod, "name")))).collect())
}

fn observer_ended(result: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match result {
        Ok(Ok(())) => anyhow::anyhow!("an observer of the demo ended"),
        Ok(Err(error)) => error.context("an observer of the demo ended"),
        Err(error) => anyhow::Error::from(error).context("an observer of the demo panicked"),
    }
}

/// Describes the host: what the pods are, and why.
pub(crate) fn about_host(host: HostKind, why: &str) -> String {
    match host {
        HostKind::Real => format!("real processes in real cgroups ({why})"),
        HostKind::Simulated => format!("a simulated host ({why})"),
    }
}
