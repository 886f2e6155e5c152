//! plimsoll-agent: reads the CPU and memory of every pod on its node from the cgroups, and says how loaded each is.
//!
//! ```text
//!   cgroup files                                   (pure)                                    the outside
//!     host  ----- Reading ----->  book: sample -> load -> classify -> usage -> report
//!      ^                             |                                  ^      |
//!      |  sweep (thread, 1 s)        |                          roster  |      +--> push   (to each aggregator replica)
//!      +-----------------------------+                                  +------+--> serve  (/metrics, /v1/report, probes)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`args`], [`config`] | what was typed, and what it means |
//! | [`host`] | the only code that touches the cgroup file system |
//! | [`sample`], [`load`], [`classify`], [`usage`], [`profile`] | pure arithmetic and rules, time is an argument |
//! | [`book`], [`report`] | pure state: everything known of the node's pods, and the document made of it |
//! | [`sweep`], [`clock`], [`pace`] | the loop, and whether it keeps time |
//! | [`push`] | delivery to the aggregator, the roster back |
//! | [`serve`], [`series`], [`metrics`] | the plain HTTP port |
//! | [`once`] | two sweeps, one report, for debugging |
//!
//! It needs no rights: no API server, no kubelet, no runtime socket, no capability. Missing data is *unknown with a
//! reason*, never zero.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use jiff::Timestamp;
use plimsoll_process::http::{self, Limits};
use plimsoll_process::metrics::{HttpMetrics, build_info, registry};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_process::tasks::Tasks;
use tokio::net::TcpListener;

pub mod args;
pub mod book;
pub mod classify;
pub mod clock;
pub mod config;
pub mod host;
pub mod load;
pub mod metrics;
pub mod once;
pub mod pace;
pub mod profile;
pub mod push;
pub mod report;
pub mod sample;
pub mod series;
pub mod serve;
pub mod sweep;
pub mod usage;

use args::Args;
use config::Config;
use host::Host;
use metrics::Metrics;
use serve::Port;
use sweep::{Shared, Sweeper};

/// At the end, tasks get so long to finish: less than the 10 s after which the kubelet kills the pod.
const GRACE: Duration = Duration::from_secs(8);
/// Requests in flight get so long of it.
const DRAIN: Duration = Duration::from_secs(5);

/// Starts the agent as `args` say: one report with `--once`, else until SIGTERM or SIGINT.
///
/// # Errors
/// Flags that do not go together, no cgroups under the root, an address in use, or a task that ended by itself.
pub fn start(args: &Args) -> anyhow::Result<()> {
    let config = Config::from_args(args)?;
    if args.once {
        return once::print(&config);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let done = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| format!("--listen: cannot listen on {}", args.listen))?;
        run(config, listener, Shutdown::on_signals().context("cannot handle signals")?).await
    });
    // Dropping it would wait for a name look-up that hangs, which nothing can stop: past the kubelet's patience.
    runtime.shutdown_background();
    done
}

/// Runs the agent until `shutdown`: sweeps, serves on `listener`, delivers.
///
/// # Errors
/// No cgroups under the root, or a task that ended by itself.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let registry = registry();
    build_info(&registry, "plimsoll_build_info", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::register(&registry)?;
    let http_metrics = HttpMetrics::register(&registry, "plimsoll_agent")?;
    let host = Host::open(&config.host)?;
    let facts = host.node()?;
    let (version, found) = (env!("CARGO_PKG_VERSION"), host.describe());
    tracing::info!(version, node = %config.node, host = %found, cpus = facts.cpus.0, "agent starts");
    let shared = Arc::new(Shared::new(&config, facts, Timestamp::now()));
    let sweeper = Sweeper::new(host, shared.clone(), metrics.clone(), &config.profile);
    let port = Arc::new(Port::new(shared.clone(), registry, metrics.clone(), config.profile.period));
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(port.answer(&request))));

    let limits = Limits { drain_grace: DRAIN, ..Limits::default() };
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("sweep", sweep::run(sweeper, config.profile.period, shutdown.clone()));
    tasks.spawn("serve", http::serve(listener, service, None, limits, shutdown.clone(), http_metrics));
    match config.delivery {
        Some(delivery) => tasks.spawn("push", push::run(delivery, shared, metrics, shutdown)),
        None => tracing::warn!(
            "no --aggregator: reports are served, not delivered; CPU without quota is of the node"
        ),
    }
    tasks.join(GRACE).await
}
