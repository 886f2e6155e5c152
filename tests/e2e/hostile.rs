//! Pods that somebody made odd: the aggregator starts all the same, and serves the others.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::{Value, json};

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{BURN, NODES, SLEEP, START, pod, spec};
use crate::restarts::restart_the_aggregator;

const NAMESPACE: &str = "hostile";
const REQUESTS: [&str; 2] = ["10m", "8Mi"];
const LIMITS: [&str; 2] = ["30m", "16Mi"];
/// Timeout for what the aggregator does at once.
const SOON: Duration = Duration::from_secs(60);
/// Bytes of a write of ours, by far.
const MAX_WRITE: usize = 8192;

fn high(observation: &Observation) -> bool {
    observation.get(keys::CPU_BAND) == "high"
}

/// One pod has 250 KiB under our prefix, one a time in the year 10000, one a negative count of restarts, and one a controller with a name
/// of 300 characters. The last one cannot be read; all others are labeled, also after a restart of the aggregator.
pub(crate) async fn odd_pods_keep_nobody_from_being_served(harness: &Harness) -> TestResult {
    let start = Timestamp::now();
    harness.run(NAMESPACE, pods()).await?;
    for name in ["bystander", "later", "large"] {
        harness.history.wait((NAMESPACE, name), start, START, high).await.with_context(|| name.to_owned())?;
    }
    set_year_10000(harness, "later").await?;
    count_negative_restarts(harness, "negative").await?;

    let took = restart_the_aggregator(harness).await?;
    let since = Timestamp::now();
    harness.run(NAMESPACE, vec![pod("newcomer", NODES[0], BURN, REQUESTS, LIMITS)]).await?;
    harness.history.wait((NAMESPACE, "newcomer"), since, START, high).await?;

    // Still odd, and still served.
    ensure!(is_in_year_10000(harness, "later").await?, "the API server mended the time");
    for name in ["later", "large", "bystander"] {
        harness.history.wait((NAMESPACE, name), Timestamp::now(), SOON, high).await?;
    }
    let unreadable = harness.history.of(NAMESPACE, "unreadable");
    ensure!(unreadable.iter().all(|seen| seen.get(keys::CPU_BAND).is_empty()), "{unreadable:?}");
    let writes = harness.audit.attempts(start)?;
    let large = writes.iter().find(|write| write.body.to_string().len() > MAX_WRITE);
    ensure!(large.is_none(), "a write repeats what a user wrote: {:?}", large.map(|write| &write.name));

    // The one that cannot be read is named, and only that one.
    let metric = "plimsoll_aggregator_unreadable_objects{resource=\"pods\"} 1";
    let proxy = format!(
        "/api/v1/namespaces/{}/services/{}:http/proxy",
        keys::SYSTEM_NAMESPACE,
        keys::AGGREGATOR_HTTP
    );
    let counted =
        async || Ok(harness.get(&format!("{proxy}/metrics")).await?.lines().any(|line| line == metric));
    harness.until(metric, SOON, counted).await?;
    let events = async || {
        let all = harness.kubectl(&["get", "events", "-n", NAMESPACE, "-o", "json"]).await?;
        let all: Value = serde_json::from_str(&all)?;
        let mut events = all["items"].as_array().into_iter().flatten();
        Ok(events.any(|event| {
            event["reason"] == "Unreadable"
                && event["involvedObject"]["name"] == "unreadable"
                && event["message"]
                    .as_str()
                    .is_some_and(|note| note.contains("metadata.ownerReferences[0].name"))
        }))
    };
    harness.until("an Event that names the pod and the field", SOON, events).await?;
    let top = harness.plimsoll(&["top", "--once", "--namespace", NAMESPACE]).await?;
    ensure!(top.contains("cannot be read, and is not shown: pod hostile/unreadable"), "{top}");
    ensure!(top.contains("hostile/newcomer") && top.contains("hostile/later"), "{top}");
    let labels = harness.plimsoll(&["labels", "--namespace", NAMESPACE]).await?;
    for name in ["bystander", "later", "large", "negative", "newcomer", "unreadable"] {
        ensure!(labels.contains(name), "{name} is not listed: {labels}");
    }

    // The clients of the tests that follow decode whole objects.
    harness.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=180s"]).await?;
    Ok(format!("the aggregator was ready {:.1} s after it was killed", took.as_secs_f64()))
}

fn pods() -> Vec<Value> {
    let burner = |name: &str, node: &str| pod(name, node, BURN, REQUESTS, LIMITS);
    let mut large = burner("large", NODES[1]);
    // A pod may have 256 KiB of annotations.
    large["metadata"]["annotations"] = json!({
        keys::ORIGINAL_RESOURCES: "x".repeat(120 << 10),
        keys::DECISION: "x".repeat(120 << 10),
        "plimsoll.dev/made-up": "x".repeat(10 << 10),
    });
    let mut unreadable = burner("unreadable", NODES[2]);
    // Of a kind that does not exist, so that the garbage collector cannot conclude that this one does not.
    unreadable["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "plimsoll.test/v1", "kind": "Ghost", "name": "x".repeat(300), "uid": "ghost", "controller": true,
    }]);
    // Scheduled nowhere, so that no kubelet corrects its status.
    let mut negative = spec(None, SLEEP, REQUESTS, LIMITS);
    negative["nodeSelector"] = json!({"plimsoll.test/no-such-node": "true"});
    let negative =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "negative"}, "spec": negative});
    vec![burner("bystander", NODES[0]), burner("later", NODES[2]), large, unreadable, negative]
}

/// Sets a time that the API server accepts from whoever may patch a pod, and then serves as one of the year 10000. It is that of our own
/// entry, which is the first, because applies come first. The annotation is needed: the API server takes back a time if nothing else changes.
async fn set_year_10000(harness: &Harness, name: &str) -> anyhow::Result<()> {
    let patch = json!([
        {"op": "test", "path": "/metadata/managedFields/0/manager", "value": keys::FIELD_MANAGER},
        {"op": "replace", "path": "/metadata/managedFields/0/time", "value": "9999-12-31T23:59:59-23:59"},
        {"op": "add", "path": "/metadata/annotations/odd", "value": "true"},
    ]);
    let request = http::Request::patch(path(name))
        .header("content-type", "application/json-patch+json")
        .body(serde_json::to_vec(&patch)?)?;
    harness.client.request_text(request).await.context("the API server does not accept the time")?;
    ensure!(is_in_year_10000(harness, name).await?, "the API server does not serve the time");
    Ok(())
}

async fn is_in_year_10000(harness: &Harness, name: &str) -> anyhow::Result<bool> {
    Ok(harness.get(&path(name)).await?.contains("\"time\":\"10000-"))
}

async fn count_negative_restarts(harness: &Harness, name: &str) -> anyhow::Result<()> {
    let container =
        json!({"name": "app", "image": "busybox:test", "imageID": "", "ready": false, "restartCount": -1});
    let patch = json!({"status": {"containerStatuses": [container]}});
    let request = http::Request::patch(format!("{}/status", path(name)))
        .header("content-type", "application/merge-patch+json")
        .body(serde_json::to_vec(&patch)?)?;
    harness.client.request_text(request).await.context("the API server does not accept the count")?;
    let text = harness.get(&path(name)).await?;
    ensure!(text.contains("\"restartCount\":-1"), "the API server does not serve the count");
    Ok(())
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}")
}
