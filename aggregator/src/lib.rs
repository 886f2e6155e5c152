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
//! | `core`, `state`, `plan`, `labels`, `writes`, `decisions`, `ledger` | what is known and what follows from it; pure |
//! | `engine`, [`record`] | one step at a time; recorded on request, replayed byte for byte |
//! | `cluster` | everything that talks to the API server: watches, Lease, writes, Events |
//! | `auth`, `rejection` | whose reports are accepted, and why others are rejected |
//! | `server`, `readiness`, `metrics` | the three ports |
//! | [`certs`] | the certificate of the agents' port |
//!
//! Imports go one way: `labels` <- `writes` <- `state` <- `plan` <- `core` <- `engine` <- `cluster`, `auth` <- `server`.
//!
//! The program is [`run`]: a function of a configuration, three listeners and a shutdown.

mod action;
pub mod args;
mod auth;
pub mod certs;
mod cluster;
pub mod config;
mod core;
#[cfg(test)]
mod cpu_time;
mod decisions;
mod engine;
mod facts;
mod input;
mod labels;
mod ledger;
mod metrics;
mod plan;
mod readiness;
pub mod record;
mod rejection;
mod resize;
mod server;
pub mod settings;
mod state;
mod writes;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use kube::Api;
use plimsoll_contract::keys;
use plimsoll_objects::Object;
use plimsoll_process::crypto::random_number;
use plimsoll_process::descriptors::raise_limit;
use plimsoll_process::http::{self, Limits};
use plimsoll_process::metrics::{HttpMetrics, build_info, registry};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_process::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::args::Args;
use self::auth::Authenticator;
use self::auth::signing_key_reader::SigningKeyReader;
use self::auth::signing_keys::SigningKeys;
use self::certs::CertificateKeeper;
use self::certs::tls::TlsConfig;
use self::cluster::client::Clients;
use self::cluster::watch::{
    Autoscalers, Classes, Kind, LimitRanges, Namespaces, Nodes, PauseSwitch, Pods, Quotas,
};
use self::cluster::{apply, events, lease, ledger as class_ledger};
use self::config::Config;
use self::core::Core;
use self::engine::Engine;
use self::metrics::{CoreGauges, Metrics};
use self::readiness::Readiness;
use self::record::Recorder;
use self::server::agents::{self, AgentsPort};
use self::server::one_at_a_time::OneAtATime;
use self::server::people::{self, PeoplePort};
use self::server::probes::Probes;
use self::settings::Settings;

/// Shutdown grace period.
const GRACE: Duration = Duration::from_secs(15);

/// The three ports, open.
#[derive(Debug)]
pub struct Listeners {
    /// For people and Prometheus.
    pub plain: TcpListener,
    /// For agents.
    pub agents: TcpListener,
    /// For the kubelet's probes.
    pub probes: TcpListener,
}

impl Listeners {
    /// Opens all. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// If one cannot be opened; the error names its flag.
    pub fn bind(plain: SocketAddr, agents: SocketAddr, probes: SocketAddr) -> anyhow::Result<Listeners> {
        let open = |flag: &str, address: SocketAddr| {
            http::bind(address).with_context(|| format!("cannot listen on {flag} {address}"))
        };
        Ok(Listeners {
            plain: open("--listen", plain)?,
            agents: open("--listen-agents", agents)?,
            probes: open("--listen-probes", probes)?,
        })
    }
}

/// The program as `main` runs it: flags, ports, signals, [`run`].
///
/// # Errors
/// See [`Config::from_args`], [`Listeners::bind`] and [`run`].
pub async fn start(args: &Args) -> anyhow::Result<()> {
    raise_limit();
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let config = Config::from_args(args).await?;
    let listeners = Listeners::bind(args.listen, args.listen_agents, args.listen_probes)?;
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
    // So that agents notice a new process.
    let process = random_number().context("cannot make the id of this process")?;
    let settings = Settings { process, ..config.settings.clone() };
    let resizes = settings.resize.enabled;
    let recorder = config.record.as_deref().map(|path| Recorder::start(path, &settings)).transpose()?;
    let (engine, outputs) = Engine::new(Core::new(settings), recorder);
    engine.count_in(metrics.clone());
    let gauges = CoreGauges::register(&registry)?;

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
    if resizes {
        watching.spawn::<Classes>(&mut tasks, "watch-classes", Api::all(reads()), "");
        watching.spawn::<Autoscalers>(&mut tasks, "watch-autoscalers", Api::all(reads()), "");
        watching.spawn::<Quotas>(&mut tasks, "watch-quotas", Api::all(reads()), "");
        watching.spawn::<LimitRanges>(&mut tasks, "watch-limit-ranges", Api::all(reads()), "");
    }

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
    if resizes {
        let ledger =
            class_ledger::run(clients.writes.clone(), engine.clone(), epoch.clone(), shutdown.clone());
        tasks.spawn("class-ledger", ledger);
    }
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
    let token_keys = SigningKeys::default();
    let reader =
        SigningKeyReader::new(clients.writes.clone(), token_keys.clone(), readiness.clone(), metrics.clone());
    tasks.spawn("token-keys", reader.run(shutdown.clone()));
    let authenticator = Authenticator::new(clients.writes, config.agents, token_keys, metrics.clone());
    let service = TowerToHyperService::new(AgentsPort::new(engine.clone(), authenticator, metrics).router());
    let counts = HttpMetrics::register(&registry, "plimsoll_aggregator_agents")?;
    let port =
        http::serve(listeners.agents, service, Some(source), agents::limits(), shutdown.clone(), counts);
    tasks.spawn("agents-port", port);

    // The port for probes.
    let counts = HttpMetrics::register(&registry, "plimsoll_aggregator_probes")?;
    let probes = Probes { engine: engine.clone(), readiness };
    let answers = probes.clone();
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(answers.answer(&request))));
    let (limits, stop) = (Limits::probes(), shutdown.clone());
    let port = http::serve_on_own_thread("probes", listeners.probes, service, limits, stop, counts);
    tasks.spawn("probes-port", port);

    // The port for people.
    let counts = HttpMetrics::register(&registry, "plimsoll_aggregator")?;
    let service = TowerToHyperService::new(people::router(PeoplePort {
        engine,
        registry,
        gauges,
        probes,
        replica: identity,
        holder,
        answers_made: OneAtATime::default(),
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
    fn spawn<K: Kind>(
        &self,
        tasks: &mut Tasks,
        name: &'static str,
        api: Api<Object<K::Object>>,
        fields: &str,
    ) {
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
