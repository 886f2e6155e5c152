//! The stage: the cluster, the client that looks at it, and the tools a user and an operator have.

use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_contract::status::{NodeState, NodeStatus, PodStatus};
use plimsoll_process::crypto::install_crypto_provider;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::audit::Audit;
use crate::history::History;

/// How often something is looked at that is waited for. Looking costs the nodes CPU that the measured pods then lack.
const LOOK: Duration = Duration::from_millis(500);

/// The cluster and what is known of it.
pub(crate) struct World {
    /// As its administrator.
    pub(crate) client: Client,
    /// What a watcher saw of our keys since the beginning.
    pub(crate) history: Arc<History>,
    /// What the API server was asked to write.
    pub(crate) audit: Audit,
    /// Where the kubeconfig is.
    pub(crate) kubeconfig: PathBuf,
}

impl World {
    /// Finds the cluster that `KUBECONFIG` names.
    pub(crate) async fn enter() -> anyhow::Result<World> {
        install_crypto_provider();
        let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let kubeconfig = kubeconfig.context("run it with `tests/cluster/cluster exec`, or `make e2e`")?;
        let client = Client::try_default().await.context("no way to the API server")?;
        let state = kubeconfig.parent().context("KUBECONFIG is in no folder")?;
        let audit = Audit::at(state.join("log/audit.log"))?;
        let history = History::follow(client.clone());
        Ok(World { client, history, audit, kubeconfig })
    }

    // as a user

    /// `kubectl` with these arguments; what it printed.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tool("kubectl".into(), arguments).await
    }

    /// The command line, built for this run, with these arguments, as the administrator; what it printed.
    pub(crate) async fn plimsoll(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/plimsoll");
        let program = std::env::var_os("PLIMSOLL").map_or_else(|| PathBuf::from(built), PathBuf::from);
        let path = self.kubeconfig.to_str().context("KUBECONFIG is an odd path")?;
        tool(program, &[&["--kubeconfig", path], arguments].concat()).await
    }

    /// Creates an object of any kind.
    pub(crate) async fn create(&self, object: Value) -> anyhow::Result<()> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        std::fs::write(file.path(), object.to_string())?;
        let path = file.path().to_str().context("a temporary file with an odd name")?;
        self.kubectl(&["create", "-f", path]).await.map(drop)
    }

    /// A namespace, unless it is there; when this returns, pods may be made in it.
    pub(crate) async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        create(&api, json!({"metadata": {"name": name}})).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        let account = async || Ok(accounts.get("default").await.is_ok());
        self.until("its default account", Duration::from_secs(30), account).await.map(drop)
    }

    /// Makes pods of one namespace; those that are there already stay.
    pub(crate) async fn run(&self, namespace: &str, pods: Vec<Value>) -> anyhow::Result<()> {
        self.namespace(namespace).await?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        for pod in pods {
            create(&api, pod).await?;
        }
        Ok(())
    }

    /// A pod as the API server has it.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> anyhow::Result<Pod> {
        Ok(Api::namespaced(self.client.clone(), namespace).get(name).await?)
    }

    /// The pods with a label.
    pub(crate) async fn pods(&self, namespace: &str, selector: &str) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.list(&ListParams::default().labels(selector)).await?.items)
    }

    /// What a pod said; each line begins with its time, which the container runtime takes on the node.
    pub(crate) async fn log(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.logs(name, &LogParams { timestamps: true, ..LogParams::default() }).await?)
    }

    /// A GET at the API server.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client.request_text(request).await.with_context(|| format!("GET {path}"))
    }

    /// A GET at the aggregator, through the Service, as `plimsoll top` does it.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (namespace, service) = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR_HTTP);
        let text =
            self.get(&format!("/api/v1/namespaces/{namespace}/services/{service}:http/proxy{path}")).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A pod as the aggregator sees it.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> anyhow::Result<PodStatus> {
        self.ask(&format!("/v1/pods/{namespace}/{name}")).await
    }

    /// The nodes of which reports come.
    pub(crate) async fn reporting(&self) -> anyhow::Result<Vec<String>> {
        let nodes: Vec<NodeStatus> = self.ask("/v1/nodes").await?;
        let fresh =
            nodes.iter().filter(|node| node.state == NodeState::Reporting && node.report_age.is_some());
        Ok(fresh.map(|node| node.node.to_string()).collect())
    }

    /// The agent of a node.
    pub(crate) async fn agent(&self, node: &str) -> anyhow::Result<Pod> {
        let agents = self.pods(keys::AGENT_NAMESPACE, "app.kubernetes.io/name=plimsoll-agent").await?;
        let here = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(node));
        agents.into_iter().find(here).with_context(|| format!("no agent on {node}"))
    }

    /// A GET at the agent of a node.
    pub(crate) async fn ask_agent(&self, node: &str, path: &str) -> anyhow::Result<String> {
        let agent = self.agent(node).await?;
        let name = agent.metadata.name.unwrap_or_default();
        self.get(&format!("/api/v1/namespaces/{}/pods/{name}:9617/proxy{path}", keys::AGENT_NAMESPACE)).await
    }

    // as an operator

    /// The command of the test cluster.
    pub(crate) async fn cluster(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tool(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/cluster").into(), arguments).await
    }

    /// A shell line on a node.
    pub(crate) async fn on(&self, node: &str, line: &str) -> anyhow::Result<String> {
        let number = node.strip_prefix("node-").context("a node of the test cluster")?;
        self.cluster(&["node-exec", number, "sh", "-c", line]).await
    }

    /// Kills every process of a pod's containers, as the kernel would.
    pub(crate) async fn kill(&self, pod: &Pod) -> anyhow::Result<()> {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("it is on no node")?;
        for (_, id, _) in container_ids(pod) {
            let files = format!(
                "/sys/fs/cgroup/kubepods/*/*/{id}/cgroup.procs /sys/fs/cgroup/kubepods/*/{id}/cgroup.procs"
            );
            self.on(&node, &format!("kill -9 $(cat {files} 2>/dev/null)")).await?;
        }
        Ok(())
    }

    /// Logs of ours in `target/e2e`, as far as there are any, for whoever looks at a failure.
    pub(crate) async fn keep_logs(&self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/e2e");
        let parts = [(keys::AGENT_NAMESPACE, "agents.log"), (keys::SYSTEM_NAMESPACE, "aggregator.log")];
        for (namespace, file) in parts {
            let selector = "-lapp.kubernetes.io/part-of=plimsoll";
            let text = self.kubectl(&["logs", "-n", namespace, selector, "--prefix", "--tail=-1"]).await;
            let Ok(text) = text else { continue };
            let _kept = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(format!("{folder}/{file}"), text));
        }
    }

    // waiting

    /// Waits until something is so; how long that took. An error counts as not yet.
    pub(crate) async fn until(
        &self,
        what: &str,
        most: Duration,
        is: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut said;
        loop {
            match is().await {
                Ok(true) => return Ok(begun.elapsed()),
                Ok(false) => said = String::new(),
                Err(error) => said = format!(": {error:#}"),
            }
            if begun.elapsed() > most {
                bail!("waited {most:?} for {what}{said}");
            }
            sleep(LOOK).await;
        }
    }

    /// Looks for a while; fails as soon as something is not so.
    pub(crate) async fn throughout(
        &self,
        what: &str,
        time: Duration,
        is: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            ensure!(is().await?, "{what}, but {:.1} s later no more", begun.elapsed().as_secs_f64());
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Name, id and restarts of a pod's containers.
pub(crate) fn container_ids(pod: &Pod) -> Vec<(String, String, i32)> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let id = |long: &str| long.rsplit('/').next().unwrap_or(long).to_owned();
    let each = statuses.into_iter().flatten();
    each.filter_map(|one| Some((one.name.clone(), id(one.container_id.as_deref()?), one.restart_count)))
        .collect()
}

/// Creates an object, unless one of its name is there.
async fn create<K>(api: &Api<K>, object: Value) -> anyhow::Result<()>
where
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    match api.create(&PostParams::default(), &serde_json::from_value(object)?).await {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

async fn tool(program: PathBuf, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(&program);
    command.args(arguments);
    let words = format!("{} {}", program.display(), arguments.join(" "));
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.with_context(|| format!("cannot run {words}"))?;
    ensure!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
