//! The sandbox cluster: a sandbox with the unmodified agent and aggregator, connected as in a real cluster.
//!
//! ```text
//!   host (real or simulated cgroups) <- kubelet <- API server (loopback, HTTPS) <- aggregator
//!      |                                  |                                          ^
//!      +------------- agent --------------+--- CA, token (projected files) --- TLS --+
//! ```
//!
//! The system tests use it too, with other [`Options`]. All its files and cgroups are below one temporary directory and one
//! cgroup, which are removed at shutdown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use plimsoll_agent::Listeners as AgentListeners;
use plimsoll_agent::args::Args as AgentArgs;
use plimsoll_agent::config::Config as AgentConfig;
use plimsoll_aggregator::Listeners;
use plimsoll_aggregator::config::Config as AggregatorConfig;
use plimsoll_contract::{Bytes, PodUid, keys};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::api::{ApiOptions, ApiServer, Resource};
use plimsoll_sandbox::host::Host;
use plimsoll_sandbox::host::real::{RealHost, WorkloadCommand};
use plimsoll_sandbox::host::simulated::SimulatedHost;
use plimsoll_sandbox::host::{HostInfo, NodeSize};
use plimsoll_sandbox::kubelet::{Kubelet, KubeletOptions, TokenFile};
use plimsoll_sandbox::load::Load;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::args::ProfileName;
use crate::folder;
use crate::reserved::ReservedAddress;
use crate::timeline::HostKind;

mod classes;
mod objects;

/// Name of the node.
pub const NODE: &str = "laptop";
/// Prefix of the name of the real cgroup.
const CGROUP: &str = "plimsoll-demo";
/// Size of a simulated node.
const SIMULATED: NodeSize = NodeSize { cpus: 2, memory: Bytes(4 << 30) };
/// Shutdown grace period of the agent and the aggregator.
const GRACE: Duration = Duration::from_secs(20);

/// Options of a sandbox cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's profile.
    pub profile: ProfileName,
    /// The kind of host; `Real` is an error where it is not available.
    pub host: HostKind,
    /// How a real host starts its workloads.
    pub workload_command: WorkloadCommand,
    /// Additional flags of the agent.
    pub agent_flags: Vec<String>,
    /// Whether pods with an SLA class are resized. Installs the classes.
    pub resize: bool,
    /// File to which the aggregator records its inputs.
    pub record: Option<PathBuf>,
    /// Final changes of the agent's configuration.
    pub tune_agent: fn(&mut AgentConfig),
    /// Final changes of the aggregator's configuration.
    pub tune_aggregator: fn(&mut AggregatorConfig),
    /// Called after all objects are installed and before any program starts, for instance to script faults.
    pub prepare: fn(&ApiServer),
}

impl Options {
    /// The defaults for a host and a profile.
    pub fn new(profile: ProfileName, host: HostKind) -> Options {
        Options {
            profile,
            host,
            workload_command: WorkloadCommand::this_program(),
            agent_flags: Vec::new(),
            resize: false,
            record: None,
            tune_agent: |_| {},
            tune_aggregator: |_| {},
            prepare: |_| {},
        }
    }
}

/// A running sandbox cluster.
pub struct TestCluster {
    api: ApiServer,
    host: Arc<dyn Host>,
    /// The same host, if it is simulated.
    simulated: Option<Arc<SimulatedHost>>,
    kubelet: Kubelet,
    dir: TempDir,
    agent: Program,
    aggregator: Program,
    ports: Ports,
    options: Options,
}

/// The ports of both programs, which they keep across restarts.
struct Ports {
    agent: ReservedAddress,
    agent_probes: ReservedAddress,
    plain: ReservedAddress,
    reports: ReservedAddress,
    aggregator_probes: ReservedAddress,
}

impl Ports {
    fn reserve() -> anyhow::Result<Ports> {
        let any = || ReservedAddress::any().context("cannot reserve a port");
        Ok(Ports {
            agent: any()?,
            agent_probes: any()?,
            plain: any()?,
            reports: any()?,
            aggregator_probes: any()?,
        })
    }

    fn bind_aggregator(&self) -> anyhow::Result<Listeners> {
        Listeners::bind(self.plain.address(), self.reports.address(), self.aggregator_probes.address())
    }

    fn bind_agent(&self) -> anyhow::Result<AgentListeners> {
        AgentListeners::bind(self.agent.address(), self.agent_probes.address())
    }
}

/// A running program.
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

impl TestCluster {
    /// Starts a cluster without pods.
    ///
    /// # Errors
    /// When a part cannot be started; the error names it.
    pub async fn start(options: Options) -> anyhow::Result<TestCluster> {
        let dir = folder::create(&tempfile::env::temp_dir())?;
        let (host, simulated) = host(&options, dir.path())?;
        let api = ApiServer::start(ApiOptions { graceful_deletion: true, ..ApiOptions::default() }).await?;
        for (resource, object) in objects::installed(NODE) {
            create(&api, &resource, object)?;
        }
        let classes = if options.resize { classes::installed()? } else { Vec::new() };
        for (resource, object) in classes {
            create(&api, &resource, object)?;
        }
        (options.prepare)(&api);
        let kubelet = Kubelet::start(&api, host.clone(), KubeletOptions::new(NODE))
            .context("cannot start the kubelet")?;
        project(&kubelet, dir.path())?;
        std::fs::write(dir.path().join("kubeconfig"), api.kubeconfig())
            .context("cannot write the kubeconfig")?;

        let ports = Ports::reserve()?;
        let aggregator = aggregator(&api, &options, ports.bind_aggregator()?).await?;
        let agent = agent(&options, &host.info(), dir.path(), &ports).await?;
        Ok(TestCluster { api, host, simulated, kubelet, dir, agent, aggregator, ports, options })
    }

    /// Creates a pod; the kubelet starts it.
    ///
    /// # Errors
    /// When the API server rejects it.
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

    /// The size of the node.
    pub fn node_size(&self) -> NodeSize {
        self.host.info().size
    }

    /// The kind of host.
    pub fn host_kind(&self) -> HostKind {
        self.options.host
    }

    /// The agent's profile.
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

    /// Addresses of the ports for probes, of the agent and of the aggregator.
    pub fn probe_addresses(&self) -> [SocketAddr; 2] {
        [self.ports.agent_probes.address(), self.ports.aggregator_probes.address()]
    }

    /// Address of the aggregator's port for agents.
    pub fn reports_address(&self) -> SocketAddr {
        self.ports.reports.address()
    }

    /// The agent's token file. The kubelet renews the token long before it expires.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// Changes the load of a pod's containers.
    ///
    /// # Errors
    /// When the host is not simulated, or has no such pod.
    pub fn set_load(&self, pod: &PodUid, load: &Load) -> anyhow::Result<()> {
        let host =
            self.simulated.as_ref().context("the load of a pod can only be changed on a simulated host")?;
        host.set_load(pod, load).with_context(|| format!("cannot change the load of pod {pod}"))
    }

    /// The path of a kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A client configuration of the administrator.
    ///
    /// # Errors
    /// If the sandbox's own kubeconfig is invalid.
    pub async fn kube(&self) -> anyhow::Result<kube::Config> {
        objects::kube_config(&self.api, &self.api.admin_token()).await
    }

    /// Number of successful writes of the aggregator to pods.
    pub fn writes(&self) -> usize {
        let user = objects::aggregator_user();
        self.api
            .journal()
            .writes_by(&user)
            .iter()
            .filter(|write| write.resource == "pods" && write.succeeded())
            .count()
    }

    /// Stops the agent and starts another one, like a DaemonSet.
    ///
    /// # Errors
    /// When it fails, or the new one cannot be started.
    pub async fn restart_agent(&mut self) -> anyhow::Result<()> {
        self.agent.stop("agent").await?;
        self.agent = agent(&self.options, &self.host.info(), self.dir.path(), &self.ports).await?;
        Ok(())
    }

    /// Stops the agent: its node becomes silent.
    ///
    /// # Errors
    /// When it fails.
    pub async fn stop_agent(&mut self) -> anyhow::Result<()> {
        self.agent.stop("agent").await
    }

    /// Stops the aggregator. [`TestCluster::restart_aggregator`] starts another one.
    ///
    /// # Errors
    /// When it fails.
    pub async fn stop_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.stop("aggregator").await
    }

    /// Stops the aggregator and starts another one, on the same ports.
    ///
    /// # Errors
    /// When it fails, or the new one cannot be started.
    pub async fn restart_aggregator(&mut self) -> anyhow::Result<()> {
        self.aggregator.stop("aggregator").await?;
        let listeners = self.ports.bind_aggregator()?;
        self.aggregator = aggregator(&self.api, &self.options, listeners).await?;
        Ok(())
    }

    /// Waits until the agent or the aggregator ends by itself, which is always an error.
    pub async fn failure(&mut self) -> anyhow::Error {
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
    /// The first failure; everything is stopped and removed anyway.
    pub async fn shutdown(mut self) -> anyhow::Result<()> {
        let agent = self.agent.stop("agent").await;
        let aggregator = self.aggregator.stop("aggregator").await;
        let (mut kubelet, host, api) = (self.kubelet, self.host, self.api);
        let stopped = tokio::task::spawn_blocking(move || {
            kubelet.stop();
            host.stop();
        });
        stopped.await.context("cannot stop the kubelet and the host")?;
        api.stop().await;
        self.dir.close().context("cannot remove the temporary directory")?;
        agent.and(aggregator)
    }
}

/// The kind of host that is available here, and why it is not the other one.
pub fn choose_host(simulated: bool) -> (HostKind, String) {
    if simulated {
        return (HostKind::Simulated, "requested with --simulated".into());
    }
    match RealHost::available() {
        Ok(()) => (HostKind::Real, "cgroups can be created here".into()),
        Err(error) => (HostKind::Simulated, format!("{error:#}")),
    }
}

/// A host, and the same host again if it is simulated.
type StartedHost = (Arc<dyn Host>, Option<Arc<SimulatedHost>>);

fn host(options: &Options, dir: &Path) -> anyhow::Result<StartedHost> {
    match options.host {
        HostKind::Real => {
            let host = RealHost::new(CGROUP, options.workload_command.clone())
                .context("cannot create real cgroups")?;
            Ok((Arc::new(host), None))
        }
        HostKind::Simulated => {
            let host = SimulatedHost::new(&dir.join("host"), SIMULATED).context("cannot simulate a host")?;
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
    // The name under which the agent connects here, where there is no cluster DNS.
    config.dns_names.push("localhost".into());
    config.record = options.record.clone();
    config.settings.resize.enabled = options.resize;
    (options.tune_aggregator)(&mut config);
    let stop = Shutdown::new();
    Ok(Program::start(stop.clone(), plimsoll_aggregator::run(config, listeners, stop)))
}

async fn agent(options: &Options, host: &HostInfo, dir: &Path, ports: &Ports) -> anyhow::Result<Program> {
    let path = |path: &Path| path.display().to_string();
    let mut flags = vec![
        "plimsoll-agent".to_owned(),
        format!("--node-name={NODE}"),
        format!("--host-root={}", path(&host.root)),
        format!("--aggregator=localhost:{}", ports.reports.address().port()),
        format!("--ca-file={}", path(&dir.join("ca"))),
        format!("--token-file={}", path(&dir.join("token"))),
        format!("--profile={}", options.profile.as_str()),
    ];
    flags.extend(host.kubepods.iter().map(|kubepods| format!("--kubepods={kubepods}")));
    flags.extend(options.agent_flags.iter().cloned());
    let mut config = AgentConfig::from_args(&AgentArgs::try_parse_from(flags)?)?;
    (options.tune_agent)(&mut config);
    let stop = Shutdown::new();
    Ok(Program::start(stop.clone(), plimsoll_agent::run(config, ports.bind_agent()?, stop)))
}

fn create(api: &ApiServer, resource: &Resource, object: Value) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].to_string();
    api.store()
        .create(resource, object)
        .with_context(|| format!("cannot create {} {name}", resource.plural))?;
    Ok(())
}
