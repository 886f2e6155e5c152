//! Containers whose memory grows beyond their limit: with a class they get more before they are killed, without one they are killed.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{drop_namespace, sized};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{NODES, amount, pod, restarts};

const NAMESPACE: &str = "growers";
/// As gold, for memory alone: starting a container is a load of these nodes, and all these pods growing would fill them.
const CLASS: &str = "e2e-memory";
const PODS: usize = 10;
/// At least as many must survive.
const SURVIVORS: usize = 9;
/// Grows by 1 MiB every two seconds up to 44 MiB, beyond its limit of 24 MiB.
const GROW: &str = "sleep 40; i=0; while [ $i -lt 44 ]; do head -c 1m /dev/zero >>/dev/shm/hoard; i=$((i+1)); sleep 2; done; \
                    echo full; read -r a </sys/fs/cgroup/memory.max; echo limit $a; \
                    while read -r k v; do [ $k = oom_kill ] && echo oom_kill $v; done </sys/fs/cgroup/memory.events; sleep 99999";

pub(crate) async fn a_growing_container_gets_more_memory_before_it_is_killed(
    harness: &Harness,
) -> TestResult {
    harness
        .create(json!({
            "apiVersion": "plimsoll.dev/v1alpha1", "kind": "SLAClass", "metadata": {"name": CLASS},
            "spec": {
                "rank": 0, "mode": "Apply", "upCooldown": "10s", "downHold": "60m",
                "cpu": {"targetOfLimit": 0.4, "targetOfRequest": 0.6, "maxStep": 1.0, "allowIncrease": false},
                "memory": {"targetOfLimit": 0.7, "targetOfRequest": 0.8, "maxStep": 1.0, "maxAllowed": "400%"},
            },
        }))
        .await?;
    let size = (["10m", "16Mi"], ["300m", "24Mi"]);
    let mut pods: Vec<_> = (0..PODS)
        .map(|number| sized(CLASS, &format!("grower-{number}"), NODES[number % 3], GROW, size.0, size.1))
        .collect();
    let mut control = pod("without-class", NODES[0], GROW, size.0, size.1);
    control["spec"]["restartPolicy"] = "Never".into();
    pods.push(control);
    harness.run(NAMESPACE, pods).await?;
    let is_killed = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let mut ends =
            statuses.into_iter().flatten().filter_map(|one| one.state.as_ref()?.terminated.as_ref());
        ends.any(|end| end.reason.as_deref() == Some("OOMKilled") || end.exit_code != 0)
    };
    let killed = async || Ok(is_killed(&harness.pod(NAMESPACE, "without-class").await?));
    harness.until("the pod without a class to be killed", Duration::from_secs(420), killed).await?;
    let mut survivors = Vec::new();
    let mut others = Vec::new();
    for number in 0..PODS {
        let name = format!("grower-{number}");
        let is_full = async || Ok(harness.log(NAMESPACE, &name).await?.contains("oom_kill"));
        let full = harness.until("it to hold everything", Duration::from_secs(120), is_full).await;
        let (now, log) = (harness.pod(NAMESPACE, &name).await?, harness.log(NAMESPACE, &name).await?);
        let limit = amount(&now, "limits", "memory").unwrap_or_default() / f64::from(1 << 20);
        if full.is_ok() && restarts(&now) == 0 && log.contains("oom_kill 0") && limit > 24.0 {
            survivors.push(limit);
        } else {
            others.push(format!("{name}: {} restarts, limit {limit} Mi", restarts(&now)));
        }
    }
    drop_namespace(harness, NAMESPACE).await?;
    harness.kubectl(&["delete", "slaclass", CLASS]).await?;
    let result = format!(
        "{} of {PODS} grew from 24 Mi to {:.0?} Mi and were not killed; the same pod without a class was",
        survivors.len(),
        survivors.iter().copied().fold(0.0, f64::max)
    );
    ensure!(survivors.len() >= SURVIVORS, "{result}: {others:?}");
    Ok(result)
}
