//! The pods: small shell programs, each with a known load.
//!
//! The nodes have one CPU each and share two, so loads are small fractions of a CPU. Starting a container takes a second of
//! CPU there, which is a high load of a small limit: pods that must be low from the start have a large one.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::Quantity;
use serde_json::{Value, json};

/// Namespace of the pods that exist during the whole run.
pub(crate) const SHOP: &str = "shop";
pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// Timeout until a new pod has its first band: 10 s of data, and the slow start of containers on these nodes.
pub(crate) const START: Duration = Duration::from_secs(150);

/// Uses all CPU it can get.
pub(crate) const BURN: &str = "while :; do :; done";
/// Uses some percent of a CPU, by starting processes: a load that needs no limit.
pub(crate) const SPAWN: &str = "while :; do sleep 0.3; done";
/// Uses no CPU.
pub(crate) const SLEEP: &str = "sleep 99999";
/// Uses three quarters of 32 MiB.
pub(crate) const FILL_MEMORY: &str = "head -c 25m /dev/zero >/dev/shm/hoard; sleep 99999";

/// A kind of pod, and its expected labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Prefix of the pods' names.
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    /// CPU and memory requested; empty for none.
    pub(crate) requests: [&'static str; 2],
    /// CPU and memory limits; empty for none.
    pub(crate) limits: [&'static str; 2],
    pub(crate) qos: &'static str,
    /// CPU band and basis.
    pub(crate) cpu: [&'static str; 2],
    /// Memory band and basis.
    pub(crate) memory: [&'static str; 2],
}

/// There is one pod of each kind on each node.
pub(crate) const KINDS: [Kind; 6] = [
    Kind {
        name: "guaranteed-burner",
        script: BURN,
        requests: ["50m", "32Mi"],
        limits: ["50m", "32Mi"],
        qos: "Guaranteed",
        cpu: ["high", "limit"],
        memory: ["low", "limit"],
    },
    Kind {
        name: "burstable-sleeper",
        script: SLEEP,
        requests: ["20m", "8Mi"],
        limits: ["900m", "32Mi"],
        qos: "Burstable",
        cpu: ["low", "limit"],
        memory: ["low", "limit"],
    },
    Kind {
        name: "requests-only-burner",
        script: SPAWN,
        requests: ["50m", "16Mi"],
        limits: ["", ""],
        qos: "Burstable",
        cpu: ["high", "request"],
        memory: ["low", "node"],
    },
    Kind {
        name: "besteffort-sleeper",
        script: SLEEP,
        requests: ["", ""],
        limits: ["", ""],
        qos: "BestEffort",
        cpu: ["low", "node"],
        memory: ["low", "node"],
    },
    Kind {
        name: "memory-hoarder",
        script: FILL_MEMORY,
        requests: ["20m", "16Mi"],
        limits: ["900m", "32Mi"],
        qos: "Burstable",
        cpu: ["low", "limit"],
        memory: ["high", "limit"],
    },
    Kind {
        name: "memory-holder",
        script: "head -c 15m /dev/zero >/dev/shm/hoard; sleep 99999",
        requests: ["20m", "16Mi"],
        limits: ["900m", "32Mi"],
        qos: "Burstable",
        cpu: ["low", "limit"],
        memory: ["moderate", "limit"],
    },
];

impl Kind {
    /// The name of the pod on a node.
    pub(crate) fn on(&self, node: &str) -> String {
        format!("{}-{}", self.name, node.trim_start_matches("node-"))
    }

    /// The pod on a node.
    pub(crate) fn pod(&self, node: &str) -> Value {
        pod(&self.on(node), node, self.script, self.requests, self.limits)
    }

    /// The kind of a pod, by its name.
    pub(crate) fn of(pod: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| pod.starts_with(kind.name))
    }
}

/// All pods of all kinds.
pub(crate) fn shop() -> Vec<Value> {
    KINDS.iter().flat_map(|kind| NODES.map(|node| kind.pod(node))).collect()
}

/// A pod of one container on a node.
pub(crate) fn pod(name: &str, node: &str, script: &str, requests: [&str; 2], limits: [&str; 2]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": spec(Some(node), script, requests, limits),
    })
}

/// The spec of a pod of one container.
pub(crate) fn spec(node: Option<&str>, script: &str, requests: [&str; 2], limits: [&str; 2]) -> Value {
    let amounts = |[cpu, memory]: [&str; 2]| {
        let named = [("cpu", cpu), ("memory", memory)].into_iter().filter(|(_, amount)| !amount.is_empty());
        Value::Object(named.map(|(name, amount)| (name.to_owned(), amount.into())).collect())
    };
    json!({
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "containers": [{
            "name": "app",
            "image": "busybox:test",
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", script],
            "resources": {"requests": amounts(requests), "limits": amounts(limits)},
        }],
    })
}

/// What the spec of the first container says: `limits`, `cpu`.
pub(crate) fn amount(pod: &Pod, kind: &str, resource: &str) -> Option<f64> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let resources = container.resources.as_ref()?;
    let map = if kind == "limits" { resources.limits.as_ref()? } else { resources.requests.as_ref()? };
    Some(map.get(resource)?.0.parse::<Quantity>().ok()?.as_f64())
}

/// The CPU that the spec of the first container says, in millicores; 0 where it says none.
pub(crate) fn cpu(pod: &Pod, kind: &str) -> f64 {
    amount(pod, kind, "cpu").unwrap_or_default() * 1000.0
}

/// Restarts of all containers.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|one| one.restart_count).sum()
}

/// The time and the words of the first log line that starts with a word: `2026-11-24T10:36:49.9Z up 5000`.
pub(crate) fn logged(log: &str, word: &str) -> Option<(Timestamp, Vec<String>)> {
    log.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let at = words.next()?.parse().ok()?;
        (words.next()? == word).then(|| (at, words.map(str::to_owned).collect()))
    })
}
