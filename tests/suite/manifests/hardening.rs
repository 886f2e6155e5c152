//! Hardening of each pod: no root, capabilities or host access.

use serde_json::{Value, json};

use super::files::{find, list, objects, text};

const POD: &str = "/spec/template/spec";

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(&format!("{POD}{pointer}")).unwrap_or(&Value::Null)
}

/// The restricted profile, and a little more: numeric user, read-only root, no service links, limits.
fn assert_restricted(object: &Value) {
    let name = text(object, "/metadata/name");
    let pod = at(object, "/securityContext");
    assert_eq!(pod["runAsNonRoot"], true, "{name}");
    assert_eq!(pod["runAsUser"], 65532, "{name}");
    assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    for forbidden in
        ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "initContainers"]
    {
        assert_eq!(*at(object, &format!("/{forbidden}")), Value::Null, "{name}: {forbidden}");
    }
    let containers = list(object, &format!("{POD}/containers"));
    assert_eq!(containers.len(), 1, "{name}");
    for container in containers {
        let context = &container["securityContext"];
        let rule = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(*context, rule, "{name}");
        for port in list(container, "/ports") {
            assert_eq!(port["hostPort"], Value::Null, "{name}");
            assert!(port["containerPort"].as_u64() > Some(1023), "{name}");
        }
    }
}

fn assert_probed_and_bounded(object: &Value) {
    let name = text(object, "/metadata/name");
    let container = at(object, "/containers/0");
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "probes"}), "{name}");
    }
    for amounts in ["requests", "limits"] {
        for resource in ["cpu", "memory", "ephemeral-storage"] {
            assert!(container["resources"][amounts][resource].is_string(), "{name}: {amounts} of {resource}");
        }
    }
    assert_eq!(*at(object, "/enableServiceLinks"), false, "{name}");
}

#[test]
fn the_agent_has_one_read_only_host_path_and_nothing_else_of_the_host() {
    let base = objects("base");
    let agent = find(&base, "DaemonSet", "plimsoll-agent");
    assert_restricted(agent);
    assert_probed_and_bounded(agent);
    let volumes = list(agent, &format!("{POD}/volumes"));
    let host: Vec<_> = volumes.iter().filter(|volume| volume.get("hostPath").is_some()).collect();
    assert_eq!(
        host,
        [&json!({"name": "cgroups", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}})]
    );
    let mounts = list(agent, &format!("{POD}/containers/0/volumeMounts"));
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
    let expected = json!({
        "name": "cgroups", "mountPath": "/host/sys/fs/cgroup", "readOnly": true, "recursiveReadOnly": "IfPossible",
    });
    assert!(mounts.contains(&expected), "{mounts:?}");
}

#[test]
fn the_agent_has_no_token_but_the_one_for_the_aggregator() {
    let base = objects("base");
    let agent = find(&base, "DaemonSet", "plimsoll-agent");
    assert_eq!(*at(agent, "/automountServiceAccountToken"), false);
    assert_eq!(find(&base, "ServiceAccount", "plimsoll-agent")["automountServiceAccountToken"], false);
    let sources: Vec<_> = list(agent, &format!("{POD}/volumes"))
        .iter()
        .flat_map(|volume| list(volume, "/projected/sources"))
        .collect();
    let token = json!({"audience": "plimsoll-aggregator", "expirationSeconds": 600, "path": "token"});
    assert_eq!(sources, [&json!({"serviceAccountToken": token})]);
}

#[test]
fn the_agent_runs_on_every_node_and_a_rollout_affects_few_at_a_time() {
    let base = objects("base");
    let agent = find(&base, "DaemonSet", "plimsoll-agent");
    assert_eq!(*at(agent, "/tolerations"), json!([{"operator": "Exists"}]));
    assert_eq!(agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
    let priority = find(&base, "PriorityClass", text(agent, &format!("{POD}/priorityClassName")));
    assert_eq!(priority["preemptionPolicy"], "Never");
    assert_eq!(priority["globalDefault"], false);
}

#[test]
fn the_aggregator_is_restricted_and_touches_nothing_of_the_host() {
    let base = objects("base");
    let aggregator = find(&base, "Deployment", "plimsoll-aggregator");
    assert_restricted(aggregator);
    assert_probed_and_bounded(aggregator);
    assert_eq!(*at(aggregator, "/volumes"), Value::Null);
}

#[test]
fn one_aggregator_writes_and_stops_before_the_next_starts() {
    let base = objects("base");
    let aggregator = find(&base, "Deployment", "plimsoll-aggregator");
    assert_eq!(aggregator["spec"]["replicas"], 1, "more than one needs leader election");
    assert_eq!(aggregator["spec"]["strategy"]["type"], "Recreate");
}

#[test]
fn the_examples_would_pass_the_restricted_profile_too() {
    let examples = objects("examples");
    let workloads: Vec<_> = examples.iter().filter(|object| object["kind"] == "Deployment").collect();
    assert!(workloads.len() >= 4);
    workloads.into_iter().for_each(assert_restricted);
}

#[test]
fn pod_security_is_enforced_and_only_the_agents_may_exceed_it() {
    let base = objects("base");
    let level = |namespace: &str, mode: &str| {
        let object = find(&base, "Namespace", namespace);
        object["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")].as_str().map(str::to_owned)
    };
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(level("plimsoll-system", mode).as_deref(), Some("restricted"), "{mode}");
    }
    assert_eq!(level("plimsoll-agents", "enforce").as_deref(), Some("privileged"));
    assert_eq!(level("plimsoll-agents", "audit").as_deref(), Some("restricted"));
    assert_eq!(level("plimsoll-agents", "warn"), None, "each install would begin with a warning");
}
