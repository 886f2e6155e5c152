//! The demo's stage with what a test needs around it: pods whose load it decides, labels it waits for, writes it counts.
//!
//! One node with a simulated host, a kubelet, an API server, and the unmodified agent and aggregator. Real time; the time
//! constants of the agent are those of the profile `lab`, shortened, so that a test takes seconds. A test waits for what is
//! expected with much patience, and then sees that nothing else comes.

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
use plimsoll_demo::stage::{NODE, Options, Stage};
use plimsoll_demo::timeline::HostKind;
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_sandbox::api::{BoundPod, Entry, Patch, Resource, Verb, Write};
use plimsoll_sandbox::load::{ANNOTATION, Load};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::wire::{self, Reply};

/// Namespace of the pods.
pub(crate) const SHOP: &str = "demo";
/// What a test waits at most for something that shall come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
/// How long nothing must come before a test believes that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_secs(2);

/// The limit of every pod's container, in cores.
const LIMIT: f64 = 0.2;
/// Loads in the middle of each band, in cores.
pub(crate) const LOW: f64 = LIMIT * 0.05;
pub(crate) const MODERATE: f64 = LIMIT * 0.5;
pub(crate) const HIGH: f64 = LIMIT * 0.9;

/// A pod's labels and annotations of ours.
pub(crate) type Keys = BTreeMap<String, String>;

/// Everything that runs.
pub(crate) struct World {
    pub(crate) stage: Stage,
}

/// A simulated host, and an agent in a hurry.
pub(crate) fn options() -> Options {
    install_crypto_provider();
    Options { tune_agent: hurry, ..Options::new(ProfileName::Lab, HostKind::Simulated) }
}

/// As the profile `lab`, but shorter.
pub(crate) fn hurry(config: &mut AgentConfig) {
    config.profile = Profile {
        half_life: Duration::from_millis(500),
        dwell_on: Duration::from_secs(1),
        dwell_off: Duration::from_secs(2),
        warm_up: Duration::from_secs(1),
        ..Profile::lab()
    };
}

/// A pod of one container with limits, whose load is steady.
pub(crate) fn pod(name: &str, cores: f64) -> Value {
    let resources = json!({"cpu": "200m", "memory": "64Mi"});
    json!({
        "metadata": {
            "namespace": SHOP, "name": name,
            "annotations": {ANNOTATION: steady(cores).to_notation()},
        },
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "app", "image": "app:1", "resources": {"requests": resources, "limits": resources}}],
        },
    })
}

fn steady(cores: f64) -> Load {
    Load::parse(&json!({"cpu": {"constant": cores}}).to_string()).unwrap()
}

impl World {
    /// With the usual options.
    pub(crate) async fn start() -> World {
        World::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> World {
        World { stage: Stage::set(options).await.unwrap() }
    }

    /// Ends everything.
    pub(crate) async fn end(self) {
        self.stage.strike().await.unwrap();
    }

    // pods

    /// Creates a pod with this load.
    pub(crate) fn run(&self, name: &str, cores: f64) {
        self.create(pod(name, cores));
    }

    /// Creates a pod; it runs when this returns.
    pub(crate) fn create(&self, pod: Value) {
        self.stage.create_pod(pod).unwrap();
        self.stage.kubelet().sync();
    }

    /// From now on the pod wants so much.
    pub(crate) fn load(&self, name: &str, cores: f64) {
        let uid = PodUid::new(&self.uid(name)).unwrap();
        self.stage.set_load(&uid, &steady(cores)).unwrap();
    }

    /// The pod as the API server has it.
    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        self.stage.api().store().get(&Resource::PODS, SHOP, name).ok()
    }

    pub(crate) fn uid(&self, name: &str) -> String {
        self.pod(name).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn version(&self, name: &str) -> String {
        self.pod(name).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// Labels and annotations of ours on a pod.
    pub(crate) fn keys(&self, name: &str) -> Keys {
        let pod = self.pod(name).unwrap_or_default();
        let maps = ["labels", "annotations"]
            .map(|map| pod["metadata"][map].as_object().cloned().unwrap_or_default());
        let ours = maps.into_iter().flatten().filter(|(key, _)| key.starts_with(keys::PREFIX));
        ours.map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect()
    }

    /// Waits until a pod has this CPU band.
    pub(crate) async fn labeled(&self, name: &str, band: &str) {
        let label = async || self.keys(name).get(keys::CPU_BAND).is_some_and(|value| value == band);
        self.until(&format!("{name} to be labeled {band}"), label).await;
    }

    /// Waits until a pod has none of our keys.
    pub(crate) async fn bare(&self, name: &str) {
        self.until(&format!("{name} to be bare"), async || self.keys(name).is_empty()).await;
    }

    /// Changes a pod's metadata as a user would.
    pub(crate) fn edit(&self, resource: &Resource, namespace: &str, name: &str, change: Value) {
        let write = Write::by("kubectl-edit");
        self.stage.api().store().patch(resource, namespace, name, &Patch::Merge(change), &write).unwrap();
    }

    /// Turns the pause switch.
    pub(crate) fn pause(&self, paused: &str) {
        let change = json!({"data": {"paused": paused}});
        self.edit(&Resource::CONFIG_MAPS, keys::SYSTEM_NAMESPACE, keys::CONTROL_CONFIG_MAP, change);
    }

    // what was written

    /// Every attempt of the aggregator to write on a pod, in order.
    pub(crate) fn writes(&self) -> Vec<Entry> {
        let user = aggregator();
        let mut writes = self.stage.api().journal().writes_by(&user);
        writes.retain(|write| write.resource == "pods");
        writes
    }

    /// The attempts on one pod.
    pub(crate) fn writes_on(&self, name: &str) -> Vec<Entry> {
        let mut writes = self.writes();
        writes.retain(|write| write.name.as_deref() == Some(name));
        writes
    }

    /// Nothing is written on any pod for a while.
    pub(crate) async fn quiet(&self) {
        let before = self.writes().len();
        sleep(QUIET).await;
        let writes = self.writes();
        assert_eq!(writes.len(), before, "nothing should be written, but: {:?}", writes.last());
    }

    // what is said

    pub(crate) async fn get(&self, path: &str) -> Reply {
        wire::plain(self.stage.aggregator_address(), "GET", path).await
    }

    /// A pod as the aggregator sees it.
    pub(crate) async fn status(&self, name: &str) -> PodStatus {
        self.get(&format!("/v1/pods/{SHOP}/{name}")).await.json()
    }

    /// What the agent says of its node.
    pub(crate) async fn report(&self) -> Report {
        wire::plain(self.stage.agent_address(), "GET", "/v1/report").await.json()
    }

    /// The CPU band that the agent announces of a pod; absent while it does not know the pod.
    pub(crate) async fn announced(&self, name: &str) -> Option<Band> {
        let uid = self.uid(name);
        let report = self.report().await;
        report.pods.iter().find(|pod| pod.uid.as_str() == uid).map(|pod| pod.cpu.band)
    }

    /// A series of the aggregator.
    pub(crate) async fn counted(&self, series: &str) -> f64 {
        counted(self.stage.aggregator_address(), series).await
    }

    /// A series of the agent.
    pub(crate) async fn counted_by_agent(&self, series: &str) -> f64 {
        counted(self.stage.agent_address(), series).await
    }

    /// Waits until the aggregator takes reports in and may write.
    pub(crate) async fn ready(&self) {
        let address = self.stage.aggregator_address();
        let ready = async || {
            let reply = wire::try_get(address, "/readyz").await;
            reply.is_some_and(|reply| reply.code == 200 && reply.text.contains("writes: allowed"))
        };
        self.until("the aggregator to be ready", ready).await;
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        if !eventually(is).await {
            let last: Vec<_> = self.writes().into_iter().rev().take(3).collect();
            panic!("waited {PATIENCE:?} for {what}; the last writes: {last:#?}");
        }
    }

    // what an agent may send

    /// A token of the agent's pod, as the kubelet projects it.
    pub(crate) fn token(&self, ttl: Duration) -> String {
        let pods =
            self.stage.api().store().list(&Resource::PODS, Some(keys::AGENT_NAMESPACE), &Default::default());
        let pod = pods.unwrap().first().cloned().expect("the agent's pod is there");
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let bound = BoundPod { name: text("name"), uid: text("uid"), node: NODE.to_owned() };
        let audiences = [keys::TOKEN_AUDIENCE];
        self.stage.api().token_for(keys::AGENT_NAMESPACE, keys::AGENT_ACCOUNT, Some(bound), &audiences, ttl)
    }

    /// The CA that the aggregator publishes.
    pub(crate) fn ca(&self) -> String {
        let store = self.stage.api().store();
        let map = store.get(&Resource::CONFIG_MAPS, keys::AGENT_NAMESPACE, keys::CA_CONFIG_MAP).unwrap();
        map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned()
    }

    /// Posts a body as an agent would.
    pub(crate) async fn post(&self, token: &str, body: impl ToString) -> Reply {
        let request = Request::post("/v1/reports")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        wire::tls(self.stage.reports_address(), &self.ca(), request).await
    }
}

/// The aggregator, as the API server calls it.
pub(crate) fn aggregator() -> String {
    format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)
}

/// Whether an attempt was an apply of the CPU band `band`.
pub(crate) fn says(write: &Entry, band: &str) -> bool {
    write.verb == Verb::Apply && write.body["metadata"]["labels"][keys::CPU_BAND] == band
}

/// Waits until something is so; whether it came.
pub(crate) async fn eventually(is: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

/// The value of a series on a plain port; 0 where there is none.
pub(crate) async fn counted(address: SocketAddr, series: &str) -> f64 {
    let Some(reply) = wire::try_get(address, "/metrics").await else { return 0.0 };
    let value =
        reply.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}
