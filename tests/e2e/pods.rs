//! The pods: small programs of a shell, each with a load that is right by construction.
//!
//! The nodes have one CPU each and share two, so loads are small parts of a CPU. Starting a container costs a second of CPU
//! there, which is a high load of a small limit: what shall be low from the beginning has a large one.

use std::time::Duration;

use serde_json::{Value, json};

/// Namespace of those that live through the whole run.
pub(crate) const SHOP: &str = "shop";
/// The nodes.
pub(crate) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// A first band takes 10 s of data; the rest is the nodes' slowness at starting containers.
pub(crate) const START: Duration = Duration::from_secs(150);

/// Takes all CPU it gets.
pub(crate) const BURN: &str = "while :; do :; done";
/// Some percent of a CPU, by starting processes: a burner that needs no limit.
pub(crate) const STIR: &str = "while :; do sleep 0.3; done";
/// Takes nothing.
pub(crate) const SLEEP: &str = "sleep 99999";

/// Holds three quarters of 32 MiB.
pub(crate) const HOARD: &str = "head -c 25m /dev/zero >/dev/shm/hoard; sleep 99999";

/// A kind of pod, and what its labels shall say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// First part of the names.
    pub(crate) name: &'static str,
    /// What it runs.
    pub(crate) script: &'static str,
    /// CPU and memory requested; empty for none.
    pub(crate) requests: [&'static str; 2],
    /// CPU and memory limits; empty for none.
    pub(crate) limits: [&'static str; 2],
    /// Its QoS class.
    pub(crate) qos: &'static str,
    /// CPU band and basis.
    pub(crate) cpu: [&'static str; 2],
    /// Memory band and basis.
    pub(crate) memory: [&'static str; 2],
}

/// One of each on each node.
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
        script: STIR,
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
        script: HOARD,
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
    /// Name of the one on a node.
    pub(crate) fn on(&self, node: &str) -> String {
        format!("{}-{}", self.name, node.trim_start_matches("node-"))
    }

    /// The pod on a node.
    pub(crate) fn pod(&self, node: &str) -> Value {
        pod(&self.on(node), node, self.script, self.requests, self.limits)
    }

    /// What a pod's name says of its kind.
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
