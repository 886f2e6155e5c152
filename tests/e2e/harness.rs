//! The cluster, its clients, and the tools of a user and of an operator.

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
use plimsoll_contract::status::{AgentState, NodeStatus, PodStatus};
use plimsoll_process::crypto::install_crypto_provider;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::audit::Audit;
use crate::history::History;

/// Time between two checks of a condition. Checking costs the nodes CPU that the measured pods then lack.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What defines the kind `SLAClass`.
pub(crate) const DEFINITION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/components/resizing/slaclass-definition.yaml");
/// The manifests under test.
pub(crate) const OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/overlays/e2e");

/// The cluster, and what was observed of it.
pub(crate) struct Harness {
    /// With the rights of an administrator.
    pub(crate) client: Client,
    /// Our keys on all pods since the start.
    pub(crate) history: Arc<History>,
    /// The write requests that the API server received.
    pub(crate) audit: Audit,
    pub(crate) kubeconfig: PathBuf,
}

impl Harness {
    /// Connects to the cluster of `KUBECONFIG`.
    pub(crate) async fn connect() -> anyhow::Result<Harness> {
        install_crypto_provider();
        let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let kubeconfig = kubeconfig.context("run it with `tests/cluster/cluster exec`, or `make e2e`")?;
        let client = Client::try_default().await.context("cannot connect to the API server")?;
        let state = kubeconfig.parent().context("KUBECONFIG is in no folder")?;
        let audit = Audit::at(state.join("log/audit.log"))?;
        let history = History::follow(client.clone());
        Ok(Harness { client, history, audit, kubeconfig })
    }

    // ---- as a user

    /// Runs `kubectl`; returns its output.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tool("kubectl".into(), arguments).await
    }

    /// Runs `plimsoll` as the administrator; returns its output.
    pub(crate) async fn plimsoll(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debug/plimsoll");
        let program = std::env::var_os("PLIMSOLL").map_or_else(|| PathBuf::from(built), PathBuf::from);
        let path = self.kubeconfig.to_str().context("KUBECONFIG is not UTF-8")?;
        tool(program, &[&["--kubeconfig", path], arguments].concat()).await
    }

    /// Creates an object of any kind.
    pub(crate) async fn create(&self, object: Value) -> anyhow::Result<()> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        std::fs::write(file.path(), object.to_string())?;
        let path = file.path().to_str().context("the temporary file's name is not UTF-8")?;
        self.kubectl(&["create", "-f", path]).await.map(drop)
    }

    /// Creates a namespace if it is missing, and waits until pods can be created in it.
    pub(crate) async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        create(&api, json!({"metadata": {"name": name}})).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        let account = async || Ok(accounts.get("default").await.is_ok());
        self.until("its default account", Duration::from_secs(30), account).await.map(drop)
    }

    /// Creates pods in a namespace, except those that exist.
    pub(crate) async fn run(&self, namespace: &str, pods: Vec<Value>) -> anyhow::Result<()> {
        self.namespace(namespace).await?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        for pod in pods {
            create(&api, pod).await?;
        }
        Ok(())
    }

    /// A pod from the API server.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> anyhow::Result<Pod> {
        Ok(Api::namespaced(self.client.clone(), namespace).get(name).await?)
    }

    /// The pods with a label.
    pub(crate) async fn pods(&self, namespace: &str, selector: &str) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.list(&ListParams::default().labels(selector)).await?.items)
    }

    /// The log of a pod; each line starts with the time that the container runtime recorded on the node.
    pub(crate) async fn log(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.logs(name, &LogParams { timestamps: true, ..LogParams::default() }).await?)
    }

    /// Whether as many pods of a namespace are running.
    pub(crate) async fn are_running(&self, namespace: &str, count: usize) -> anyhow::Result<bool> {
        Ok(self.pods(namespace, "").await?.iter().filter(|pod| is_running(pod)).count() == count)
    }

    /// A GET request to the API server.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client.request_text(request).await.with_context(|| format!("GET {path}"))
    }

    /// A GET request to the aggregator through its Service, as `plimsoll top` sends it.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (namespace, service) = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR_HTTP);
        let text =
            self.get(&format!("/api/v1/namespaces/{namespace}/services/{service}:http/proxy{path}")).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A pod from the aggregator.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> anyhow::Result<PodStatus> {
        self.ask(&format!("/v1/pods/{namespace}/{name}")).await
    }

    /// The nodes whose agents report.
    pub(crate) async fn reporting(&self) -> anyhow::Result<Vec<String>> {
        let nodes: Vec<NodeStatus> = self.ask("/v1/nodes").await?;
        let fresh =
            nodes.iter().filter(|node| node.state == AgentState::Reporting && node.report_age.is_some());
        Ok(fresh.map(|node| node.node.to_string()).collect())
    }

    /// The agent of a node.
    pub(crate) async fn agent(&self, node: &str) -> anyhow::Result<Pod> {
        let agents = self.pods(keys::AGENT_NAMESPACE, "app.kubernetes.io/name=plimsoll-agent").await?;
        let here = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(node));
        agents.into_iter().find(here).with_context(|| format!("no agent on {node}"))
    }

    /// A GET request to the agent of a node.
    pub(crate) async fn ask_agent(&self, node: &str, path: &str) -> anyhow::Result<String> {
        let agent = self.agent(node).await?;
        let name = agent.metadata.name.unwrap_or_default();
        self.get(&format!("/api/v1/namespaces/{}/pods/{name}:9617/proxy{path}", keys::AGENT_NAMESPACE)).await
    }

    // ---- as an operator

    /// Runs a command of the test cluster.
    pub(crate) async fn cluster(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tool(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/cluster").into(), arguments).await
    }

    /// Runs a shell command on a node.
    pub(crate) async fn on(&self, node: &str, line: &str) -> anyhow::Result<String> {
        let number = node.strip_prefix("node-").context("not a node of the test cluster")?;
        self.cluster(&["node-exec", number, "sh", "-c", line]).await
    }

    /// Kills every process of a pod's containers, as the OOM killer would.
    pub(crate) async fn kill(&self, pod: &Pod) -> anyhow::Result<()> {
        let node =
            pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("the pod is on no node")?;
        for (_, id, _) in container_ids(pod) {
            let files = format!(
                "/sys/fs/cgroup/kubepods/*/*/{id}/cgroup.procs /sys/fs/cgroup/kubepods/*/{id}/cgroup.procs"
            );
            self.on(&node, &format!("kill -9 $(cat {files} 2>/dev/null)")).await?;
        }
        Ok(())
    }

    /// Saves the logs of our pods in `target/e2e`, to debug a failure.
    pub(crate) async fn save_logs(&self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/e2e");
        let parts = [(keys::AGENT_NAMESPACE, "agents.log"), (keys::SYSTEM_NAMESPACE, "aggregator.log")];
        for (namespace, file) in parts {
            let selector = "-lapp.kubernetes.io/part-of=plimsoll";
            let text = self.kubectl(&["logs", "-n", namespace, selector, "--prefix", "--tail=-1"]).await;
            let Ok(text) = text else { continue };
            let _saved = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(format!("{folder}/{file}"), text));
        }
    }

    // ---- waiting

    /// Waits until a condition holds; returns how long that took. An error counts as not yet.
    pub(crate) async fn until(
        &self,
        what: &str,
        timeout: Duration,
        condition: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut problem;
        loop {
            match condition().await {
                Ok(true) => return Ok(start.elapsed()),
                Ok(false) => problem = String::new(),
                Err(error) => problem = format!(": {error:#}"),
            }
            if start.elapsed() > timeout {
                bail!("waited {timeout:?} for {what}{problem}");
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Checks for some time that a condition holds; fails as soon as it does not.
    pub(crate) async fn throughout(
        &self,
        what: &str,
        time: Duration,
        condition: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            ensure!(condition().await?, "{what}: no longer after {:.1} s", start.elapsed().as_secs_f64());
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

pub(crate) fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

/// For the query of a URL or a form.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Name, id and restarts of a pod's containers.
pub(crate) fn container_ids(pod: &Pod) -> Vec<(String, String, i32)> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let id = |long: &str| long.rsplit('/').next().unwrap_or(long).to_owned();
    let each = statuses.into_iter().flatten();
    each.filter_map(|one| Some((one.name.clone(), id(one.container_id.as_deref()?), one.restart_count)))
        .collect()
}

/// Creates an object unless one of its name exists.
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
