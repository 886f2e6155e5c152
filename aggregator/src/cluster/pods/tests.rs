use super::*;
use serde_json::{Value, json};

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const HASH: &str = "0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e";

fn facts(pod: Value) -> anyhow::Result<PodFacts> {
    serde_json::from_value::<PodObject>(pod)?.facts()
}

fn id(digit: &str) -> String {
    digit.repeat(64)
}

fn web() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-0", "namespace": "shop", "uid": UID, "resourceVersion": "7",
            "labels": {"app": "web", "plimsoll.dev/cpu-band": "low"},
            "annotations": {"plimsoll.dev/epoch": "3", "other": "x"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "u"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true},
            ],
        },
        "spec": {
            "nodeName": "n1", "serviceAccountName": "default",
            "containers": [{"name": "app", "image": "x", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}],
            "initContainers": [
                {"name": "setup", "resources": {"requests": {"cpu": 1}}},
                {"name": "proxy", "restartPolicy": "Always", "resources": {}},
            ],
            "ephemeralContainers": [{"name": "debug"}],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{}", id("a")), "restartCount": 2}],
            "initContainerStatuses": [{"name": "proxy", "containerID": format!("cri-o://{}", id("b")), "restartCount": 0}],
            "ephemeralContainerStatuses": [{"name": "debug", "containerID": ""}],
        },
    })
}

#[test]
fn a_pod_is_reduced_to_its_facts() {
    let facts = facts(web()).unwrap();
    assert_eq!(facts.pod, PodName::new("shop", "web-0"));
    assert_eq!(facts.cgroup_uid.as_ref().map(PodUid::as_str), Some(UID));
    assert_eq!(facts.node.as_ref().map(NodeName::as_str), Some("n1"));
    assert_eq!(facts.labels.keys().collect::<Vec<_>>(), ["plimsoll.dev/cpu-band"]);
    assert_eq!(facts.annotations.keys().collect::<Vec<_>>(), ["plimsoll.dev/epoch"]);
    assert_eq!(facts.controller.as_deref(), Some("ReplicaSet/web"));
    assert!(!facts.finished && !facts.terminating);
    let rows: Vec<_> = facts
        .containers
        .iter()
        .map(|c| (c.name.as_str(), c.kind, c.id.as_ref().map(|id| id.as_str().to_owned()), c.restarts))
        .collect();
    let want = [
        ("app", ContainerKind::App, Some(id("a")), 2),
        ("setup", ContainerKind::Init, None, 0),
        ("proxy", ContainerKind::Sidecar, Some(id("b")), 0),
        ("debug", ContainerKind::Ephemeral, None, 0),
    ];
    assert_eq!(rows, want);
    assert_eq!(facts.containers[0].requests().cpu_request, Some(Cores(0.25)));
    assert_eq!(facts.containers[0].requests().memory_request, Some(Bytes(64 << 20)));
    assert_eq!(facts.containers[1].requests().cpu_request, Some(Cores(1.0)));
}

#[test]
fn requests_are_those_allocated_else_actual_else_declared() {
    let mut pod = web();
    pod["status"]["containerStatuses"][0]["resources"] = json!({"requests": {"cpu": "300m"}});
    assert_eq!(facts(pod.clone()).unwrap().containers[0].requests().cpu_request, Some(Cores(0.3)));
    assert_eq!(facts(pod.clone()).unwrap().containers[0].requests().memory_request, None);
    pod["status"]["containerStatuses"][0]["allocatedResources"] = json!({"cpu": "400m", "memory": "1Gi"});
    assert_eq!(facts(pod).unwrap().containers[0].requests().cpu_request, Some(Cores(0.4)));
}

#[test]
fn a_request_or_a_limit_of_zero_is_none() {
    let mut pod = web();
    let zero = json!({"cpu": "0", "memory": "0"});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": zero, "limits": zero});
    let container = facts(pod).unwrap().containers.remove(0);
    assert_eq!((container.requests().cpu_request, container.requests().memory_request), (None, None));
    assert_eq!((container.spec.cpu_limit, container.spec.memory_limit), (None, None));
}

#[test]
fn a_static_pods_cgroup_carries_its_config_hash_and_nobody_elses_does() {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": HASH});
    let cgroup = |pod: &Value| facts(pod.clone()).unwrap().cgroup_uid.map(|uid| uid.as_str().to_owned());
    assert_eq!(cgroup(&pod).as_deref(), Some(UID), "the annotation alone proves nothing");
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!(HASH);
    assert_eq!(cgroup(&pod), None, "not the kubelet's");
    let node = |name: &str| json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": "u", "controller": true}]);
    pod["metadata"]["ownerReferences"] = node("n2");
    assert_eq!(cgroup(&pod), None, "another node's");
    pod["metadata"]["ownerReferences"] = node("n1");
    assert_eq!(cgroup(&pod).as_deref(), Some(HASH));
    pod["metadata"]["annotations"]["kubernetes.io/config.hash"] = json!(UID);
    assert_eq!(cgroup(&pod), None, "a mirror must not claim another pod's cgroup");
}

#[test]
fn phases_and_deletion_are_seen() {
    for (phase, finished) in [("Succeeded", true), ("Failed", true), ("Pending", false), ("Running", false)] {
        let mut pod = web();
        pod["status"]["phase"] = json!(phase);
        assert_eq!(facts(pod).unwrap().finished, finished, "{phase}");
    }
    let mut pod = web();
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(facts(pod).unwrap().terminating);
}

#[test]
fn a_pod_without_status_or_node_is_readable_and_one_without_uid_is_not() {
    let bare = json!({"metadata": {"name": "a", "namespace": "b", "uid": UID}, "spec": {"containers": [{"name": "c"}]}});
    let bare = facts(bare).unwrap();
    assert_eq!((bare.node, bare.containers.len()), (None, 1));
    let without = facts(json!({"metadata": {"name": "a", "namespace": "b"}})).unwrap_err().to_string();
    assert!(without.contains("uid"), "{without}");
    let mut wrong = web();
    wrong["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "a lot"}});
    assert!(format!("{:#}", facts(wrong).unwrap_err()).contains("cpu request"));
}

#[test]
fn everything_that_a_resize_needs_is_read() {
    let mut pod = web();
    pod["metadata"]["generation"] = json!(4);
    pod["spec"]["resources"] = json!({"limits": {"cpu": "2"}});
    pod["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "500m", "memory": "128Mi"});
    pod["spec"]["containers"][0]["resizePolicy"] =
        json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    pod["status"]["qosClass"] = json!("Burstable");
    pod["status"]["observedGeneration"] = json!(3);
    pod["status"]["conditions"] = json!([
        {"type": "Initialized", "status": "True"},
        {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "node has not enough"},
    ]);
    pod["status"]["containerStatuses"][0]["resources"] =
        json!({"requests": {"cpu": "300m"}, "limits": {"cpu": "400m"}});
    let facts = facts(pod).unwrap();
    assert_eq!(
        (facts.qos.as_deref(), facts.generation, facts.observed_generation),
        (Some("Burstable"), Some(4), Some(3))
    );
    assert_eq!(facts.pod_resources.unwrap().cpu_limit, Some(Cores(2.0)));
    let conditions: Vec<_> =
        facts.conditions.iter().map(|c| (c.kind.as_str(), c.reason.as_deref())).collect();
    assert_eq!(conditions, [("PodResizePending", Some("Deferred"))]);
    let app = &facts.containers[0];
    assert_eq!((app.spec.cpu_limit, app.spec.memory_limit), (Some(Cores(0.5)), Some(Bytes(128 << 20))));
    let actual = app.actual.unwrap();
    assert_eq!(
        (actual.cpu_request, actual.cpu_limit, actual.memory_limit),
        (Some(Cores(0.3)), Some(Cores(0.4)), None)
    );
    assert_eq!(
        (app.cpu_resize_policy.as_deref(), app.memory_resize_policy.as_deref()),
        (None, Some("RestartContainer"))
    );
}

#[test]
fn a_container_is_running_only_if_its_status_says_so() {
    let mut pod = web();
    let running = |pod: &Value| facts(pod.clone()).unwrap().containers[0].running;
    assert!(!running(&pod), "its status does not say it");
    for (state, is) in [
        (json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), true),
        (json!({"running": {}}), true),
        (json!({"waiting": {"reason": "CrashLoopBackOff"}}), false),
        (json!({"terminated": {"exitCode": 1}}), false),
        (json!({}), false),
    ] {
        pod["status"]["containerStatuses"][0]["state"] = state.clone();
        assert_eq!(running(&pod), is, "{state}");
    }
    assert!(!facts(pod).unwrap().containers[1].running, "a container without a status");
}
