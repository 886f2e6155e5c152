//! Pods that claim to be a static pod: anybody who may create pods can write the annotations and the owner of a mirror pod.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt};
use plimsoll_contract::keys;
use plimsoll_contract::status::{AgentState, NodeStatus};
use serde_json::{Value, json};

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{BURN, NODES, START, pod};

const NAMESPACE: &str = "impostors";
const NODE: &str = NODES[1];
/// Where the kubelets look for manifests; see `tests/cluster/node-init`.
const MANIFEST: &str = "/run/manifests/static.json";
/// More than three full reports: as many as it takes to quarantine a node.
const LONG: Duration = Duration::from_secs(45);

fn high(observation: &Observation) -> bool {
    observation.get(keys::CPU_BAND) == "high"
}

/// A pod bound to `node` that says it is the static pod with this hash, and that the Node with this uid owns it.
fn thief(name: &str, hash: &str, node: &str, node_uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {
                "kubernetes.io/config.mirror": hash,
                keys::CONFIG_HASH: hash,
                "kubernetes.io/config.source": "file",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid, "controller": true},
            ],
        },
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "busybox:test", "imagePullPolicy": "Never"}],
        },
    })
}

pub(crate) async fn a_pod_that_claims_to_be_a_static_pod_takes_nothing_from_it(
    harness: &Harness,
) -> TestResult {
    harness.namespace(NAMESPACE).await?;
    let mut manifest = pod("static", NODE, BURN, ["10m", "8Mi"], ["40m", "16Mi"]);
    manifest["metadata"]["namespace"] = json!(NAMESPACE);
    // The kubelet reads whatever it sees: the file appears when it is complete.
    let line = format!("cat >/run/static.json <<'END'\n{manifest}\nEND\nmv /run/static.json {MANIFEST}");
    harness.on(NODE, &line).await?;
    let result = steal(harness).await;
    harness.on(NODE, &format!("rm -f {MANIFEST}")).await?;
    let took = result?;
    let api: Api<Pod> = Api::namespaced(harness.client.clone(), NAMESPACE);
    let is_gone = async || Ok(api.get_opt(&mirror()).await?.is_none());
    harness.until("the static pod to be gone", Duration::from_secs(60), is_gone).await?;
    Ok(took)
}

/// The name of the mirror pod: the kubelet adds the node's.
fn mirror() -> String {
    format!("static-{NODE}")
}

async fn steal(harness: &Harness) -> TestResult {
    let mirror = mirror();
    let created = Timestamp::now();
    let labeled = harness.history.wait((NAMESPACE, &mirror), created, START, high).await?;
    let static_pod = harness.pod(NAMESPACE, &mirror).await?;
    let hash = static_pod.annotations().get(keys::CONFIG_HASH).context("a mirror pod without a hash")?;
    let owner = static_pod.owner_references().first().context("a mirror pod without an owner")?;
    let nodes: Api<Node> = Api::all(harness.client.clone());
    let node_uid = nodes.get(NODE).await?.uid().context("a node without a uid")?;
    ensure!((owner.name.as_str(), &owner.uid) == (NODE, &node_uid), "{owner:?}");

    let made_up = "11111111-2222-3333-4444-555555555555";
    let since = Timestamp::now();
    for thief in [
        thief("on-a-ghost", hash, "ghost", made_up),
        thief("wrong-owner", hash, NODE, made_up),
        thief("right-owner", hash, NODE, &node_uid),
    ] {
        harness.create(thief).await?;
    }
    let nothing_taken = async || {
        let after = |observation: &Observation| observation.at > since;
        let same =
            harness.history.of(NAMESPACE, &mirror).iter().filter(|observation| after(observation)).all(high);
        let has_none = |name: &str| {
            harness.history.of(NAMESPACE, name).iter().all(|thief| thief.get(keys::CPU_BAND).is_empty())
        };
        // A quarantined node is late after 30 s.
        let nodes: Vec<NodeStatus> = harness.ask("/v1/nodes").await?;
        let all_report = nodes.iter().all(|node| node.state == AgentState::Reporting);
        Ok(same && all_report && ["on-a-ghost", "wrong-owner", "right-owner"].into_iter().all(has_none))
    };
    harness.throughout("the static pod has its label, and every node reports", LONG, nothing_taken).await?;
    Ok(format!(
        "the static pod was labeled {:.1} s after its manifest",
        labeled.at.duration_since(created).as_secs_f64()
    ))
}
