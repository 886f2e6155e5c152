//! A cluster of two nodes with an aggregator in it, and agents that say what a test wants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use plimsoll_aggregator::config::Config;
use plimsoll_aggregator::{Listeners, run};
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::api::{
    ApiOptions, ApiServer, BoundPod, Entry, Patch, Resource, Subresource, Verb, Write,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::wire::{self, Reply};

pub(super) const SYSTEM: &str = "plimsoll-system";
pub(super) const AGENTS: &str = "plimsoll-agents";
pub(super) const SERVICE: &str = "plimsoll-aggregator.plimsoll-system.svc";
pub(super) const AUDIENCE: &str = "plimsoll-aggregator";
const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// The ports of an aggregator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) plain: SocketAddr,
    pub(super) agents: SocketAddr,
    pub(super) probes: SocketAddr,
}

/// Everything that runs.
pub(super) struct Harness {
    pub(super) api: ApiServer,
    pub(super) plain: SocketAddr,
    pub(super) agents: SocketAddr,
    pub(super) probes: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    seq: AtomicU64,
}

/// The objects that the manifests ship, two nodes, two agents and a pod to label: `shop/web` on `n1`.
pub(super) async fn cluster() -> ApiServer {
    install_crypto_provider();
    let api = ApiServer::start(ApiOptions::default()).await.unwrap();
    let store = api.store();
    for name in [SYSTEM, AGENTS, "shop", "kube-system"] {
        let namespace = json!({"metadata": {"name": name}});
        // Some are there from the start.
        let _ = store.create(&Resource::NAMESPACES, namespace);
    }
    for name in ["n1", "n2"] {
        store.create(&Resource::NODES, json!({"metadata": {"name": name}})).unwrap();
    }
    let object = |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    store.create(&Resource::SERVICE_ACCOUNTS, object(AGENTS, "plimsoll-agent")).unwrap();
    store.create(&Resource::SECRETS, object(SYSTEM, "plimsoll-aggregator")).unwrap();
    store.create(&Resource::CONFIG_MAPS, object(AGENTS, "plimsoll-ca")).unwrap();
    store.create(&Resource::CONFIG_MAPS, object(SYSTEM, "plimsoll-control")).unwrap();
    store.create(&Resource::LEASES, object(SYSTEM, "plimsoll-aggregator")).unwrap();
    for node in ["n1", "n2"] {
        store.create(&Resource::PODS, agent_pod(&format!("agent-{node}"), node)).unwrap();
    }
    store.create(&Resource::PODS, pod("shop", "web", "n1")).unwrap();
    api
}

pub(super) fn pod(namespace: &str, name: &str, node: &str) -> Value {
    let resources =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}});
    json!({
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeName": node, "serviceAccountName": "default",
            "containers": [{"name": "app", "image": "app:1", "resources": resources}],
        },
        "status": {"phase": "Running"},
    })
}

pub(super) fn agent_pod(name: &str, node: &str) -> Value {
    let mut pod = pod(AGENTS, name, node);
    pod["spec"]["serviceAccountName"] = json!("plimsoll-agent");
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "plimsoll-agent", "uid": "d", "controller": true,
    }]);
    pod
}

impl Harness {
    /// A cluster and an aggregator that is ready.
    pub(super) async fn start() -> Harness {
        let harness = Harness::around(cluster().await, |_| {}).await;
        harness.ready().await;
        harness
    }

    /// An aggregator, started on this cluster, perhaps with another configuration.
    pub(super) async fn around(api: ApiServer, change: impl FnOnce(&mut Config)) -> Harness {
        let token = api.token_for(SYSTEM, "plimsoll-aggregator", None, &[], HOUR);
        let kubeconfig = api.kubeconfig().replace(&api.admin_token(), &token);
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
        let kube = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let mut config = Config::new(kube);
        change(&mut config);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::bind(any, any, any).unwrap();
        let [plain, agents, probes] = [&listeners.plain, &listeners.agents, &listeners.probes]
            .map(|listener| listener.local_addr().unwrap());
        let addresses = Addresses { plain, agents, probes };
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(config, listeners, shutdown.clone()));
        Harness::of(api, addresses, shutdown, running)
    }

    /// An aggregator that was started in some other way.
    pub(super) fn of(
        api: ApiServer,
        Addresses { plain, agents, probes }: Addresses,
        shutdown: Shutdown,
        running: JoinHandle<anyhow::Result<()>>,
    ) -> Harness {
        Harness { api, plain, agents, probes, shutdown, running, seq: AtomicU64::new(1) }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        wire::plain(self.plain, "GET", path).await
    }

    /// Waits until reports are taken in and writes are allowed.
    pub(super) async fn ready(&self) {
        self.until("readiness", async || {
            let reply = self.get("/readyz").await;
            // Keys are read, or cannot be.
            let keys = ["signing_keys: ready", "signing_keys: not yet ("]
                .iter()
                .any(|keys| reply.text.contains(keys));
            reply.code == 200 && keys && reply.text.contains("writes: allowed")
        })
        .await;
    }

    /// Waits for something.
    pub(super) async fn until(&self, what: &str, mut is: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is().await {
            assert!(!self.running.is_finished(), "the aggregator ended while waiting for {what}");
            assert!(Instant::now() < deadline, "no {what}: {:?}", self.get("/readyz").await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The bundle that agents mount.
    pub(super) fn bundle(&self) -> String {
        let map = self.api.store().get(&Resource::CONFIG_MAPS, AGENTS, "plimsoll-ca").unwrap();
        map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn uid(&self, namespace: &str, name: &str) -> String {
        let pod = self.api.store().get(&Resource::PODS, namespace, name).unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// What the agent on a node mounts.
    pub(super) fn token(&self, node: &str) -> String {
        self.token_of(AGENTS, "plimsoll-agent", &format!("agent-{node}"), node, &[AUDIENCE], HOUR)
    }

    pub(super) fn token_of(
        &self,
        namespace: &str,
        account: &str,
        pod: &str,
        node: &str,
        audiences: &[&str],
        ttl: Duration,
    ) -> String {
        let pod = BoundPod { name: pod.to_owned(), uid: self.uid(namespace, pod), node: node.to_owned() };
        self.api.token_for(namespace, account, Some(pod), audiences, ttl)
    }

    /// The next report of a node: `shop/web` has this CPU band, and low memory.
    pub(super) fn report(&self, node: &str, band: &str) -> Value {
        let utilization = match band {
            "high" => 0.8,
            "moderate" => 0.5,
            _ => 0.1,
        };
        json!({
            "version": 2, "node": node, "boot": "6f1f4c5e-0000-4000-8000-000000000001",
            "seq": self.seq.fetch_add(1, Ordering::Relaxed), "full": true, "rosterVersion": 0,
            "capacity": {"cores": 4.0, "bytes": 8_u64 << 30},
            "pods": [{
                "uid": self.uid("shop", "web"),
                "cpu": {"band": band, "basis": "limit", "utilization": utilization, "cores": utilization / 2.0, "of": 0.5},
                "memory": {"band": "low", "basis": "limit", "utilization": 0.1, "bytes": 12_u64 << 20, "of": 128_u64 << 20},
            }],
        })
    }

    /// Sends a report as an agent does.
    pub(super) async fn post(&self, token: &str, body: impl ToString) -> Reply {
        self.send(request(token, &body)).await
    }

    /// Sends anything to the agents' port.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = wire::shake(self.agents, SERVICE, &self.bundle()).await.unwrap();
        wire::whole(wire::exchange(stream, request).await).await
    }

    /// A connection to the agents' port for many reports.
    pub(super) async fn connect(&self) -> AgentConnection {
        let stream = wire::shake(self.agents, SERVICE, &self.bundle()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        AgentConnection(sender)
    }

    /// Changes the status of a pod, as a kubelet does.
    pub(super) fn change_status(&self, namespace: &str, name: &str, status: &Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let write = Write { subresource: Subresource::Status, ..Write::by("kubelet") };
        self.api.store().patch(&Resource::PODS, namespace, name, &patch, &write).unwrap();
    }

    /// How many tokens had this result.
    pub(super) async fn tokens(&self, result: &str) -> f64 {
        self.metric(&format!("plimsoll_aggregator_tokens_total{{result=\"{result}\"}}")).await
    }

    /// The agent of `n1` says that `shop/web` has this CPU band.
    pub(super) async fn say(&self, band: &str) {
        let reply = self.post(&self.token("n1"), self.report("n1", band)).await;
        assert_eq!(reply.code, 200, "{reply:?}");
    }

    pub(super) fn labels(&self, namespace: &str, name: &str) -> Value {
        self.api.store().get(&Resource::PODS, namespace, name).unwrap()["metadata"]["labels"].clone()
    }

    pub(super) fn cpu_band(&self) -> String {
        self.labels("shop", "web")["plimsoll.dev/cpu-band"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for the CPU band on `shop/web`.
    pub(super) async fn labeled(&self, band: &str) {
        self.until(&format!("label {band}"), async || self.cpu_band() == band).await;
    }

    /// Every request of the aggregator that was to change a pod.
    pub(super) fn pod_writes(&self) -> Vec<Entry> {
        let user = "system:serviceaccount:plimsoll-system:plimsoll-aggregator";
        self.api.journal().find(|entry| entry.is_write() && entry.resource == "pods" && entry.user == user)
    }

    /// Nothing was written on any pod, and nothing is within a moment.
    pub(super) async fn assert_silent(&self) {
        sleep(Duration::from_millis(200)).await;
        assert!(self.pod_writes().is_empty(), "{:?}", self.pod_writes());
    }

    /// The newest decision on `shop/web` has this outcome.
    pub(super) async fn decided(&self, outcome: &str) {
        self.until(&format!("decision {outcome}"), async || {
            self.get("/v1/decisions").await.json()[0]["outcome"] == outcome
        })
        .await;
    }

    /// One sample of a metric.
    pub(super) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Ends it, as SIGTERM does.
    pub(super) async fn stop(self) -> ApiServer {
        self.shutdown.trigger();
        self.running.await.unwrap().unwrap();
        self.api
    }
}

/// A connection of an agent.
pub(super) struct AgentConnection(SendRequest<Full<Bytes>>);

impl AgentConnection {
    /// Sends a report and reads the answer.
    pub(super) async fn post(&mut self, token: &str, body: &str) -> Reply {
        self.0.ready().await.unwrap();
        wire::whole(self.0.send_request(request(token, &body)).await.unwrap()).await
    }
}

fn request(token: &str, body: &impl ToString) -> Request<Full<Bytes>> {
    let request = Request::post("/v1/reports")
        .header("host", SERVICE)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    request.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

/// Only server-side applies are ever made.
pub(super) fn is_apply(entry: &Entry) -> bool {
    entry.verb == Verb::Apply && entry.manager.as_deref() == Some("plimsoll")
}
