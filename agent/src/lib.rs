//! plimsoll-agent: reads the CPU and memory of every pod on its node from the cgroups and classifies how loaded each pod is.
//!
//! ```text
//!   cgroup files                                 (pure)                                   network
//!     host ---- Reading ----> state: sample -> load -> classify, usage -> report
//!      ^                        |                               ^           |
//!      |  sampler (thread, 1 s) |                        roster |           +--> delivery  (to each aggregator replica)
//!      +------------------------+                               +-----------+--> serve     (/metrics, /v1/report; probes)
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`args`], [`config`] | the command line, and what it means |
//! | [`host`] | the only code that reads the cgroup file system |
//! | `regular` | files that must be regular ones |
//! | [`sample`], `load`, `classify`, `usage`, `recent`, [`profile`] | pure arithmetic and rules; time is an argument |
//! | [`state`], `report` | pure: everything known of the node's pods, and the report of it |
//! | `shared` | the state and what belongs to it, behind one lock |
//! | [`record`] | a run as a file, on request; replayed byte for byte |
//! | `sampler`, [`clock`], `timing` | the sampling loop, and whether it is on time |
//! | `delivery` | reports to the aggregator, the roster back |
//! | `serve`, [`series`], `metrics` | the two HTTP ports |
//! | [`once`] | two sweeps and one report, for debugging |
//!
//! The agent needs no rights: no API server, no kubelet, no runtime socket, no capability. Missing data is *unknown with a
//! reason*, never zero.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
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
mod classify;
pub mod clock;
pub mod config;
mod delivery;
pub mod host;
mod load;
mod metrics;
pub mod once;
pub mod profile;
mod recent;
pub mod record;
mod regular;
mod report;
pub mod sample;
mod sampler;
pub mod series;
mod serve;
mod shared;
pub mod state;
mod timing;
mod usage;

use args::Args;
use config::Config;
use host::Host;
use metrics::Metrics;
use sampler::Sampler;
use serve::{Port, Probes};
use shared::Shared;

/// Shutdown grace period of the tasks: less than the 10 s after which the kubelet kills the pod.
const GRACE: Duration = Duration::from_secs(8);
/// The part of it for requests in flight.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the agent: prints one report with `--once`, else runs until SIGTERM or SIGINT.
///
/// # Errors
/// Contradictory flags, no cgroups under the root, an address in use, or a task that ended early.
pub fn start(args: &Args) -> anyhow::Result<()> {
    let config = Config::from_args(args)?;
    if args.once {
        return once::print(&config);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let result = runtime.block_on(async {
        let listeners = Listeners::bind(args.listen, args.listen_probes)?;
        run(config, listeners, Shutdown::on_signals().context("cannot handle signals")?).await
    });
    // dropping it would wait for a hanging DNS lookup, possibly until the kubelet kills the process
    runtime.shutdown_background();
    result
}

/// The two ports, open.
#[derive(Debug)]
pub struct Listeners {
    /// For people and Prometheus.
    pub plain: TcpListener,
    /// For the kubelet's probes.
    pub probes: TcpListener,
}

impl Listeners {
    /// Opens both. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// If one cannot be opened; the error names its flag.
    pub fn bind(plain: SocketAddr, probes: SocketAddr) -> anyhow::Result<Listeners> {
        let open = |flag: &str, address: SocketAddr| {
            http::bind(address).with_context(|| format!("{flag}: cannot listen on {address}"))
        };
        Ok(Listeners { plain: open("--listen", plain)?, probes: open("--listen-probes", probes)? })
    }
}

/// The limits of the plain port: the text of a large node's metrics has some 100 KiB, and a request in flight may hold all of it.
fn plain_limits() -> Limits {
    Limits { max_requests: 16, max_requests_per_address: 8, drain_grace: DRAIN, ..Limits::default() }
}

/// Samples, serves on `listeners` and delivers until `shutdown`.
///
/// # Errors
/// No cgroups under the root, or a task that ended early.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let registry = registry();
    build_info(&registry, "plimsoll_build_info", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::register(&registry)?;
    let http_metrics = HttpMetrics::register(&registry, "plimsoll_agent")?;
    let host = Host::open(&config.host)?;
    let info = host.node_info()?;
    let (version, description) = (env!("CARGO_PKG_VERSION"), host.describe());
    tracing::info!(version, node = %config.node, host = %description, cpus = info.capacity.cores.0, "agent starts");
    let shared = Arc::new(Shared::new(&config, info, Timestamp::now())?);
    let sampler = Sampler::new(host, shared.clone(), metrics.clone(), &config.profile);
    let probe_metrics = HttpMetrics::register(&registry, "plimsoll_agent_probes")?;
    let probes = Probes::new(shared.clone(), config.profile.period);
    let port = Arc::new(Port::new(shared.clone(), registry, metrics.clone(), probes.clone()));
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(port.answer(&request))));

    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("sampler", sampler::run(sampler, config.profile.period, shutdown.clone()));
    tasks.spawn("runtime", probes.clone().record_runtime(shutdown.clone()));
    tasks.spawn(
        "serve",
        http::serve(listeners.plain, service, None, plain_limits(), shutdown.clone(), http_metrics),
    );
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(probes.answer(&request))));
    let limits = Limits { drain_grace: DRAIN, ..Limits::probes() };
    let serve_probes = http::serve_on_own_thread(
        "probes",
        listeners.probes,
        service,
        limits,
        shutdown.clone(),
        probe_metrics,
    );
    tasks.spawn("serve-probes", serve_probes);
    match config.delivery {
        Some(delivery) => tasks.spawn("delivery", delivery::run(delivery, shared, metrics, shutdown)),
        None => tracing::warn!(
            "no --aggregator: reports are served but not delivered; CPU without a quota is relative to the node"
        ),
    }
    tasks.join(GRACE).await
}
