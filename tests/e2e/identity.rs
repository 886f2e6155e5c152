//! A restarted container, a recreated pod of the same name, and a resized container; and the agents' tokens.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::{Value, json};

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{BURN, FILL_MEMORY, NODES, SLEEP, SPAWN, START, pod, spec};

const NAMESPACE: &str = "identity";
const REQUESTS: [&str; 2] = ["10m", "8Mi"];

fn high(observation: &Observation) -> bool {
    observation.get(keys::CPU_BAND) == "high"
}

/// The container's id changes, the pod's band does not.
pub(crate) async fn a_restarted_container_keeps_its_band(harness: &Harness) -> TestResult {
    let name = "restarted";
    harness.run(NAMESPACE, vec![pod(name, NODES[0], BURN, REQUESTS, ["40m", "16Mi"])]).await?;
    harness.history.wait((NAMESPACE, name), Timestamp::now(), START, high).await?;
    let restarts = async || {
        let statuses =
            harness.pod(NAMESPACE, name).await?.status.and_then(|status| status.container_statuses);
        Ok(statuses
            .unwrap_or_default()
            .first()
            .is_some_and(|one| one.restart_count == 1 && one.started == Some(true)))
    };
    let since = Timestamp::now();
    harness.kill(&harness.pod(NAMESPACE, name).await?).await?;
    let took = harness.until("the container to run again", Duration::from_secs(60), restarts).await?;
    let same = async || {
        Ok(harness.history.of(NAMESPACE, name).iter().filter(|observation| observation.at > since).all(high))
    };
    harness.throughout("the band stays high", Duration::from_secs(60), same).await?;
    Ok(format!("the container came back after {:.1} s", took.as_secs_f64()))
}

/// The old pod fills its memory, the new one of the same name does not: it must never have the old band.
pub(crate) async fn a_recreated_pod_has_no_band_of_the_old_one(harness: &Harness) -> TestResult {
    harness.namespace(NAMESPACE).await?;
    let stateful_set = |script: &str| {
        let mut spec = spec(None, script, REQUESTS, ["900m", "32Mi"]);
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": NODES[1]});
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": NAMESPACE},
            "spec": {
                "serviceName": "db",
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
            },
        })
    };
    let full = |observation: &Observation| observation.get(keys::MEMORY_BAND) == "high";
    harness.create(stateful_set(FILL_MEMORY)).await?;
    let old = harness.history.wait((NAMESPACE, "db-0"), Timestamp::now(), START, full).await?;
    let change: Value = json!({"spec": {"template": stateful_set(SLEEP)["spec"]["template"]}});
    harness
        .kubectl(&["patch", "statefulset", "db", "-n", NAMESPACE, "--type=merge", "-p", &change.to_string()])
        .await?;
    harness.kubectl(&["delete", "pod", "db-0", "-n", NAMESPACE]).await?;
    let low =
        |observation: &Observation| observation.uid != old.uid && observation.get(keys::MEMORY_BAND) == "low";
    let new = harness.history.wait((NAMESPACE, "db-0"), Timestamp::now(), START, low).await?;
    let observations = harness.history.of(NAMESPACE, "db-0");
    let bands: Vec<_> =
        observations.iter().filter(|s| s.uid == new.uid).map(|s| s.get(keys::MEMORY_BAND)).collect();
    ensure!(bands.iter().all(|band| ["", "low"].contains(band)), "the new pod had the bands {bands:?}");
    Ok(String::new())
}

/// A limit twenty times as large: the utilization falls at once, the band after a minute.
pub(crate) async fn an_in_place_resize_moves_the_basis_and_not_the_band(harness: &Harness) -> TestResult {
    let (name, node) = ("resized", NODES[2]);
    // Its usage is above this limit, and far below the next one.
    let mut resized = pod(name, node, SPAWN, REQUESTS, ["30m", "16Mi"]);
    // The limits of pods with a class are read with every sweep; one that recommends resizes nothing.
    let class = "e2e-watched";
    harness
        .create(json!({
            "apiVersion": "plimsoll.dev/v1alpha1", "kind": "SLAClass", "metadata": {"name": class},
            "spec": {
                "rank": 9, "mode": "Recommend", "upCooldown": "10s", "downHold": "60m",
                "cpu": {"targetOfLimit": 0.4, "targetOfRequest": 0.6, "maxStep": 1.0},
                "memory": {"targetOfLimit": 0.7, "targetOfRequest": 0.8, "maxStep": 1.0},
            },
        }))
        .await?;
    resized["metadata"]["labels"] = json!({keys::SLA: class});
    harness.run(NAMESPACE, vec![resized]).await?;
    let before = harness.history.wait((NAMESPACE, name), Timestamp::now(), START, high).await?;
    let uid = before.uid.clone();
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "600m"}}}]}});
    let since = Timestamp::now();
    harness
        .kubectl(&["patch", "pod", name, "-n", NAMESPACE, "--subresource=resize", "-p", &patch.to_string()])
        .await?;
    let start = Instant::now();
    let files = format!("/sys/fs/cgroup/kubepods/burstable/pod{uid}/*/cpu.max");
    let kernel = async || Ok(harness.on(node, &format!("cat {files}")).await?.contains("60000 100000"));
    let agent = async || {
        let report: Value = serde_json::from_str(&harness.ask_agent(node, "/v1/report").await?)?;
        let pods = report["pods"].as_array().context("no pods")?.iter();
        let of =
            pods.filter(|pod| pod["uid"] == uid.as_str()).filter_map(|pod| pod["cpu"]["of"].as_f64()).next();
        Ok(of.is_some_and(|of| (of - 0.6).abs() < 0.001))
    };
    let timeout = Duration::from_secs(60);
    let (kernel, agent) = tokio::join!(
        harness.until("the kernel to have the new limit", timeout, kernel),
        harness.until("the agent to have the new limit", timeout, agent)
    );
    let (kernel, agent) = (kernel?, agent?);
    // Two sweeps plus the time of the two checks: the kernel is read through the node, the agent through the API server.
    let delay = agent.saturating_sub(kernel);
    ensure!(delay <= Duration::from_millis(2500), "the basis followed {delay:?} after the kernel");
    let same = async || {
        let observations = harness.history.of(NAMESPACE, name);
        Ok(observations.iter().filter(|observation| observation.at > since).all(high)
            && start.elapsed() < timeout)
    };
    harness.throughout("the band stays", Duration::from_secs(30), same).await?;
    let low = |observation: &Observation| {
        observation.at > since && matches!(observation.get(keys::CPU_BAND), "low" | "moderate")
    };
    let followed = harness.history.wait((NAMESPACE, name), since, Duration::from_secs(90), low).await?;
    Ok(format!(
        "in the kernel after {:.1} s, the basis {:.1} s later; the band followed after {:.1} s",
        kernel.as_secs_f64(),
        delay.as_secs_f64(),
        followed.at.duration_since(since).as_secs_f64()
    ))
}

/// The agents' tokens, replaced every 8 minutes, were verified with the keys that the API server publishes: it reviewed none of them.
pub(crate) async fn tokens_are_verified_without_asking(harness: &Harness) -> TestResult {
    let reporting = harness.reporting().await?.len();
    ensure!(reporting > 0, "no node reports");
    let reviews = harness.audit.token_reviews()?;
    ensure!(reviews == 0, "the aggregator had {reviews} tokens reviewed");
    Ok(format!("{reporting} nodes report, no token was reviewed"))
}
