//! Plimsoll's aggregator: takes in what agents report, decides, and writes the load bands on the pods.
//!
//! ```text
//!   agents ── TLS ── ingest ── review ── sender ──┐                              ┌── apply ──> pods, Events
//!                    (shape)  (whose     (is it   │ Reported                     │ (the only writer)
//!                              token?)    ours?)  v                Label         │        │
//!   API server ── cluster ───── pods, nodes, ──> engine ── core ── Announce ─────┘        │
//!              ── control ───── Paused ────────> (lock,    (pure:                         │
//!              ── leader ────── Leading ───────>  clock)    view, plan)  <── Outcome ─────┘
//!                                                  │
//!              identity ── tls                     └── serve, stream, metrics ──> people, Prometheus
//!              (Secret, ConfigMap)
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`args`], [`config`] | what was typed, and what it means |
//! | [`core`], `view`, `plan`, `marks`, [`settings`] | what is known and what follows from it; pure |
//! | [`input`], [`action`] | everything that reaches the core and leaves it, as values |
//! | [`engine`], [`record`] | one step at a time, recorded if asked for, replayed byte for byte |
//! | [`ingest`], [`review`] | whose report is believed |
//! | [`cluster`], [`control`], [`leader`] | what the API server says |
//! | [`apply`] | the only writer of pods |
//! | [`identity`], [`tls`] | who we are to the agents |
//! | [`serve`], [`stream`], [`readiness`], [`metrics`] | what people are told |
//! | [`calls`] | deadlines and errors of calls to the API server |
//!
//! The program is [`run`]: a function of a configuration, two listeners and a shutdown.

pub mod action;
pub mod apply;
pub mod args;
pub mod calls;
pub mod cluster;
pub mod config;
pub mod control;
pub mod core;
pub mod engine;
pub mod identity;
pub mod ingest;
pub mod input;
pub mod leader;
mod marks;
pub mod metrics;
mod plan;
pub mod readiness;
pub mod record;
pub mod review;
pub mod serve;
pub mod settings;
pub mod stream;
pub mod tls;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use kube::Api;
use plimsoll_process::http::{self, Limits};
use plimsoll_process::metrics::{HttpMetrics, build_info, registry};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_process::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::args::Args;
use self::calls::Clients;
use self::config::Config;
use self::core::Core;
use self::engine::{Engine, Outlets};
use self::identity::Identity;
use self::ingest::Ingest;
use self::ingest::sender::Senders;
use self::metrics::{CoreCollector, Metrics};
use self::readiness::Readiness;
use self::record::Recorder;
use self::review::Reviewer;
use self::serve::Plain;
use self::settings::Settings;
use self::stream::Streams;
use self::tls::TlsSlot;

/// From the order to stop until what still runs is cut off.
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

/// The program as `main` runs it: flags, ports, signals, [`run`]. The crypto provider and the logs are installed.
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
/// If it cannot start, or a part of it ended before it should have; the others are stopped then.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let Config { namespace, identity, output, .. } = &config;
    tracing::info!(version, namespace, identity, output = output.as_str(), "aggregator starts");
    let program = Program::assemble(config, shutdown)?;
    let mut tasks = Tasks::new(program.shutdown.clone());
    program.watch(&mut tasks);
    program.serve(&mut tasks, listeners)?;
    program.act(&mut tasks);
    tasks.join(GRACE).await?;
    tracing::info!("aggregator stopped");
    Ok(())
}

/// The parts that tasks share.
struct Program {
    config: Config,
    clients: Clients,
    registry: prometheus::Registry,
    metrics: Metrics,
    readiness: Readiness,
    engine: Engine,
    outlets: Outlets,
    /// Whether the core knows how the pause switch stands.
    switch_read: watch::Sender<bool>,
    shutdown: Shutdown,
}

impl Program {
    fn assemble(config: Config, shutdown: Shutdown) -> anyhow::Result<Program> {
        let clients = Clients::new(&config.kube).context("cannot make a client of the API server")?;
        let registry = registry();
        build_info(&registry, "plimsoll_build_info", env!("CARGO_PKG_VERSION"))?;
        let metrics = Metrics::register(&registry)?;
        let settings = settings(&config);
        let recorder = config.record.as_deref().map(|path| Recorder::start(path, &settings)).transpose()?;
        let (engine, outlets) = Engine::new(Core::new(settings), recorder);
        registry.register(Box::new(CoreCollector::new(engine.clone())?))?;
        let readiness = Readiness::new();
        let switch_read = watch::Sender::new(false);
        Ok(Program { config, clients, registry, metrics, readiness, engine, outlets, switch_read, shutdown })
    }

    /// What reaches the core without being asked for.
    fn watch(&self, tasks: &mut Tasks) {
        let (engine, readiness, metrics) = (&self.engine, &self.readiness, &self.metrics);
        let reads = &self.clients.reads;
        let parts = || (engine.clone(), readiness.clone(), metrics.clone(), self.shutdown.clone());
        let (e, r, m, s) = parts();
        tasks.spawn("watch-pods", cluster::follow::<cluster::Pods>(Api::all(reads.clone()), e, r, m, s));
        let (e, r, m, s) = parts();
        tasks.spawn("watch-nodes", cluster::follow::<cluster::Nodes>(Api::all(reads.clone()), e, r, m, s));
        let (e, r, m, s) = parts();
        tasks.spawn(
            "watch-namespaces",
            cluster::follow::<cluster::Namespaces>(Api::all(reads.clone()), e, r, m, s),
        );
        let (e, r, m, s) = parts();
        let (namespace, read) = (self.config.namespace.clone(), self.switch_read.clone());
        tasks.spawn("control", control::follow(reads.clone(), namespace, e, r, m, read, s));
        tasks.spawn("tick", engine.clone().tick(self.shutdown.clone()));
    }

    /// What others ask of us.
    fn serve(&self, tasks: &mut Tasks, listeners: Listeners) -> anyhow::Result<()> {
        let slot = TlsSlot::new();
        let source = slot.source();
        let identity = Identity::new(
            &self.clients.writes,
            &self.config,
            slot,
            self.readiness.clone(),
            self.metrics.clone(),
        );
        tasks.spawn("identity", identity.keep(self.shutdown.clone()));

        let agents = self.config.agents.clone();
        let reviewer = Reviewer::new(self.clients.writes.clone(), agents.user_name(), self.metrics.clone());
        let senders = Senders::new(self.clients.writes.clone(), agents);
        let ingest = Ingest::new(self.engine.clone(), reviewer, senders, self.metrics.clone());
        let counts = HttpMetrics::register(&self.registry, "plimsoll_aggregator_agents")?;
        let service = TowerToHyperService::new(ingest.router());
        let limits = ingest::limits();
        let shutdown = self.shutdown.clone();
        tasks.spawn(
            "agents-port",
            http::serve(listeners.agents, service, Some(source), limits, shutdown, counts),
        );

        let plain = Plain {
            engine: self.engine.clone(),
            registry: self.registry.clone(),
            readiness: self.readiness.clone(),
            streams: Streams::new(self.metrics.clone()),
            shutdown: self.shutdown.clone(),
        };
        let counts = HttpMetrics::register(&self.registry, "plimsoll_aggregator")?;
        let service = TowerToHyperService::new(serve::router(plain));
        let shutdown = self.shutdown.clone();
        tasks.spawn(
            "plain-port",
            http::serve(listeners.plain, service, None, Limits::default(), shutdown, counts),
        );
        Ok(())
    }

    /// What the core wants done, once this replica may.
    fn act(self, tasks: &mut Tasks) {
        let Program { config, clients, metrics, readiness, engine, outlets, switch_read, shutdown, .. } =
            self;
        let (claimed, epoch) = watch::channel(None);
        let claim = leader::claim(
            clients.writes.clone(),
            config.namespace.clone(),
            config.identity.clone(),
            claimed,
            readiness,
            shutdown.clone(),
        );
        tasks.spawn("lease", claim);
        tasks
            .spawn("leading", leader::tell(epoch, switch_read.subscribe(), engine.clone(), shutdown.clone()));
        let announce = apply::announce(
            clients.writes.clone(),
            config.identity,
            config.namespace,
            metrics.clone(),
            outlets.announcements,
            shutdown.clone(),
        );
        tasks.spawn("announce", announce);
        tasks.spawn("write", apply::write(clients.writes, engine, metrics, outlets.writes, shutdown));
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        output: config.output,
        left_alone: config.left_alone.clone(),
        // Rises across restarts, so that agents notice that theirs is of another process.
        roster_base: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1),
        ..config.settings.clone()
    }
}
