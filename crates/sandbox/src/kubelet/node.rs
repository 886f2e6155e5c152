//! The Node object of the kubelet. Pure.

use jiff::Timestamp;
use plimsoll_contract::Quantity;
use serde_json::{Value, json};

use super::status::time;
use crate::host::HostInfo;

/// Pod capacity of a node.
const PODS: usize = 110;

/// The object to register.
pub(super) fn object(name: &str, host: &HostInfo, wall: Timestamp) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch()},
        },
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": status(name, host, wall, None),
    })
}

/// The current status; conditions keep the transition times of the status `before`.
pub(super) fn status(name: &str, host: &HostInfo, wall: Timestamp, before: Option<&Value>) -> Value {
    let capacity = json!({
        "cpu": host.size.cpus.to_string(),
        "memory": Quantity::from_bytes(host.size.memory),
        "pods": PODS.to_string(),
    });
    let old = |kind: &str| {
        let all =
            before.and_then(|status| status["conditions"].as_array()).map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .find(|condition| condition["type"] == kind)
            .map(|condition| condition["lastTransitionTime"].clone())
    };
    let condition = |kind: &str, is: &str, reason: &str| {
        json!({
            "type": kind, "status": is, "reason": reason, "message": "",
            "lastHeartbeatTime": time(wall),
            "lastTransitionTime": old(kind).unwrap_or_else(|| time(wall).into()),
        })
    };
    json!({
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady"),
        ],
        "nodeInfo": {
            "bootID": host.boot, "machineID": "sandbox", "systemUUID": "sandbox", "kernelVersion": "sandbox",
            "osImage": "Plimsoll sandbox", "containerRuntimeVersion": "containerd://sandbox",
            "kubeletVersion": "v1.37.0", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": arch(),
        },
    })
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}
