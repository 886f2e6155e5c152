//! An API server with pods of a user that the aggregator labeled, for tests of the command line.

use clap::Parser;
use plimsoll::args::Args;
use plimsoll_contract::keys;
use plimsoll_sandbox::api::{ApiServer, Entry, Patch, Resource, Subresource, Verb, Write};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::api_server;

/// The labels of the user on a pod.
pub(crate) const USERS: [(&str, &str); 3] =
    [("app", "web"), (keys::SLA, "gold"), ("plimsoll.example/cpu-band", "x")];

/// An API server with pods in it, and a folder with its kubeconfig.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) folder: TempDir,
}

/// The result of a command.
pub(crate) struct CommandResult {
    pub(crate) text: String,
    pub(crate) failure: Option<String>,
}

impl CommandResult {
    pub(crate) fn failure(&self) -> &str {
        self.failure.as_deref().unwrap_or("it did not fail")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Cluster {
    /// A cluster with the objects of `kubectl apply -k` that matter here.
    pub(crate) async fn installed() -> Cluster {
        let cluster = Cluster::bare().await;
        let store = cluster.api.store();
        store.create(&Resource::NAMESPACES, json!({"metadata": {"name": keys::SYSTEM_NAMESPACE}})).unwrap();
        let map =
            json!({"metadata": {"namespace": keys::SYSTEM_NAMESPACE, "name": keys::CONTROL_CONFIG_MAP}});
        store.create(&Resource::CONFIG_MAPS, map).unwrap();
        cluster
    }

    pub(crate) async fn bare() -> Cluster {
        let (api, folder) = api_server().await;
        Cluster { api, folder }
    }

    /// Creates a pod of a user.
    pub(crate) fn create_pod(&self, name: &str) {
        self.create(name, &json!({}));
    }

    fn create(&self, name: &str, resources: &Value) {
        let labels: serde_json::Map<_, _> =
            USERS.map(|(key, value)| (key.to_owned(), json!(value))).into_iter().collect();
        let pod = json!({
            "metadata": {"namespace": "default", "name": name, "labels": labels, "annotations": {keys::BOUNDS: "{}"}},
            "spec": {"containers": [{"name": "app", "image": "app:1", "resources": resources}]},
        });
        self.api.store().create_as(&Resource::PODS, pod, &Write::by("kubectl-create")).unwrap();
    }

    /// Creates a pod that asked for 250m and 500m of CPU and 64Mi of memory, and that the aggregator resized to 600m and 890m.
    pub(crate) fn resized(&self, name: &str) {
        let original = json!({"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m"}});
        self.create(name, &original);
        let annotations = json!({
            keys::ORIGINAL_RESOURCES: json!({"app": original}).to_string(), keys::EPOCH: "7", keys::EVIDENCE: "cpu high",
        });
        let labels = json!({keys::CPU_BAND: "high", keys::CPU_BASIS: "limit"});
        self.apply(name, &labels, &annotations, "plimsoll");
        let resources = json!({"requests": {"cpu": "600m"}, "limits": {"cpu": "890m"}});
        let body = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
        let write = Write::by("plimsoll").through(Subresource::Resize);
        self.api.store().patch(&Resource::PODS, "default", name, &Patch::Strategic(body), &write).unwrap();
    }

    /// Request and limit of a pod's CPU.
    pub(crate) fn cpu(&self, name: &str) -> [String; 2] {
        let resources = &self.pod(name)["spec"]["containers"][0]["resources"];
        ["requests", "limits"].map(|part| resources[part]["cpu"].as_str().unwrap_or_default().to_owned())
    }

    /// The resizes that were sent over HTTPS.
    pub(crate) fn resizes(&self) -> Vec<Entry> {
        self.api.journal().find(|entry| entry.subresource.as_deref() == Some("resize"))
    }

    /// Labels a pod like the aggregator.
    pub(crate) fn label(&self, name: &str) {
        let labels = json!({keys::CPU_BAND: "high", keys::CPU_BASIS: "limit"});
        self.apply(name, &labels, &json!({keys::EVIDENCE: "cpu high", keys::EPOCH: "7"}), "plimsoll");
    }

    pub(crate) fn apply(&self, name: &str, labels: &Value, annotations: &Value, manager: &str) {
        let metadata =
            json!({"namespace": "default", "name": name, "labels": labels, "annotations": annotations});
        let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}));
        self.api.store().patch(&Resource::PODS, "default", name, &patch, &Write::by(manager)).unwrap();
    }

    /// Creates pods of a user with our keys.
    pub(crate) fn labeled(&self, names: &[&str]) {
        for name in names {
            self.create_pod(name);
            self.label(name);
        }
    }

    pub(crate) fn pod(&self, name: &str) -> Value {
        self.api.store().get(&Resource::PODS, "default", name).unwrap()
    }

    /// The keys with our prefix on a pod, in order.
    pub(crate) fn keys(&self, name: &str) -> Vec<String> {
        let pod = self.pod(name);
        let maps = ["labels", "annotations"]
            .map(|map| pod["metadata"][map].as_object().cloned().unwrap_or_default());
        let all = maps.into_iter().flatten().map(|(key, _)| key);
        all.filter(|key| key.starts_with(keys::PREFIX)).collect()
    }

    /// Whether a pod has the keys of its user and none of ours.
    pub(crate) fn is_clean(&self, name: &str) -> bool {
        let labels = &self.pod(name)["metadata"]["labels"];
        self.keys(name) == [keys::SLA, keys::BOUNDS]
            && USERS.iter().all(|(key, value)| labels[*key] == *value)
    }

    pub(crate) async fn plimsoll(&self, words: &[&str]) -> CommandResult {
        plimsoll(&self.folder.path().join("kubeconfig").display().to_string(), words).await
    }

    pub(crate) async fn cleanup(&self) -> CommandResult {
        self.plimsoll(&["cleanup", "--yes"]).await
    }

    pub(crate) fn applies(&self) -> Vec<Entry> {
        self.api.journal().find(|entry| entry.verb == Verb::Apply && entry.resource == "pods")
    }

    pub(crate) fn paused(&self) -> Value {
        let map =
            self.api.store().get(&Resource::CONFIG_MAPS, keys::SYSTEM_NAMESPACE, keys::CONTROL_CONFIG_MAP);
        map.unwrap()["data"][keys::CONTROL_PAUSED].clone()
    }
}

pub(crate) async fn plimsoll(kubeconfig: &str, words: &[&str]) -> CommandResult {
    let typed = ["plimsoll", "--kubeconfig", kubeconfig];
    let args = Args::try_parse_from(typed.iter().chain(words)).unwrap();
    let mut out = Vec::new();
    let failure = plimsoll::run(&args, &mut out).await.err().map(|error| format!("{error:#}"));
    CommandResult { text: String::from_utf8(out).unwrap(), failure }
}
