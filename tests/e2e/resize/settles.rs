//! The example of the original project: two replicas that request 100m and work half of each second.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use plimsoll_contract::keys;
use serde_json::json;
use tokio::time::sleep;

use super::{amount, drop_namespace, logged, restarts};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::spec;

const NAMESPACE: &str = "settles";
/// Seconds from the start of the load to the first resize.
const FIRST: f64 = 15.0;
/// Seconds from the start of the load until the size is within a tenth of the final one.
const SETTLED: f64 = 60.0;
/// How long the sizes are watched.
const WATCHED: Duration = Duration::from_secs(120);
/// The load starts this long after the container, so that its start is not part of it.
const IDLE: u64 = 30;

pub(crate) async fn the_original_example_is_resized_in_place_and_settles(harness: &Harness) -> TestResult {
    harness.namespace(NAMESPACE).await?;
    // `timeout` ends the burner; half a second each.
    let script = format!(
        "sleep {IDLE}; echo up; while :; do timeout -s KILL 0.5 sh -c 'while :; do :; done'; sleep 0.5; done 2>/dev/null"
    );
    let labels = json!({"app": "vpa-example", keys::SLA: "gold"});
    let mut spec = spec(None, &script, ["100m", "50Mi"], ["", ""]);
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "vpa-example"}},
    }]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "vpa-example", "namespace": NAMESPACE},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "vpa-example"}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    harness.create(deployment).await?;
    let running = async || harness.are_running(NAMESPACE, 2).await;
    harness.until("both replicas to run", super::RUNS, running).await?;
    let before = harness.pods(NAMESPACE, "app=vpa-example").await?;
    // Sizes as they change, by the watch of this test.
    let mut seen: Vec<(Timestamp, String, f64)> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < WATCHED + Duration::from_secs(IDLE) {
        for pod in harness.pods(NAMESPACE, "app=vpa-example").await? {
            let (name, request) = (pod.name_any(), amount(&pod, "requests", "cpu").unwrap_or_default());
            if seen.iter().rev().find(|(_, of, _)| *of == name).is_none_or(|(.., last)| *last != request) {
                seen.push((Timestamp::now(), name, request));
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
    let mut words = Vec::new();
    let mut bad = Vec::new();
    for pod in &before {
        let name = pod.name_any();
        let now = harness.pod(NAMESPACE, &name).await?;
        is_same(pod, &now)?;
        let (up, _) = logged(&harness.log(NAMESPACE, &name).await?, "up").context("its load never began")?;
        let sizes: Vec<_> = seen.iter().filter(|(_, of, _)| *of == name).collect();
        let last = sizes.last().map_or(0.0, |(.., size)| *size);
        let after = |at: Timestamp| at.duration_since(up).as_secs_f64();
        let first = sizes.iter().find(|(.., size)| *size > 0.1).map(|(at, ..)| after(*at));
        let settled = sizes.iter().rposition(|(.., size)| (size / last - 1.0).abs() > 0.1);
        let settled = settled.and_then(|last_far| sizes.get(last_far + 1)).map(|(at, ..)| after(*at));
        let (Some(first), Some(settled)) = (first, settled) else {
            bad.push(format!("{name} was not resized: {sizes:?}"));
            continue;
        };
        words
            .push(format!("first after {first:.1} s, settled after {settled:.1} s at {:.0}m", last * 1000.0));
        // Half a core is used, and half of a node's CPU is the most that one container may get.
        if first > FIRST || settled > SETTLED || !(0.2..=0.5).contains(&last) {
            bad.push(format!("{name}: {sizes:?}"));
        }
    }
    drop_namespace(harness, NAMESPACE).await?;
    let result = format!("{} (at most {FIRST} s and {SETTLED} s)", words.join("; "));
    ensure!(bad.is_empty(), "{result}: {}", bad.join("; "));
    Ok(result)
}

fn is_same(before: &Pod, now: &Pod) -> anyhow::Result<()> {
    ensure!(before.uid() == now.uid(), "{} is another pod", now.name_any());
    ensure!(restarts(now) == 0, "{} was restarted", now.name_any());
    Ok(())
}
