//! Idle pods give back what they do not use, never below the floor of their class.

use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt;
use plimsoll_contract::keys;
use serde_json::json;

use super::{drop_namespace, sized};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{NODES, SLEEP, amount, restarts};

const NAMESPACE: &str = "idle";
/// Shrinks after half a minute instead of minutes, and never grows: starting a container is a load of these nodes, and what a pod grew for it
/// keeps for a day.
const CLASS: &str = "e2e-quick";
/// The floor of that class, in cores.
const FLOOR: f64 = 0.050;

pub(crate) async fn idle_pods_give_back_and_never_go_below_their_floor(harness: &Harness) -> TestResult {
    harness
        .create(json!({
            "apiVersion": "plimsoll.dev/v1alpha1", "kind": "SLAClass",
            "metadata": {"name": CLASS},
            "spec": {
                "rank": 5, "mode": "Apply", "upCooldown": "10s", "downHold": "30s",
                "cpu": {"targetOfLimit": 0.5, "targetOfRequest": 0.75, "maxStep": 1.0, "minAllowed": "50m", "allowIncrease": false},
                "memory": {"targetOfLimit": 0.8, "targetOfRequest": 0.9, "maxStep": 1.0, "minAllowed": "100%"},
            },
        }))
        .await?;
    let pods = NODES
        .iter()
        .map(|node| sized(CLASS, &format!("idle-{node}"), node, SLEEP, ["80m", "8Mi"], ["400m", "32Mi"]));
    harness.run(NAMESPACE, pods.collect()).await?;
    let requests = async || -> anyhow::Result<Vec<f64>> {
        let pods = harness.pods(NAMESPACE, "").await?;
        Ok(pods.iter().map(|pod| amount(pod, "requests", "cpu").unwrap_or_default()).collect())
    };
    let at_floor = async || {
        let requests = requests().await?;
        Ok(requests.len() == NODES.len() && requests.iter().all(|request| (request - FLOOR).abs() < 1e-9))
    };
    let took =
        harness.until("the idle pods to be at their floor", Duration::from_secs(420), at_floor).await?;
    let above = async || Ok(requests().await?.iter().all(|request| *request >= FLOOR));
    harness.throughout("no pod goes below its floor", Duration::from_secs(30), above).await?;
    for pod in harness.pods(NAMESPACE, "").await? {
        ensure!(restarts(&pod) == 0, "{} was restarted", pod.name_any());
        ensure!(
            pod.annotations().contains_key(keys::ORIGINAL_RESOURCES),
            "{} does not say its original size",
            pod.name_any()
        );
        let memory = amount(&pod, "limits", "memory").unwrap_or_default();
        ensure!(memory == f64::from(32 << 20), "{}: memory {memory}", pod.name_any());
    }
    drop_namespace(harness, NAMESPACE).await?;
    harness.kubectl(&["delete", "slaclass", CLASS]).await?;
    Ok(format!(
        "3 pods went from 80m to their floor of 50m, {:.0} s after they were made",
        took.as_secs_f64()
    ))
}
