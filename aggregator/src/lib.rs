//! Plimsoll's aggregator: accepts the reports of agents, decides, and writes the load bands on the pods.
//!
//! ```text
//!   agents ── TLS ── server::agents ── auth ──┐                          ┌── cluster::apply ──> pods
//!                    (headers, body)  (token, │ Reported          Write  │   (the only writer)
//!                                      pod)   v                          │        │
//!   API server ── cluster::watch ──────────> engine ──── core ───────────┤        │ Outcome
//!              ── cluster::lease ──────────> (lock,      (pure:          │        │
//!                                             clock)      state, plan) <─┼────────┘
//!                                              │                         └── cluster::events ──> Events
//!              certs (Secret, ConfigMap)       └── server::people, metrics ──> people, Prometheus
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`args`], [`config`], [`settings`] | the flags as typed, what they mean, what the core decides with |
//! | `input`, `facts`, `action` | everything that reaches the core and leaves it, as values |
//! | `core`, `state`, `plan`, `labels`, `writes`, `decisions` | what is known and what follows from it; pure |
//! | `engine`, [`record`] | one step at a time; recorded on request, replayed byte for byte |
//! | `cluster` | everything that talks to the API server: watches, Lease, writes, Events |
//! | `auth`, `rejection` | whose reports are accepted, and why others are rejected |
//! | `server`, `readiness`, `metrics` | the two ports |
//! | [`certs`] | the certificate of the agents' port |
//!
//! Imports go one way: `labels` <- `writes` <- `state` <- `plan` <- `core` <- `engine` <- `cluster`, `auth` <- `server`.
//!
//! The program is [`run`]: a function of a configuration, two listeners and a shutdown.

mod action;
pub mod args;
mod auth;
pub mod certs;
mod cluster;
pub mod config;
mod core;
mod decisions;
mod engine;
mod facts;
mod input;
mod labels;
mod metrics;
mod plan;
mod readiness;
pub mod record;
mod rejection;
mod server;
pub mod settings;
mod state;
mod writes;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use kube::Api;
use plimsoll_contract::keys;
use plimsoll_process::http::{self, Limits};
use plimsoll_process::metrics::{HttpMetrics, build_info, registry};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_process::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::args::Args;
use self::auth::Authenticator;
use self::certs::CertificateKeeper;
use self::certs::tls::TlsConfig;
use self::cluster::client::Clients;
use self::cluster::watch::{Kind, Namespaces, Nodes, PauseSwitch, Pods};
use self::cluster::{apply, events, lease};
use self::config::Config;
use self::core::Core;
use self::engine::Engine;
use self::metrics::{CoreCollector, Metrics};
use self::readiness::Readiness;
use self::record::Recorder;
use self::server::agents::{self, AgentsPort};
use self::server::people::{self, PeoplePort};
use self::settings::Settings;

/// Shutdown grace period.
const GRACE: Duration = Duration::from_secs(15);

/// The two ports, open.
#[derive(Debug)]
pub struct Listeners {
    /// For people, Prometheus and probes.
    pub plain: TcpListener,
    /// For agents.
    pub agents: TcpListener,
}

impl Listeners {
    /// Opens both.
    ///
    /// # Errors
    /// If one cannot be opened; the error names its flag.
    pub async fn bind(plain: SocketAddr, agents: SocketAddr) -> anyhow::Result<Listeners> {
        let open = async |flag: &str, address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {flag} {address}"))
        };
        Ok(Listeners {
            plain: open("--listen", plain).await?,
            agents: open("--listen-agents", agents).await?,
        })
    }
}

/// The program as `main` runs it: flags, ports, signals, [`run`].
///
/// # Errors
/// See [`Config::from_args`], [`Listeners::bind`] and [`run`].
pub async fn start(args: &Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let config = Config::from_args(args).await?;
    let listeners = Listeners::bind(args.listen, args.listen_agents).await?;
    run(config, listeners, shutdown).await
}

/// Runs until the shutdown.
///
/// # Errors
/// If it cannot start, or a task ended before the shutdown; the others are stopped then.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let (namespace, identity) = (config.namespace.clone(), config.identity.clone());
    tracing::info!(
        version,
        namespace,
        identity,
        output = config.settings.output.as_str(),
        "aggregator starts"
    );

    let registry = registry();
    build_info(&registry, "plimsoll_build_info", version)?;
    let metrics = Metrics::register(&registry)?;
    let readiness = Readiness::new();
    let clients = Clients::new(&config.kube).context("cannot make a client of the API server")?;
    // Roster versions rise across restarts, so that agents notice a new process.
    let roster_base = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1);
    let settings = Settings { roster_base, ..config.settings.clone() };
    let recorder = config.record.as_deref().map(|path| Recorder::start(path, &settings)).transpose()?;
    let (engine, outputs) = Engine::new(Core::new(settings), recorder);
    registry.register(Box::new(CoreCollector::new(engine.clone())?))?;

    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("tick", engine.clone().tick(shutdown.clone()));

    // What the API server says.
    let watching =
        Watching { engine: &engine, readiness: &readiness, metrics: &metrics, shutdown: &shutdown };
    let reads = || clients.reads.clone();
    watching.spawn::<Pods>(&mut tasks, "watch-pods", Api::all(reads()), "");
    watching.spawn::<Nodes>(&mut tasks, "watch-nodes", Api::all(reads()), "");
    watching.spawn::<Namespaces>(&mut tasks, "watch-namespaces", Api::all(reads()), "");
    let control = format!("metadata.name={}", keys::CONTROL_CONFIG_MAP);
    watching.spawn::<PauseSwitch>(
        &mut tasks,
        "watch-pause-switch",
        Api::namespaced(reads(), &namespace),
        &control,
    );

    // What the core decides.
    let (epoch_sender, epoch) = watch::channel(None);
    let (holder_sender, holder) = watch::channel(None);
    let claim = lease::claim(
        clients.lease,
        namespace.clone(),
        identity.clone(),
        lease::Channels { epoch: epoch_sender, holder: holder_sender },
        engine.clone(),
        readiness.clone(),
        shutdown.clone(),
    );
    tasks.spawn("lease", claim);
    let writes = apply::run(
        clients.writes.clone(),
        engine.clone(),
        metrics.clone(),
        outputs.writes,
        epoch,
        shutdown.clone(),
    );
    tasks.spawn("write", writes);
    let events = events::run(
        clients.writes.clone(),
        identity.clone(),
        namespace,
        metrics.clone(),
        outputs.events,
        shutdown.clone(),
    );
    tasks.spawn("events", events);

    // The agents' port.
    let tls = TlsConfig::new();
    let source = tls.source();
    let keeper = CertificateKeeper::new(&clients.writes, &config, tls, readiness.clone(), metrics.clone());
    tasks.spawn("certificate", keeper.run(shutdown.clone()));
    let authenticator = Authenticator::new(clients.writes, config.agents, metrics.clone());
    let service = TowerToHyperService::new(AgentsPort::new(engine.clone(), authenticator, metrics).router());
    let counts = HttpMetrics::register(&registry, "plimsoll_aggregator_agents")?;
    let port =
        http::serve(listeners.agents, service, Some(source), agents::limits(), shutdown.clone(), counts);
    tasks.spawn("agents-port", port);

    // The port for people.
    let counts = HttpMetrics::register(&registry, "plimsoll_aggregator")?;
    let service = TowerToHyperService::new(people::router(PeoplePort {
        engine,
        registry,
        readiness,
        replica: identity,
        holder,
    }));
    let port = http::serve(listeners.plain, service, None, Limits::default(), shutdown, counts);
    tasks.spawn("plain-port", port);

    tasks.join(GRACE).await?;
    tracing::info!("aggregator stopped");
    Ok(())
}

/// What all watches share.
struct Watching<'a> {
    engine: &'a Engine,
    readiness: &'a Readiness,
    metrics: &'a Metrics,
    shutdown: &'a Shutdown,
}

impl Watching<'_> {
    fn spawn<K: Kind>(&self, tasks: &mut Tasks, name: &'static str, api: Api<K::Object>, fields: &str) {
        let watch = cluster::watch::watch::<K>(
            api,
            fields.to_owned(),
            self.engine.clone(),
            self.readiness.clone(),
            self.metrics.clone(),
            self.shutdown.clone(),
        );
        tasks.spawn(name, watch);
    }
}
