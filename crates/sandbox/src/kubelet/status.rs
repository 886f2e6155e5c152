//! The status of a pod. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{Container, Phase, Pod, State};
use super::resources::Kind;

/// Conditions that a kubelet owns; others remain unchanged.
const OWN_CONDITIONS: [&str; 7] = [
    "PodScheduled",
    "Initialized",
    "ContainersReady",
    "Ready",
    "PodReadyToStartContainers",
    "PodResizePending",
    "PodResizeInProgress",
];

/// The status of a pod that has been started.
pub(super) fn of(pod: &Pod) -> Value {
    let ready = pod.containers.iter().all(is_ready);
    let ended = |container: &&Container| container.state == State::Down { until: None };
    let apps = || pod.containers.iter().filter(|container| container.spec.kind == Kind::App);
    let phase = if apps().next().is_some() && apps().filter(ended).count() == apps().count() {
        "Failed"
    } else {
        "Running"
    };
    let list = |init: bool| -> Vec<Value> {
        let chosen = pod.containers.iter().filter(|container| (container.spec.kind != Kind::App) == init);
        chosen.map(container_status).collect()
    };
    let mut status = json!({
        "observedGeneration": pod.observed,
        "phase": phase,
        "conditions": conditions(pod, ready),
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": pod.ip,
        "podIPs": [{"ip": pod.ip}],
        "startTime": time(pod.started),
        "containerStatuses": list(false),
        "qosClass": pod.cgroup.qos,
    });
    let init = list(true);
    if !init.is_empty() {
        status["initContainerStatuses"] = init.into();
    }
    status
}

/// The status of a pod that could not be started.
pub(super) fn of_failed_start(generation: i64, why: &str) -> Value {
    let condition = condition("Ready", false, "CreateContainerError", why, generation);
    json!({"observedGeneration": generation, "phase": "Pending", "conditions": [condition]})
}

/// Merges `new` into the current status: conditions of other writers remain, and one that did not change keeps its time.
pub(super) fn merge(status: &mut Value, new: &Value, wall: Timestamp) {
    let before = status["conditions"].as_array().cloned().unwrap_or_default();
    for (field, value) in new.as_object().into_iter().flatten() {
        status[field.as_str()] = value.clone();
    }
    let mut conditions: Vec<Value> = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in &mut conditions {
        let old = before
            .iter()
            .find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let time = old.map_or_else(|| json!(time(wall)), |old| old["lastTransitionTime"].clone());
        condition["lastTransitionTime"] = time;
    }
    let foreign = before.into_iter().filter(|old| !OWN_CONDITIONS.iter().any(|own| old["type"] == *own));
    conditions.extend(foreign);
    status["conditions"] = conditions.into();
}

fn conditions(pod: &Pod, ready: bool) -> Vec<Value> {
    let generation = pod.observed;
    let plain = |kind: &str, is: bool| {
        let why = if is { "" } else { "ContainersNotReady" };
        condition(kind, is, why, "", generation)
    };
    let resize = pod.resize.as_ref().and_then(|resize| {
        let (kind, reason, message) = match &resize.phase {
            Phase::Unseen => return None,
            Phase::Deferred(why) => ("PodResizePending", "Deferred", why.as_str()),
            Phase::Infeasible(why) => ("PodResizePending", "Infeasible", why.as_str()),
            Phase::Accepted => ("PodResizeInProgress", "", ""),
            Phase::Failed(why) => ("PodResizeInProgress", "Error", why.as_str()),
        };
        Some(condition(kind, true, reason, message, resize.generation))
    });
    let always = [
        plain("PodReadyToStartContainers", true),
        plain("Initialized", true),
        plain("Ready", ready),
        plain("ContainersReady", ready),
        plain("PodScheduled", true),
    ];
    resize.into_iter().chain(always).collect()
}

fn condition(kind: &str, is: bool, reason: &str, message: &str, generation: i64) -> Value {
    let mut condition =
        json!({"type": kind, "status": if is { "True" } else { "False" }, "observedGeneration": generation});
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    condition
}

fn is_ready(container: &Container) -> bool {
    !matches!(container.state, State::Down { .. })
}

fn container_status(container: &Container) -> Value {
    let spec = &container.spec;
    let mut status = json!({
        "name": spec.name,
        "image": spec.image,
        "imageID": format!("sandbox/{}", spec.image),
        "restartCount": container.restarts,
        "ready": is_ready(container),
        "started": container.id().is_some(),
        "lastState": {},
        "allocatedResources": container.allocated.requests_json(),
        "resources": container.actual.json(),
    });
    status["state"] = match &container.state {
        State::Running { id, since } => {
            status["containerID"] = format!("containerd://{id}").into();
            json!({"running": {"startedAt": time(*since)}})
        }
        State::Completed { id, since } => {
            status["containerID"] = format!("containerd://{id}").into();
            json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": time(*since), "finishedAt": time(*since)}})
        }
        State::Down { until: Some(_) } => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        State::Down { until: None } => json!({"terminated": {"exitCode": 137, "reason": "Error"}}),
    };
    if let Some((id, started, ended)) = &container.last {
        let terminated = json!({
            "exitCode": 137, "reason": "Error", "containerID": format!("containerd://{id}"),
            "startedAt": time(*started), "finishedAt": time(*ended),
        });
        status["lastState"] = json!({ "terminated": terminated });
    }
    status
}

/// A time in the format of Kubernetes: whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_condition_keeps_its_time_and_conditions_of_others_remain() {
        let early = Timestamp::UNIX_EPOCH;
        let late: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut status = json!({"conditions": [{"type": "example.dev/gate", "status": "True"}]});
        let ready = |is| json!({"conditions": [condition("Ready", is, "", "", 1), condition("PodScheduled", true, "", "", 1)]});
        merge(&mut status, &ready(false), early);
        merge(&mut status, &ready(true), late);
        let find =
            |kind: &str| status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).cloned();
        assert_eq!(find("Ready").unwrap()["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(find("PodScheduled").unwrap()["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert!(find("example.dev/gate").is_some());
        merge(&mut status, &ready(true), late);
        assert_eq!(status["conditions"].as_array().unwrap().len(), 3);
    }
}
