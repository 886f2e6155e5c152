use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodUid};
use serde_json::{Value, json};

use super::*;
use crate::api::{ApiOptions, Patch, Store, Subresource, Write};
use crate::host::simulated::SimulatedHost;
use crate::host::{CgroupId, Limits, NodeSize};

mod files;
mod real;
mod resize;

/// Longest wait for an expected change on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until the value satisfies the predicate, and returns it.
fn wait_for<T: std::fmt::Debug>(look: impl Fn() -> T, holds: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {seen:#?}");
        thread::sleep(Duration::from_millis(10));
    }
}

struct Cluster {
    api: ApiServer,
    host: Arc<SimulatedHost>,
    kubelet: Kubelet,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(resize_behavior: ResizeBehavior) -> Cluster {
        let options = ApiOptions { graceful_deletion: true, ..ApiOptions::default() };
        let api = ApiServer::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let size = NodeSize { cpus: 4, memory: Bytes(8 << 30) };
        let host = Arc::new(SimulatedHost::new(&directory.path().join("host"), size).unwrap());
        let options = KubeletOptions {
            resize_behavior,
            heartbeat: Duration::from_millis(200),
            ..KubeletOptions::new("n1")
        };
        let kubelet = Kubelet::start(&api, Arc::clone(&host) as Arc<dyn Host>, options).unwrap();
        Cluster { api, host, kubelet, directory }
    }

    fn store(&self) -> &Store {
        self.api.store()
    }

    /// Creates a pod on the node and waits until it runs.
    fn run(&self, name: &str, resources: &Value) -> Value {
        let spec = json!({"nodeName": "n1", "containers": [{"name": "app", "image": "web:1", "resources": resources}]});
        self.store()
            .create(
                &Resource::PODS,
                json!({"metadata": {"namespace": "default", "name": name}, "spec": spec}),
            )
            .unwrap();
        self.until(name, |pod| pod["status"]["phase"] == "Running")
    }

    fn pod(&self, name: &str) -> Value {
        self.store().get(&Resource::PODS, "default", name).unwrap()
    }

    fn until(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(|| self.pod(name), holds)
    }

    fn resize(&self, name: &str, cpu: &str) -> i64 {
        let resources = json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}});
        let write = Write::by("test").through(Subresource::Resize);
        let written =
            self.store().patch(&Resource::PODS, "default", name, &Patch::Strategic(patch), &write).unwrap();
        written.object["metadata"]["generation"].as_i64().unwrap()
    }

    fn limits(&self, pod: &Value) -> [Limits; 2] {
        let uid = uid(pod);
        [CgroupId::pod(&uid), CgroupId::container(&uid, &id(pod))]
            .map(|cgroup| self.host.limits(&cgroup).unwrap())
    }

    fn cores(&self, pod: &Value) -> [Limit<Cores>; 2] {
        self.limits(pod).map(|limits| limits.cpu)
    }
}

fn uid(pod: &Value) -> PodUid {
    PodUid::new(pod["metadata"]["uid"].as_str().unwrap()).unwrap()
}

fn id(pod: &Value) -> ContainerId {
    let text = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
    ContainerId::new(text.strip_prefix("containerd://").unwrap()).unwrap()
}

fn condition(pod: &Value, kind: &str) -> Option<Value> {
    pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
}

fn half_a_core() -> Value {
    json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "500m", "memory": "64Mi"}})
}

#[tokio::test]
async fn a_node_is_registered_and_renewed() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let node = cluster.store().get(&Resource::NODES, "", "n1").unwrap();
    assert_eq!(node["status"]["capacity"], json!({"cpu": "4", "memory": "8Gi", "pods": "110"}));
    assert_eq!(node["status"]["nodeInfo"]["bootID"], cluster.host.info().boot.as_str());
    let version = |node: &Value| node["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let heartbeat = |node: &Value| node["status"]["conditions"][3]["lastHeartbeatTime"].clone();
    let look = || cluster.store().get(&Resource::NODES, "", "n1").unwrap();
    let renewed = wait_for(look, |now| heartbeat(now) != heartbeat(&node));
    assert_ne!(version(&node), version(&renewed));
    let since = |node: &Value| node["status"]["conditions"][3]["lastTransitionTime"].clone();
    assert_eq!(since(&node), since(&renewed));
}

#[tokio::test]
async fn a_pod_of_the_node_runs_with_its_limits_and_others_do_not() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let other = json!({"metadata": {"namespace": "default", "name": "other"}, "spec": {"nodeName": "n2", "containers": [{"name": "a", "image": "a:1"}]}});
    cluster.store().create(&Resource::PODS, other).unwrap();
    let pod = cluster.run("web", &half_a_core());
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        status["resources"],
        json!({"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}})
    );
    assert_eq!(status["allocatedResources"], json!({"cpu": "500m", "memory": "64Mi"}));
    assert_eq!(pod["status"]["observedGeneration"], pod["metadata"]["generation"]);
    assert_eq!((status["restartCount"].clone(), status["ready"].clone()), (json!(0), json!(true)));
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    assert_eq!(condition(&pod, "Ready").unwrap()["status"], "True");
    assert!(pod["status"]["podIP"].is_string() && pod["status"]["startTime"].is_string());
    for limits in cluster.limits(&pod) {
        assert_eq!((limits.cpu, limits.memory), (Limit::Of(Cores(0.5)), Limit::Of(Bytes(64 << 20))));
    }
    let bare = cluster.run("bare", &json!({}));
    assert_eq!(bare["status"]["qosClass"], "BestEffort");
    assert_eq!(cluster.limits(&bare), [Limits::NONE; 2]);
    assert_eq!(cluster.pod("other")["status"]["phase"], "Pending");
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let pod = cluster.run("web", &half_a_core());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.pod("web")["metadata"]["resourceVersion"], pod["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_killed_container_restarts_with_a_new_id() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let before = cluster.run("web", &half_a_core());
    let new = cluster.kubelet.kill_container("default", "web", "app").unwrap();
    let pod = cluster.pod("web");
    assert_eq!(id(&pod), new);
    assert_ne!(id(&before), new);
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 1);
    assert_eq!(
        status["lastState"]["terminated"]["containerID"],
        before["status"]["containerStatuses"][0]["containerID"]
    );
    assert!(cluster.host.limits(&CgroupId::container(&uid(&pod), &id(&before))).is_err());
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.5)); 2]);
    let error = cluster.kubelet.kill_container("default", "web", "db").unwrap_err().to_string();
    assert!(error.contains("db") && error.contains("default/web"), "{error}");
}

#[tokio::test]
async fn the_cgroups_of_a_deleted_pod_are_removed_and_then_its_object() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let pod = cluster.run("web", &half_a_core());
    let marked = cluster.store().delete_as(&Resource::PODS, "default", "web", &json!({}), false).unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "the kubelet must complete the deletion");
    wait_for(|| cluster.store().get(&Resource::PODS, "default", "web"), Result::is_err).unwrap_err();
    assert!(cluster.host.limits(&CgroupId::pod(&uid(&pod))).is_err());
    assert_ne!(uid(&cluster.run("web", &json!({}))), uid(&pod), "a new pod of the same name is another pod");
}

#[tokio::test]
async fn init_containers_complete_and_sidecars_run() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let spec = json!({
        "nodeName": "n1",
        "initContainers": [{"name": "setup", "image": "a:1"}, {"name": "proxy", "image": "a:1", "restartPolicy": "Always"}],
        "containers": [{"name": "app", "image": "a:1"}],
    });
    cluster
        .store()
        .create(&Resource::PODS, json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}))
        .unwrap();
    let pod = cluster.until("web", |pod| pod["status"]["phase"] == "Running");
    let states = &pod["status"]["initContainerStatuses"];
    assert_eq!(states[0]["state"]["terminated"]["reason"], "Completed");
    assert!(states[1]["state"]["running"].is_object());
}

#[tokio::test]
async fn a_stopped_kubelet_leaves_the_host_empty_and_the_api_unchanged() {
    let mut cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let pod = cluster.run("web", &half_a_core());
    cluster.kubelet.stop();
    assert!(cluster.host.limits(&CgroupId::pod(&uid(&pod))).is_err());
    assert_eq!(cluster.pod("web")["status"]["phase"], "Running");
}
