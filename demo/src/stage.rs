//! The stage: a sandbox with the unmodified agent and aggregator in it, reached as in a cluster.
//!
//! ```text
//!   host (real or simulated cgroups) <- kubelet <- API server (loopback, HTTPS) <- aggregator
//!      |                                  |                                          ^
//!      +------------- agent --------------+--- CA, token (projected files) --- TLS --+
//! ```
//!
//! The system tests stand on the same stage: they choose what differs in [`Options`].
//! Everything it makes is below one temporary directory and one cgroup, both gone when it is struck.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use plimsoll_agent::args::Args as AgentArgs;
use plimsoll_agent::config::Config as AgentConfig;
use plimsoll_aggregator::Listeners;
use plimsoll_aggregator::config::Config as AggregatorConfig;
use plimsoll_contract::{Bytes, PodUid, keys};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::api::{ApiOptions, ApiServer, Resource};
use plimsoll_sandbox::host::Host;
use plimsoll_sandbox::host::layout::Layout;
use plimsoll_sandbox::host::real::{RealHost, Worker};
use plimsoll_sandbox::host::simulated::SimulatedHost;
use plimsoll_sandbox::host::{HostFacts, NodeSize};
use plimsoll_sandbox::kubelet::{Kubelet, KubeletOptions, TokenFile};
use plimsoll_sandbox::load::Load;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::args::ProfileName;
use crate::folder;
use crate::held::HeldAddress;
use crate::timeline::HostKind;

mod objects;

/// Name of the one node.
pub const NODE: &str = "laptop";
/// Name under which real cgroups are made.
const CGROUP: &str = "plimsoll-demo";
/// Size of a simulated node.
const SIMULATED: NodeSize = NodeSize { cpus: 2, memory: Bytes(4 << 30) };
/// At the end, agent and aggregator get so long to finish.
const GRACE: Duration = Duration::from_secs(20);

/// What a stage is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time constants of the agent.
    pub profile: ProfileName,
    /// Which host; `Real` where it cannot be had is an error.
    pub host: HostKind,
    /// How a real host starts its workloads.
    pub worker: Worker,
    /// Further flags of the agent.
    pub agent_flags: Vec<String>,
    /// Where the aggregator records its inputs, if anywhere.
    pub record: Option<PathBuf>,
    /// Last word on what the agent is told to do.
    pub tune_agent: fn(&mut AgentConfig),
    /// Last word on what the aggregator is told to do.
    pub tune_aggregator: fn(&mut AggregatorConfig),
    /// What is done with the API server when everything is installed and before anybody asks it: to script its faults, say.
    pub prepare: fn(&ApiServer),
}

impl Options {
    /// This host with this profile.
    pub fn new(profile: ProfileName, host: HostKind) -> Options {
        Options {
            profile,
            host,
            worker: Worker::this_program(),
            agent_flags: Vec::new(),
            record: None,
            tune_agent: |_| {},
            tune_aggregator: |_| {},
            prepare: |_| {},
        }
    }
}

/// A stage that is set: everything runs.
pub struct Stage {
    api: ApiServer,
    host: Arc<dyn Host>,
    simulated: Option<Arc<SimulatedHost>>,
    kubelet: Kubelet,
    dir: TempDir,
    agent: Program,
    aggregator: Program,
    ports: Ports,
    options: Options,
}

/// Where the two programs listen, before and after a restart.
struct Ports {
    agent: HeldAddress,
    plain: HeldAddress,
    reports: HeldAddress,
}

impl Ports {
    fn free() -> anyhow::Result<Ports> {
        let free = || HeldAddress::any().context("cannot find a free port");
        Ok(Ports { agent: free()?, plain: free()?, reports: free()? })
    }

    async fn of_aggregator(&self) -> anyhow::Result<Listeners> {
        Listeners::bind(self.plain.address(), self.reports.address()).await
    }

    async fn of_agent(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.agent.address()).await.context("cannot listen for the agent")
    }
}

/// A program under way: how to stop it, and its end.
struct Program {
    stop: Shutdown,
    end: JoinSet<anyhow::Result<()>>,
}

impl Program {
    fn start(stop: Shutdown, program: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Program {
        let mut end = JoinSet::new();
        end.spawn(program);
        Program { stop, end }
    }

    async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        self.stop.trigger();
        match tokio::time::timeout(GRACE, self.end.join_next()).await {
            Ok(Some(Ok(result))) => result.with_context(|| format!("the {name} failed")),
            Ok(Some(Err(error))) => Err(error).with_context(|| format!("the {name} panicked")),
            Ok(None) => Ok(()),
            Err(_) => bail!("the {name} did not stop in {} s", GRACE.as_secs()),
        }
    }
}

impl Stage {
    /// Sets the stage, without pods.
    ///
    /// # Errors
    /// Whatever cannot be started, by name.
    pub async fn set(options: Options) -> anyhow::Result<Stage> {
        let dir = folder::make(&tempfile::env::temp_dir())?;
        let (host, simulated) = host(&options, dir.path())?;
        let api = ApiServer::start(ApiOptions { graceful_deletion: true, ..ApiOptions::default() }).await?;
        for (resource, object) in objects::installed(NODE) {
            create(&api, &resource, object)?;
        }
        (options.prepare)(&api);
        let kubelet = Kubelet::start(&api, host.clone(), KubeletOptions::of(NODE))
            .context("cannot start the kubelet")?;
        project(&kubelet, dir.path())?;
        std::fs::write(dir.path().join("kubeconfig"), api.kubeconfig())
            .context("cannot write the kubeconfig")?;

        let ports = Ports::free()?;
        let aggregator = aggregator(&api, &options, ports.of_aggregator().await?).await?;
        let agent = agent(&options, &host.facts(), dir.path(), &ports).await?;
        Ok(Stage { api, host, simulated, kubelet, dir, agent, aggregator, ports, options })
    }

    /// Creates a pod; the kubelet starts it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn create_pod(&self, pod: Value) -> anyhow::Result<()> {
        create(&self.api, &Resource::PODS, pod)
    }

    /// The API server.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// The kubelet.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// The host.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// What the pods are.
    pub fn kind(&self) -> HostKind {
        self.options.host
    }

    /// Time constants of the agent.
    pub fn profile(&self) -> ProfileName {
        self.options.profile
    }

    /// Address of the agent's plain port.
    pub fn agent_address(&self) -> SocketAddr {
        self.ports.agent.address()
    }

    /// Address of the aggregator's plain port.
    pub fn aggregator_address(&self) -> SocketAddr {
        self.ports.plain.address()
    }

    /// Address of the aggregator's port for agents.
    pub fn reports_address(&self) -> SocketAddr {
        self.ports.reports.address()
    }

    /// The file from which the agent takes its token. The kubelet renews it long before the token expires.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// Changes what a pod's containers want from now on.
    ///
    /// # Errors
    /// When the host is not simulated, or knows no such pod.
    pub fn set_load(&self, pod: &PodUid, load: &Load) -> anyhow::Result<()> {
        let host = self.simulated.as_ref().context("only a simulated host changes loads on request")?;
        host.set_load(pod, load).with_context(|| format!("cannot change the load of pod {pod}"))
    }

    /// A file for `kubectl --kubeconfig`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// How to reach the API server as its administrator.
    ///
    /// # Errors
    /// If the sandbox's own kubeconfig cannot be read.
    pub async fn kube(&self) -> anyhow::Result<kube::Config> {
        objects::kube_config(&self.api, &self.api.admin_token()).await
    }

    /// Writes to pods that the aggregator made and the API server took.
    pub fn writes(&self) -> usize {
        let user = objects::aggregator_user();
        self.api.journal().writes_by(&user).iter().filter(|w| w.resource == "pods" && w.succeeded()).count()
    }

    /// Stops the agent and starts another one, as a DaemonSet would.
    ///
    /// # Errors
    /// When it fails, or cannot be started again.
    pub async fn restart_agent(&mut self) -> anyhow::Result<()> {
        self.agent.stop("agent").await?;
        self.agent = agent(&self.options, &self.host.facts(), self.dir.path(), &self.ports).await?;
        Ok(())
    }

    /// Stops the agent: its node falls silent.
    ///
    /// # Errors
    /// When it fails.
    pub async fn stop_agent(&mut self) -> anyhow::Result<()> {
        self.agent.stop("agent").await
    }

    /// Stops the aggregator: agents reach nobody, and nobody writes. [`Stage::restart_aggregator`] brings it back.
    ///
    /// # Errors
    /// When it fails.
    pub async fn stop_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.stop("aggregator").await
    }

    /// Stops the aggregator and starts another one, on the same ports.
    ///
    /// # Errors
    /// When it fails, or cannot be started again.
    pub async fn restart_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.stop("aggregator").await?;
        let listeners = self.ports.of_aggregator().await?;
        self.aggregator = aggregator(&self.api, &self.options, listeners).await?;
        Ok(())
    }

    /// Waits until the agent or the aggregator ends by itself, which is always an error.
    pub async fn broken(&mut self) -> anyhow::Error {
        let (name, end) = tokio::select! {
            end = self.agent.end.join_next() => ("agent", end),
            end = self.aggregator.end.join_next() => ("aggregator", end),
        };
        match end {
            Some(Ok(Err(error))) => error.context(format!("the {name} ended")),
            Some(Err(error)) => anyhow::Error::from(error).context(format!("the {name} panicked")),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the {name} ended"),
        }
    }

    /// Stops everything, and removes every file, process and cgroup.
    ///
    /// # Errors
    /// What failed while stopping; everything is removed all the same.
    pub async fn strike(mut self) -> anyhow::Result<()> {
        let agent = self.agent.stop("agent").await;
        let aggregator = self.aggregator.stop("aggregator").await;
        let (mut kubelet, host, api) = (self.kubelet, self.host, self.api);
        let swept = tokio::task::spawn_blocking(move || {
            kubelet.stop();
            host.stop();
        });
        swept.await.context("stopping the kubelet")?;
        api.stop().await;
        self.dir.close().context("cannot remove the temporary directory")?;
        agent.and(aggregator)
    }
}

/// Which host can be had here, and why it is not the other one.
pub fn choose_host(simulated: bool) -> (HostKind, String) {
    if simulated {
        return (HostKind::Simulated, "asked for with --simulated".into());
    }
    match RealHost::available() {
        Ok(()) => (HostKind::Real, "cgroups can be made here".into()),
        Err(why) => (HostKind::Simulated, why.to_string()),
    }
}

/// A host; once more with its own type if it is simulated.
type AnyHost = (Arc<dyn Host>, Option<Arc<SimulatedHost>>);

fn host(options: &Options, dir: &Path) -> anyhow::Result<AnyHost> {
    match options.host {
        HostKind::Real => {
            let host = RealHost::new(CGROUP, options.worker.clone()).context("cannot make real cgroups")?;
            Ok((Arc::new(host), None))
        }
        HostKind::Simulated => {
            let host = SimulatedHost::new(&dir.join("host"), Layout::default(), SIMULATED)
                .context("cannot simulate a host")?;
            host.follow_the_clock().context("cannot simulate a host")?;
            let host = Arc::new(host);
            Ok((host.clone(), Some(host)))
        }
    }
}

fn project(kubelet: &Kubelet, dir: &Path) -> anyhow::Result<()> {
    kubelet.project_config_map(keys::AGENT_NAMESPACE, keys::CA_CONFIG_MAP, &dir.join("ca"))?;
    kubelet.project_token(TokenFile {
        namespace: keys::AGENT_NAMESPACE.into(),
        account: keys::AGENT_ACCOUNT.into(),
        pod: objects::AGENT_POD.into(),
        audience: keys::TOKEN_AUDIENCE.into(),
        ttl: Duration::from_secs(600),
        path: dir.join("token"),
    })?;
    Ok(())
}

async fn aggregator(api: &ApiServer, options: &Options, listeners: Listeners) -> anyhow::Result<Program> {
    let account = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR);
    let token = api.token_for(account.0, account.1, None, &[], Duration::from_secs(24 * 3600));
    let mut config = AggregatorConfig::new(objects::kube_config(api, &token).await?);
    // The agent finds the aggregator under this name here, where there is no cluster DNS.
    config.dns_names.push("localhost".into());
    config.record = options.record.clone();
    (options.tune_aggregator)(&mut config);
    let stop = Shutdown::new();
    Ok(Program::start(stop.clone(), plimsoll_aggregator::run(config, listeners, stop)))
}

async fn agent(options: &Options, facts: &HostFacts, dir: &Path, ports: &Ports) -> anyhow::Result<Program> {
    let path = |path: &Path| path.display().to_string();
    let mut flags = vec![
        "plimsoll-agent".to_owned(),
        format!("--node-name={NODE}"),
        format!("--host-root={}", path(&facts.root)),
        format!("--aggregator=localhost:{}", ports.reports.address().port()),
        format!("--ca-file={}", path(&dir.join("ca"))),
        format!("--token-file={}", path(&dir.join("token"))),
        format!("--profile={}", options.profile.as_str()),
    ];
    flags.extend(facts.kubepods.iter().map(|kubepods| format!("--kubepods={kubepods}")));
    flags.extend(options.agent_flags.iter().cloned());
    let mut config = AgentConfig::from_args(&AgentArgs::try_parse_from(flags)?)?;
    (options.tune_agent)(&mut config);
    let stop = Shutdown::new();
    Ok(Program::start(stop.clone(), plimsoll_agent::run(config, ports.of_agent().await?, stop)))
}

fn create(api: &ApiServer, resource: &Resource, object: Value) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].to_string();
    api.store()
        .create(resource, object)
        .with_context(|| format!("cannot create {} {name}", resource.plural))?;
    Ok(())
}
