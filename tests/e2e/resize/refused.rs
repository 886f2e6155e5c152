//! Who is resized only in part or not at all, and why: what owners, quotas and other controllers decided stays.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use plimsoll_contract::keys;
use plimsoll_contract::status::PodStatus;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{RUNS, UNTIL_RESIZED, drop_namespace, sized};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{BURN, NODES, SLEEP, cpu, pod, restarts, spec};

/// Until a throttled pod of a class was resized, or would have been.
const RESIZED: Duration = Duration::from_secs(150);
const REQUESTS: [&str; 2] = ["20m", "8Mi"];
const LIMITS: [&str; 2] = ["40m", "24Mi"];

/// What the aggregator says about a pod, once it says anything about its size.
async fn sizing(harness: &Harness, namespace: &str, name: &str) -> anyhow::Result<PodStatus> {
    let says = async || Ok(harness.status(namespace, name).await?.resize.is_some());
    harness.until(&format!("a word about the size of {name}"), RESIZED, says).await?;
    harness.status(namespace, name).await
}

async fn refusal(harness: &Harness, namespace: &str, name: &str, expected: &str) -> anyhow::Result<()> {
    let refused = async || {
        let status = harness.status(namespace, name).await?;
        Ok(status.resize.is_some_and(|resize| resize.refusal.as_deref() == Some(expected)))
    };
    let waited = harness.until(&format!("{name} to be refused as {expected}"), RESIZED, refused).await;
    let status = harness.status(namespace, name).await?;
    waited.with_context(|| format!("{:?}", status.resize)).map(drop)
}

/// Best effort has nothing to resize; Guaranteed stays it, to the byte; one that restarts for a resize is not resized.
pub(crate) async fn quality_of_service_and_resize_policies_are_kept(harness: &Harness) -> TestResult {
    let namespace = "refused-qos";
    let mut restarting = sized("gold", "restarting", NODES[0], BURN, REQUESTS, LIMITS);
    restarting["spec"]["containers"][0]["resizePolicy"] = json!([
        {"resourceName": "cpu", "restartPolicy": "RestartContainer"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]);
    let pods = vec![
        sized("gold", "besteffort", NODES[0], "while :; do sleep 0.3; done", ["", ""], ["", ""]),
        sized("gold", "guaranteed", NODES[1], UNTIL_RESIZED, ["40m", "24Mi"], ["40m", "24Mi"]),
        sized("no-such-class", "unknown-class", NODES[2], BURN, REQUESTS, LIMITS),
        restarting,
    ];
    harness.run(namespace, pods).await?;
    let grew = async || Ok(cpu(&harness.pod(namespace, "guaranteed").await?, "limits") > 40.0);
    harness.until("the Guaranteed pod to grow", RUNS + RESIZED, grew).await?;
    let guaranteed = harness.pod(namespace, "guaranteed").await?;
    let qos = guaranteed.status.as_ref().and_then(|status| status.qos_class.clone()).unwrap_or_default();
    ensure!(
        qos == "Guaranteed" && cpu(&guaranteed, "limits") == cpu(&guaranteed, "requests"),
        "{guaranteed:?}"
    );
    refusal(harness, namespace, "besteffort", "best_effort").await?;
    refusal(harness, namespace, "unknown-class", "unknown_class").await?;
    let restarting = harness.pod(namespace, "restarting").await?;
    ensure!(cpu(&restarting, "limits") == 40.0 && restarts(&restarting) == 0, "{:?}", restarting.spec);
    refusal(harness, namespace, "restarting", "restart_container").await?;
    let candidates = harness.plimsoll(&["candidates", "-n", namespace]).await?;
    ensure!(candidates.contains("BestEffort"), "{candidates}");
    drop_namespace(harness, namespace).await?;
    Ok(format!("Guaranteed grew to {:.0}m and stayed it", cpu(&guaranteed, "limits")))
}

/// A HorizontalPodAutoscaler that divides by the request keeps it; a quota and a LimitRange hold.
pub(crate) async fn autoscalers_quotas_and_limit_ranges_hold(harness: &Harness) -> TestResult {
    let (scaled, limited, ranged, later) =
        ("refused-hpa", "refused-quota", "refused-range", "refused-later-range");
    for namespace in [scaled, limited, ranged, later] {
        harness.namespace(namespace).await?;
    }
    let mut template = json!({"metadata": {"labels": {"app": "web", keys::SLA: "gold"}}});
    template["spec"] = spec(Some(NODES[0]), UNTIL_RESIZED, REQUESTS, LIMITS);
    harness
        .create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": scaled},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }))
        .await?;
    harness
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": scaled},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
            },
        }))
        .await?;
    harness
        .create(json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": limited},
            "spec": {"hard": {"requests.cpu": "55m", "limits.cpu": "2", "requests.memory": "1Gi", "limits.memory": "1Gi"}},
        }))
        .await?;
    harness
        .create(json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "most", "namespace": ranged},
            "spec": {"limits": [{"type": "Container", "max": {"cpu": "60m"}}]},
        }))
        .await?;
    let burner = |name: &str, node| sized("gold", name, node, UNTIL_RESIZED, REQUESTS, LIMITS);
    harness.run(limited, vec![burner("one", NODES[1]), burner("two", NODES[1])]).await?;
    harness.run(ranged, vec![burner("ranged", NODES[2])]).await?;
    // With any resize the API server would set the limit of a LimitRange that is newer than the pod.
    harness.run(later, vec![pod("unlimited", NODES[2], SLEEP, REQUESTS, ["", ""])]).await?;
    harness
        .create(json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults", "namespace": later},
            "spec": {"limits": [{"type": "Container", "default": {"cpu": "30m", "memory": "12Mi"}}]},
        }))
        .await?;
    harness.kubectl(&["label", "pod", "unlimited", "-n", later, &format!("{}=gold", keys::SLA)]).await?;
    let web = async || -> anyhow::Result<Pod> {
        harness.pods(scaled, "app=web").await?.into_iter().next().context("no replica")
    };
    let grew = async || Ok(cpu(&web().await?, "limits") > 40.0);
    harness.until("the scaled pod's limit to grow", RUNS + RESIZED, grew).await?;
    let at_range = async || Ok(cpu(&harness.pod(ranged, "ranged").await?, "limits") == 60.0);
    harness.until("the limit to reach that of the LimitRange", RUNS + RESIZED, at_range).await?;
    sleep(Duration::from_secs(20)).await;
    let web = web().await?;
    ensure!(cpu(&web, "requests") == 20.0, "the HPA's request is {}m", cpu(&web, "requests"));
    let requests = [
        cpu(&harness.pod(limited, "one").await?, "requests"),
        cpu(&harness.pod(limited, "two").await?, "requests"),
    ];
    ensure!(requests.iter().sum::<f64>() <= 55.0, "beyond the quota: {requests:?}");
    let refused = harness.audit.attempts(jiff::Timestamp::UNIX_EPOCH)?;
    let refused =
        refused.iter().filter(|attempt| attempt.namespace == limited && attempt.code == 403).count();
    ensure!(refused <= 2, "{refused} requests were refused by the quota");
    let unlimited = harness.pod(later, "unlimited").await?;
    let (request, limit) = (cpu(&unlimited, "requests"), cpu(&unlimited, "limits"));
    ensure!((request, limit) == (20.0, 0.0), "it was resized to {request}m, limit {limit}m");
    refusal(harness, later, "unlimited", "limit_range_default").await?;
    for namespace in [scaled, limited, ranged, later] {
        drop_namespace(harness, namespace).await?;
    }
    Ok(format!(
        "request kept at 20m under the HPA, {requests:?} of a quota of 55m, 60m of a LimitRange; {refused} refused by the quota; no limit set by a later LimitRange"
    ))
}

/// Somebody who writes the size back: at most two rounds, then his size stays, and it is said.
pub(crate) async fn another_writer_keeps_his_size_after_two_rounds(harness: &Harness) -> TestResult {
    let (namespace, name) = ("refused-writer", "contested");
    harness.run(namespace, vec![sized("gold", name, NODES[1], BURN, REQUESTS, LIMITS)]).await?;
    let back = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "20m"}, "limits": {"cpu": "40m"}}}]}});
    let back = back.to_string();
    let mut rounds = 0;
    loop {
        let grew = async || Ok(cpu(&harness.pod(namespace, name).await?, "limits") > 40.0);
        let limit = if rounds == 0 { RUNS + RESIZED } else { Duration::from_secs(60) };
        if harness.until("the pod to grow", limit, grew).await.is_err() {
            break;
        }
        rounds += 1;
        ensure!(rounds <= 2, "it was resized {rounds} times against another writer");
        // Once the kernel holds it: a resize in flight is not what is contested.
        sleep(Duration::from_secs(5)).await;
        let patch = [
            "patch",
            "pod",
            name,
            "-n",
            namespace,
            "--subresource",
            "resize",
            "--type",
            "strategic",
            "-p",
            &back,
        ];
        harness.kubectl(&patch).await?;
    }
    ensure!(rounds > 0, "it was never resized");
    let status = sizing(harness, namespace, name).await?;
    let refusal = status.resize.and_then(|resize| resize.refusal);
    ensure!(refusal.as_deref() == Some("yielding"), "{refusal:?}");
    let events = harness.kubectl(&["get", "events", "-n", namespace, "-o", "json"]).await?;
    let events: Value = serde_json::from_str(&events)?;
    let said =
        events["items"].as_array().into_iter().flatten().any(|event| event["reason"] == "ResizeYielded");
    ensure!(said, "no Event says so");
    let now = harness.pod(namespace, name).await?;
    ensure!(restarts(&now) == 0, "{} was restarted", now.name_any());
    drop_namespace(harness, namespace).await?;
    Ok(format!("{rounds} rounds, then his size stayed"))
}
