use plimsoll_contract::{Bytes, Cores};
use serde_json::{Value, json};

use super::*;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const HASH: &str = "0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e";

fn facts(pod: &Value) -> anyhow::Result<PodFacts> {
    serde_json::from_str::<PodObject>(&pod.to_string())?.facts()
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
    let facts = facts(&web()).unwrap();
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
fn requests_are_those_allocated_else_actual_else_declared_of_each_resource() {
    let mut pod = web();
    let requests = |pod: &Value| {
        let requests = facts(pod).unwrap().containers[0].requests();
        (requests.cpu_request.unwrap(), requests.memory_request.unwrap())
    };
    pod["status"]["containerStatuses"][0]["resources"] = json!({"requests": {"cpu": "300m"}});
    assert_eq!(requests(&pod), (Cores(0.3), Bytes(64 << 20)));
    pod["status"]["containerStatuses"][0]["allocatedResources"] = json!({"memory": "1Gi"});
    assert_eq!(requests(&pod), (Cores(0.3), Bytes(1 << 30)), "kubernetes/kubernetes#141814");
    pod["status"]["containerStatuses"][0]["allocatedResources"] = json!({"cpu": "400m", "memory": "1Gi"});
    assert_eq!(requests(&pod), (Cores(0.4), Bytes(1 << 30)));
}

#[test]
fn a_request_or_a_limit_of_zero_is_none() {
    let mut pod = web();
    let zero = json!({"cpu": "0", "memory": "0"});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": zero, "limits": zero});
    let container = facts(&pod).unwrap().containers.remove(0);
    assert_eq!((container.requests().cpu_request, container.requests().memory_request), (None, None));
    assert_eq!((container.spec.cpu_limit, container.spec.memory_limit), (None, None));
}

#[test]
fn a_static_pods_cgroup_carries_its_config_hash_and_nobody_elses_does() {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": HASH});
    let cgroup = |pod: &Value| facts(pod).unwrap().cgroup_uid.map(|uid| uid.as_str().to_owned());
    assert_eq!(cgroup(&pod).as_deref(), Some(UID), "the annotation alone proves nothing");
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!(HASH);
    assert_eq!(cgroup(&pod), None, "not the kubelet's");
    let node = |name: &str| json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": "u", "controller": true}]);
    pod["metadata"]["ownerReferences"] = node("n2");
    assert_eq!(cgroup(&pod), None, "another node's");
    pod["metadata"]["ownerReferences"] = node("n1");
    assert_eq!(cgroup(&pod).as_deref(), Some(HASH));
    assert_eq!(
        facts(&pod).unwrap().mirror_of.as_deref(),
        Some("u"),
        "the Node's uid, to be compared with it"
    );
    pod["metadata"]["annotations"]["kubernetes.io/config.hash"] = json!(UID);
    assert_eq!(cgroup(&pod), None, "a mirror must not claim another pod's cgroup");
    assert_eq!(facts(&web()).unwrap().mirror_of, None);
}

#[test]
fn phases_and_deletion_are_seen() {
    for (phase, finished) in [("Succeeded", true), ("Failed", true), ("Pending", false), ("Running", false)] {
        let mut pod = web();
        pod["status"]["phase"] = json!(phase);
        assert_eq!(facts(&pod).unwrap().finished, finished, "{phase}");
    }
    let mut pod = web();
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(facts(&pod).unwrap().terminating);
}

#[test]
fn a_pod_without_status_or_node_is_readable_and_one_without_uid_is_not() {
    let bare = json!({"metadata": {"name": "a", "namespace": "b", "uid": UID}, "spec": {"containers": [{"name": "c"}]}});
    let bare = facts(&bare).unwrap();
    assert_eq!((bare.node, bare.containers.len()), (None, 1));
    let without = facts(&json!({"metadata": {"name": "a", "namespace": "b"}})).unwrap_err().to_string();
    assert!(without.contains("uid"), "{without}");
    let mut wrong = web();
    wrong["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "a lot"}});
    assert!(format!("{:#}", facts(&wrong).unwrap_err()).contains("not an amount"));
}

#[test]
fn everything_that_a_resize_needs_is_read() {
    let mut pod = web();
    pod["metadata"]["generation"] = json!(4);
    pod["spec"]["resources"] = json!({"limits": {"cpu": "2"}});
    pod["spec"]["overhead"] = json!({"cpu": "250m", "memory": "160Mi"});
    pod["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "500m", "memory": "128Mi"});
    pod["spec"]["containers"][0]["resizePolicy"] =
        json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    pod["status"]["qosClass"] = json!("Burstable");
    pod["status"]["observedGeneration"] = json!(3);
    pod["status"]["conditions"] = json!([
        {"type": "Initialized", "status": "True"},
        {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "node has not enough",
         "observedGeneration": 4},
    ]);
    pod["status"]["containerStatuses"][0]["resources"] =
        json!({"requests": {"cpu": "300m"}, "limits": {"cpu": "400m"}});
    let facts = facts(&pod).unwrap();
    assert_eq!(
        (facts.qos.as_deref(), facts.generation, facts.observed_generation),
        (Some("Burstable"), Some(4), Some(3))
    );
    assert_eq!(facts.pod_resources.unwrap().cpu_limit, Some(Cores(2.0)));
    assert_eq!(facts.overhead, (Some(Cores(0.25)), Some(Bytes(160 << 20))));
    let conditions: Vec<_> =
        facts.conditions.iter().map(|c| (c.kind.as_str(), c.reason.as_deref())).collect();
    assert_eq!(conditions, [("PodResizePending", Some("Deferred"))]);
    assert_eq!(facts.conditions[0].observed_generation, Some(4));
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
    let running = |pod: &Value| facts(pod).unwrap().containers[0].running;
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
    assert!(!facts(&pod).unwrap().containers[1].running, "a container without a status");
}

/// The text of a pod, with one of its fields changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut pod = web();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[field] = value;
    pod
}

#[test]
fn what_no_label_depends_on_never_makes_a_pod_unreadable() {
    let year_10000 = json!([{"manager": "kubectl", "time": "10000-01-01T23:58:59Z"}]);
    let table = [
        ("/metadata/managedFields", year_10000),
        ("/metadata/managedFields", json!("none")),
        ("/metadata/creationTimestamp", json!(-1)),
        ("/metadata/generation", json!("first")),
        ("/metadata/finalizers", json!({"a": 1})),
        ("/spec/containers/0/env", json!([{"name": 5, "value": {}}])),
        ("/spec/containers/0/resources/limits", json!({"cpu": "much", "memory": [1]})),
        ("/spec/containers/0/resizePolicy", json!("never")),
        ("/spec/resources", json!("all")),
        ("/spec/tolerations", json!(true)),
        ("/status/qosClass", json!(1)),
        ("/status/observedGeneration", json!(1.5)),
        ("/status/conditions", json!([{"type": 1}])),
        ("/status/startTime", json!({"s": 1})),
        ("/status/containerStatuses/0/restartCount", json!(-1)),
        ("/status/containerStatuses/0/imageID", json!([])),
    ];
    let known = facts(&web()).unwrap();
    for (pointer, value) in table {
        let odd = facts(&with(pointer, value.clone()))
            .unwrap_or_else(|error| panic!("{pointer} {value}: {error:#}"));
        assert_eq!((&odd.pod, &odd.node, &odd.labels), (&known.pod, &known.node, &known.labels), "{pointer}");
        assert_eq!(odd.containers[0].requests(), known.containers[0].requests(), "{pointer}");
    }
    assert_eq!(
        facts(&with("/status/containerStatuses/0/restartCount", json!(-1))).unwrap().containers[0].restarts,
        0
    );
}

#[test]
fn a_wrong_type_in_a_field_on_which_a_label_depends_makes_a_pod_unreadable_and_names_the_field() {
    let table = [
        ("/metadata/uid", json!(5), "metadata.uid"),
        ("/metadata/name", json!(null), "metadata.name"),
        ("/metadata/name", json!(""), "metadata.name: it has none"),
        ("/metadata/namespace", json!(""), "metadata.namespace: it has none"),
        ("/metadata/uid", json!(""), "metadata.uid: it has none"),
        ("/metadata/ownerReferences/1/name", json!("x".repeat(300)), "metadata.ownerReferences[1].name"),
        ("/metadata/labels/plimsoll.dev~1ignore", json!(true), "metadata.labels"),
        ("/spec/nodeName", json!(["n1"]), "spec.nodeName"),
        ("/spec/nodeName", json!("No Node"), "spec.nodeName"),
        ("/spec/containers", json!("app"), "spec.containers"),
        (
            "/spec/containers/0/resources/requests/cpu",
            json!({"m": 250}),
            "spec.containers[0].resources.requests.cpu",
        ),
        ("/status/phase", json!(1), "status.phase"),
        (
            "/status/containerStatuses/0/allocatedResources",
            json!({"memory": "x"}),
            "status.containerStatuses[0].allocatedResources.memory",
        ),
    ];
    for (pointer, value, field) in table {
        let mut odd = web();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        odd.pointer_mut(parent).unwrap()[last.replace("~1", "/")] = value;
        let object: plimsoll_objects::Object<PodObject> = serde_json::from_str(&odd.to_string()).unwrap();
        let problem = match object.content {
            Ok(content) => format!("{:#}", content.facts().unwrap_err()),
            Err(unreadable) => unreadable.to_string(),
        };
        assert!(problem.starts_with(field), "{field}: {problem}");
    }
}

#[test]
fn of_what_strangers_wrote_under_our_prefix_only_known_keys_stay_and_no_long_value_does() {
    let mut pod = web();
    let long = "x".repeat(256 << 10);
    pod["metadata"]["annotations"] = json!({
        keys::EVIDENCE: long, keys::ORIGINAL_RESOURCES: long, keys::EPOCH: "3", "plimsoll.dev/made-up": "x",
        "kubernetes.io/config.mirror": long, "kubernetes.io/config.hash": long,
    });
    let facts = facts(&pod).unwrap();
    let kept: Vec<_> = facts.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(kept, [(keys::EPOCH, "3"), (keys::EVIDENCE, ""), (keys::ORIGINAL_RESOURCES, "")]);
    assert!(facts.carries(keys::EVIDENCE), "that the key is there is known");
    assert_eq!(facts.cgroup_uid, None);
}

#[test]
fn who_else_decides_about_a_pods_size_is_read_and_odd_values_of_it_are_none() {
    let none = facts(&web()).unwrap();
    assert_eq!((none.priority_class, none.queue_managed, none.bounds), (None, false, None));
    assert!(none.containers.iter().all(|container| !container.extended && container.oom_killed_at.is_none()));

    let mut pod = web();
    pod["spec"]["priorityClassName"] = json!("system-node-critical");
    pod["metadata"]["annotations"][keys::BOUNDS] = json!(r#"{"app": {"cpu": {"max": "2"}}}"#);
    let resources =
        json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "nvidia.com/gpu": 1, "hugepages-2Mi": {}}});
    pod["spec"]["containers"][0]["resources"] = resources;
    let killed =
        json!({"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T10:00:00Z"}});
    pod["status"]["containerStatuses"][0]["lastState"] = killed;
    let read = facts(&pod).unwrap();
    assert_eq!(read.priority_class.as_deref(), Some("system-node-critical"));
    let bounds = read.bounds.as_ref().unwrap().of("app", plimsoll_contract::Resource::Cpu).unwrap();
    assert_eq!((bounds.min, bounds.max), (None, Some(2000)));
    let app = &read.containers[0];
    assert!(app.extended);
    assert_eq!(app.spec.cpu_limit, Some(Cores(2.0)), "beside a limit that is none");
    assert_eq!(app.oom_killed_at, Some("2026-01-01T10:00:00Z".parse().unwrap()));

    // It has ended once more: its last state is that of the run before.
    let state = pod["status"]["containerStatuses"][0]["state"].take();
    pod["status"]["containerStatuses"][0]["state"] =
        json!({"terminated": {"reason": "Completed", "exitCode": 0}});
    assert_eq!(facts(&pod).unwrap().containers[0].oom_killed_at, None);
    pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let waiting = facts(&pod).unwrap().containers.remove(0);
    assert!(!waiting.running && waiting.oom_killed_at.is_some());
    pod["status"]["containerStatuses"][0]["state"] = state;

    pod["spec"]["priorityClassName"] = json!(5);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": ["cpu"]});
    for state in [
        json!({"terminated": {"reason": "Error", "finishedAt": "2026-01-01T10:00:00Z"}}),
        json!({"terminated": {"reason": "OOMKilled", "finishedAt": "soon"}}),
        json!(5),
    ] {
        pod["status"]["containerStatuses"][0]["lastState"] = state;
        let read = facts(&pod).unwrap();
        assert_eq!((read.priority_class, read.containers[0].oom_killed_at), (None, None));
        assert!(!read.containers[0].extended);
    }
    pod["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi"}});
    assert!(!facts(&pod).unwrap().containers[0].extended);
}

#[test]
fn a_label_or_annotation_of_kueue_means_that_a_queue_admitted_the_pod() {
    for (map, key) in [
        ("labels", "kueue.x-k8s.io/queue-name"),
        ("labels", "kueue.x-k8s.io/managed"),
        ("annotations", "kueue.x-k8s.io/workload"),
    ] {
        let mut pod = web();
        pod["metadata"][map][key] = json!("x");
        let facts = facts(&pod).unwrap();
        assert!(facts.queue_managed, "{key}");
        assert!(
            !facts.labels.contains_key(key) && !facts.annotations.contains_key(key),
            "only that it is there"
        );
    }
}

#[test]
fn a_record_of_original_resources_is_ours_only_if_our_field_manager_applied_it() {
    let entry = |manager: &str, operation: &str| {
        let fields = json!({"f:metadata": {"f:annotations": {"f:plimsoll.dev/original-resources": {}}}});
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    };
    let mut pod = web();
    pod["metadata"]["managedFields"] = json!([entry("kubectl", "Update")]);
    assert_eq!(facts(&pod).unwrap().original_by, None, "there is none");
    pod["metadata"]["annotations"]["plimsoll.dev/original-resources"] = json!("{}");
    assert_eq!(facts(&pod).unwrap().original_by.as_deref(), Some("kubectl"));
    pod["metadata"]["managedFields"] = json!([entry("plimsoll", "Update")]);
    assert_eq!(facts(&pod).unwrap().original_by.as_deref(), Some("plimsoll"), "we apply");
    pod["metadata"]["managedFields"] = json!([entry("kubectl", "Apply"), entry("plimsoll", "Apply")]);
    assert_eq!(facts(&pod).unwrap().original_by, None);
    for odd in [
        json!(1),
        json!([]),
        json!([{"manager": "plimsoll", "operation": "Apply", "fieldsV1": {"f:metadata": 1}}]),
    ] {
        pod["metadata"]["managedFields"] = odd;
        assert_eq!(facts(&pod).unwrap().original_by.as_deref(), Some(""), "nobody says that it is ours");
    }
}

#[test]
fn the_newest_resize_of_another_field_manager_is_known_by_its_name() {
    let entry = |manager: &str, subresource: &str, minute: u32| {
        let time = format!("2026-11-28T10:{minute:02}:00Z");
        json!({"manager": manager, "subresource": subresource, "time": time, "operation": "Update", "fieldsV1": {"f:spec": {}}})
    };
    let mut pod = web();
    pod["metadata"]["managedFields"] = json!([
        entry("vpa-updater", "resize", 1), entry("cnpg-operator", "resize", 5), entry("plimsoll", "resize", 9),
        entry("kubelet", "status", 9), {"manager": "kubectl", "operation": "Update"},
    ]);
    assert_eq!(facts(&pod).unwrap().resized_by.as_deref(), Some("cnpg-operator"));
    for odd in [json!(1), json!([1]), json!([{"manager": 7, "subresource": "resize"}]), json!(null)] {
        pod["metadata"]["managedFields"] = odd;
        assert_eq!(facts(&pod).unwrap().resized_by, None);
    }
}
