//! The harness of the system tests: the demo's sandbox cluster, with pods whose load a test sets, and the labels, writes,
//! metrics and documents that it checks.
//!
//! One node with a simulated host, a kubelet, an API server, and the unmodified agent and aggregator. Real time; the time
//! constants of the agent are shorter than those of the profile `lab`, so that a test takes seconds. A test waits up to
//! [`TIMEOUT`] for what it expects, and then checks for [`QUIET`] that nothing else follows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use plimsoll_agent::config::Config as AgentConfig;
use plimsoll_agent::profile::Profile;
use plimsoll_contract::status::PodStatus;
use plimsoll_contract::{Band, PodUid, Report, keys};
use plimsoll_demo::args::ProfileName;
use plimsoll_demo::cluster::{NODE, Options, TestCluster};
use plimsoll_demo::timeline::HostKind;
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_sandbox::api::{ApiOptions, ApiServer, BoundPod, Entry, Patch, Resource, Verb, Write};
use plimsoll_sandbox::load::{ANNOTATION, Load};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::wire::{self, Reply};

/// Namespace of the pods.
pub(crate) const NAMESPACE: &str = "demo";
/// Longest wait for an expected change.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(45);
/// How long nothing may happen until a test concludes that nothing will.
pub(crate) const QUIET: Duration = Duration::from_secs(2);

/// The limit of every pod's container, in cores.
const LIMIT: f64 = 0.2;
/// Loads in the middle of each band, in cores.
pub(crate) const LOW: f64 = LIMIT * 0.05;
pub(crate) const MODERATE: f64 = LIMIT * 0.5;
pub(crate) const HIGH: f64 = LIMIT * 0.9;

/// Our labels and annotations on a pod.
pub(crate) type Keys = BTreeMap<String, String>;

/// A running sandbox cluster.
pub(crate) struct Harness {
    pub(crate) cluster: TestCluster,
}

/// A simulated host, and an agent with short time constants.
pub(crate) fn options() -> Options {
    install_crypto_provider();
    Options { tune_agent: shorten_times, ..Options::new(ProfileName::Lab, HostKind::Simulated) }
}

/// Shortens the time constants of the profile `lab`.
pub(crate) fn shorten_times(config: &mut AgentConfig) {
    config.profile = Profile {
        half_life: Duration::from_millis(500),
        burst: 0.2,
        window: Duration::from_secs(2),
        warm_up: Duration::from_secs(1),
        ..Profile::lab()
    };
}

/// A pod of one container with limits and a constant load.
pub(crate) fn pod(name: &str, cores: f64) -> Value {
    let resources = json!({"cpu": "200m", "memory": "64Mi"});
    json!({
        "metadata": {
            "namespace": NAMESPACE, "name": name,
            "annotations": {ANNOTATION: constant(cores).to_notation()},
        },
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "app", "image": "app:1", "resources": {"requests": resources, "limits": resources}}],
        },
    })
}

fn constant(cores: f64) -> Load {
    Load::parse(&json!({"cpu": {"constant": cores}}).to_string()).unwrap()
}

impl Harness {
    /// Starts a cluster with the default options.
    pub(crate) async fn start() -> Harness {
        Harness::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> Harness {
        Harness { cluster: TestCluster::start(options).await.unwrap() }
    }

    /// Stops everything.
    pub(crate) async fn shutdown(self) {
        self.cluster.shutdown().await.unwrap();
    }

    // pods

    /// Creates a pod with a constant load.
    pub(crate) fn create_pod(&self, name: &str, cores: f64) {
        self.create(pod(name, cores));
    }

    /// Creates a pod, which runs when this returns.
    pub(crate) fn create(&self, pod: Value) {
        self.cluster.create_pod(pod).unwrap();
        self.cluster.kubelet().sync();
    }

    /// Changes the load of a pod.
    pub(crate) fn set_load(&self, name: &str, cores: f64) {
        let uid = PodUid::new(&self.uid(name)).unwrap();
        self.cluster.set_load(&uid, &constant(cores)).unwrap();
    }

    /// The pod in the API.
    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        self.cluster.api().store().get(&Resource::PODS, NAMESPACE, name).ok()
    }

    pub(crate) fn uid(&self, name: &str) -> String {
        self.pod(name).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn version(&self, name: &str) -> String {
        self.pod(name).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// Our labels and annotations on a pod.
    pub(crate) fn keys(&self, name: &str) -> Keys {
        let pod = self.pod(name).unwrap_or_default();
        let maps = ["labels", "annotations"]
            .map(|map| pod["metadata"][map].as_object().cloned().unwrap_or_default());
        let ours = maps.into_iter().flatten().filter(|(key, _)| key.starts_with(keys::PREFIX));
        ours.map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect()
    }

    /// Waits until a pod has this CPU band label.
    pub(crate) async fn labeled(&self, name: &str, band: &str) {
        let label = async || self.keys(name).get(keys::CPU_BAND).is_some_and(|value| value == band);
        self.until(&format!("{name} to be labeled {band}"), label).await;
    }

    /// Waits until a pod has none of our keys.
    pub(crate) async fn without_keys(&self, name: &str) {
        self.until(&format!("{name} to have none of our keys"), async || self.keys(name).is_empty()).await;
    }

    /// Changes an object as a user.
    pub(crate) fn edit(&self, resource: &Resource, namespace: &str, name: &str, change: Value) {
        let write = Write::by("kubectl-edit");
        self.cluster.api().store().patch(resource, namespace, name, &Patch::Merge(change), &write).unwrap();
    }

    /// Sets the pause switch.
    pub(crate) fn pause(&self, paused: &str) {
        let change = json!({"data": {"paused": paused}});
        self.edit(&Resource::CONFIG_MAPS, keys::SYSTEM_NAMESPACE, keys::CONTROL_CONFIG_MAP, change);
    }

    // writes

    /// All attempts of the aggregator to write to a pod, in order.
    pub(crate) fn writes(&self) -> Vec<Entry> {
        let user = aggregator();
        let mut writes = self.cluster.api().journal().writes_by(&user);
        writes.retain(|write| write.resource == "pods");
        writes
    }

    /// The attempts to write to one pod.
    pub(crate) fn writes_on(&self, name: &str) -> Vec<Entry> {
        let mut writes = self.writes();
        writes.retain(|write| write.name.as_deref() == Some(name));
        writes
    }

    /// Checks that no pod is written for a while.
    pub(crate) async fn quiet(&self) {
        let before = self.writes().len();
        sleep(QUIET).await;
        let writes = self.writes();
        assert_eq!(writes.len(), before, "nothing should be written, but: {:?}", writes.last());
    }

    // documents and metrics

    pub(crate) async fn get(&self, path: &str) -> Reply {
        wire::plain(self.cluster.aggregator_address(), "GET", path).await
    }

    /// The aggregator's document about a pod.
    pub(crate) async fn status(&self, name: &str) -> PodStatus {
        self.get(&format!("/v1/pods/{NAMESPACE}/{name}")).await.json()
    }

    /// The agent's report.
    pub(crate) async fn report(&self) -> Report {
        wire::plain(self.cluster.agent_address(), "GET", "/v1/report").await.json()
    }

    /// The CPU band of a pod in the agent's report; absent while the pod is not in it.
    pub(crate) async fn agent_band(&self, name: &str) -> Option<Band> {
        let uid = self.uid(name);
        let report = self.report().await;
        report.pods.iter().find(|pod| pod.uid.as_str() == uid).map(|pod| pod.cpu.band)
    }

    /// The value of a series of the aggregator.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric(self.cluster.aggregator_address(), series).await
    }

    /// The value of a series of the agent.
    pub(crate) async fn agent_metric(&self, series: &str) -> f64 {
        metric(self.cluster.agent_address(), series).await
    }

    /// Waits until the aggregator accepts reports and may write.
    pub(crate) async fn ready(&self) {
        let address = self.cluster.aggregator_address();
        let ready = async || {
            let reply = wire::try_get(address, "/readyz").await;
            let has = |reply: &Reply, line: &str| reply.text.contains(line);
            reply.is_some_and(|reply| {
                reply.code == 200 && has(&reply, "writes: allowed") && has(&reply, "signing_keys: ready")
            })
        };
        self.until("the aggregator to be ready", ready).await;
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        if !eventually(condition).await {
            let last: Vec<_> = self.writes().into_iter().rev().take(3).collect();
            panic!("waited {TIMEOUT:?} for {what}; the last writes: {last:#?}");
        }
    }

    // reports

    /// A token of the agent's pod.
    pub(crate) fn token(&self, ttl: Duration) -> String {
        let pods = self.cluster.api().store().list(
            &Resource::PODS,
            Some(keys::AGENT_NAMESPACE),
            &Default::default(),
        );
        let pod = pods.unwrap().first().cloned().expect("the agent's pod is there");
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let bound = BoundPod { name: text("name"), uid: text("uid"), node: NODE.to_owned() };
        let audiences = [keys::TOKEN_AUDIENCE];
        self.cluster.api().token_for(keys::AGENT_NAMESPACE, keys::AGENT_ACCOUNT, Some(bound), &audiences, ttl)
    }

    /// The CA certificate that the aggregator publishes.
    pub(crate) fn ca(&self) -> String {
        let store = self.cluster.api().store();
        let map = store.get(&Resource::CONFIG_MAPS, keys::AGENT_NAMESPACE, keys::CA_CONFIG_MAP).unwrap();
        map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned()
    }

    /// Posts a body to the port for agents.
    pub(crate) async fn post(&self, token: &str, body: impl ToString) -> Reply {
        let request = Request::post("/v1/reports")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        wire::tls(self.cluster.reports_address(), &self.ca(), request).await
    }
}

/// An API server without an aggregator, and a directory with its kubeconfig, for tests of the command line.
pub(crate) async fn api_server() -> (ApiServer, TempDir) {
    install_crypto_provider();
    let api = ApiServer::start(ApiOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("kubeconfig"), api.kubeconfig()).unwrap();
    (api, directory)
}

/// The user name of the aggregator.
pub(crate) fn aggregator() -> String {
    format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)
}

/// Whether a write is an apply of this CPU band.
pub(crate) fn applies(write: &Entry, band: &str) -> bool {
    write.verb == Verb::Apply && write.body["metadata"]["labels"][keys::CPU_BAND] == band
}

/// Waits until a condition holds; false after [`TIMEOUT`].
pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + TIMEOUT;
    while !condition().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

/// The value of a series on a plain port; 0 if it does not exist.
pub(crate) async fn metric(address: SocketAddr, series: &str) -> f64 {
    let Some(reply) = wire::try_get(address, "/metrics").await else { return 0.0 };
    let value =
        reply.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}
