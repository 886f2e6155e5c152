//! Right-sizing on a real cluster: the kernel holds the new size, the pod is the same, and nobody is evicted.
//!
//! | module | shows |
//! |---|---|
//! | `throttled` | how long it takes from throttling to a larger `cpu.max` in the kernel |
//! | `settles` | the example of the original project: how long until the first resize, and until the size is final |
//! | `shared` | two burners, headroom for one: gold first |
//! | `memory` | a growing container gets more memory before it is killed |
//! | `idle` | idle pods give back |
//! | `refused` | who is not resized, and why |
//! | `interrupted` | a killed aggregator, a deleted pod, a kubelet that cannot do it: nothing is left half done |
//! | `undone` | `undo` puts the size back |

pub(crate) mod idle;
pub(crate) mod interrupted;
pub(crate) mod memory;
pub(crate) mod refused;
pub(crate) mod settles;
pub(crate) mod shared;
pub(crate) mod throttled;
pub(crate) mod undone;

use std::time::Duration;

use plimsoll_contract::keys;
use serde_json::{Value, json};

use crate::harness::Harness;
use crate::pods::pod;

/// Timeout until a pod on these nodes runs and its agent knows it.
pub(crate) const RUNS: Duration = Duration::from_secs(120);

/// Is throttled until its limit changes, then uses no CPU: the tests of this phase share two cores.
pub(crate) const UNTIL_RESIZED: &str = "sleep 30; read -r a _ </sys/fs/cgroup/cpu.max; b=$a; \
     while [ $b = $a ]; do read -r b _ </sys/fs/cgroup/cpu.max; done; sleep 99999";

/// A pod of a class; see [`pod`].
pub(crate) fn sized(
    class: &str,
    name: &str,
    node: &str,
    script: &str,
    requests: [&str; 2],
    limits: [&str; 2],
) -> Value {
    let mut pod = pod(name, node, script, requests, limits);
    pod["metadata"]["labels"] = json!({keys::SLA: class});
    pod
}

/// Deletes a namespace without waiting: the next tests need the CPU of its nodes.
pub(crate) async fn drop_namespace(harness: &Harness, namespace: &str) -> anyhow::Result<()> {
    harness.kubectl(&["delete", "namespace", namespace, "--wait=false"]).await.map(drop)
}

/// Whether no pod is on its way out, also with its namespace: what it has reserved is not free before it is gone.
pub(crate) async fn nothing_terminates(harness: &Harness) -> anyhow::Result<bool> {
    let all: Value =
        serde_json::from_str(&harness.kubectl(&["get", "pods,namespaces", "-A", "-o", "json"]).await?)?;
    let mut all = all["items"].as_array().into_iter().flatten();
    Ok(all.all(|one| one["metadata"]["deletionTimestamp"].is_null()))
}
