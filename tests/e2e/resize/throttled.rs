//! From throttling to a larger `cpu.max` in the kernel, seen by the throttled container itself.
//!
//! Each pod idles, then uses all CPU that its limit allows, and reads its own `cpu.max` all the time. It logs when it begins and when the
//! limit changes; the container runtime records the time of the lines on the node.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::resize::ResizeDecision;
use plimsoll_contract::status::Decision;
use plimsoll_contract::{Quantity, keys};
use tokio::time::sleep;

use super::sized;
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{NODES, logged, restarts};
use crate::summary::Summary;

const NAMESPACE: &str = "throttled";
const PODS: u64 = 20;
/// Seconds before the first step, and from one pod's step to the next one's.
const IDLE: u64 = 60;
const APART: u64 = 4;
/// Seconds: the median, and the slowest.
const MEDIAN: f64 = 5.0;
const SLOWEST: f64 = 10.0;

/// The steps between the two log lines, in seconds.
#[derive(Debug)]
struct Hops {
    decided: f64,
    recorded: f64,
    accepted: f64,
    kernel: f64,
    total: f64,
}

pub(crate) async fn a_throttled_gold_pod_has_more_cpu_in_the_kernel_within_seconds(
    harness: &Harness,
) -> TestResult {
    let names: Vec<String> = (0..PODS).map(|number| format!("throttled-{number}")).collect();
    let pods = names.iter().zip(NODES.iter().cycle()).zip(0..).map(|((name, node), number)| {
        let idle = IDLE + number * APART;
        let script = format!(
            "sleep {idle}; read -r a _ </sys/fs/cgroup/cpu.max; b=$a; echo up $a; \
             while [ $b = $a ]; do read -r b _ </sys/fs/cgroup/cpu.max; done; echo kernel $b; sleep 99999"
        );
        sized("gold", name, node, &script, ["10m", "8Mi"], ["60m", "32Mi"])
    });
    harness.run(NAMESPACE, pods.collect()).await?;
    sleep(Duration::from_secs(45 + IDLE + PODS * APART)).await;
    let mut hops = Vec::new();
    for name in &names {
        let changed = async || Ok(logged(&harness.log(NAMESPACE, name).await?, "kernel").is_some());
        harness.until(&format!("the kernel's new limit of {name}"), Duration::from_secs(90), changed).await?;
        hops.push(hops_of(harness, name).await?);
    }
    // The next tests need what its pods reserve.
    harness.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).await?;
    let part = |of: fn(&Hops) -> f64| {
        Summary::of(hops.iter().map(of)).map(|s| format!("{:.1}/{:.1}/{:.1}", s.min, s.median, s.max))
    };
    let total = Summary::of(hops.iter().map(|hop| hop.total)).context("no pod was throttled")?;
    let words = [
        ("total", part(|hop| hop.total)),
        ("until decided", part(|hop| hop.decided)),
        ("recorded", part(|hop| hop.recorded)),
        ("accepted", part(|hop| hop.accepted)),
        ("in the kernel", part(|hop| hop.kernel)),
    ];
    let words = words.map(|(word, part)| format!("{word} {} s", part.unwrap_or_default())).join(", ");
    let result =
        format!("{words} (min/median/max of {PODS}; median at most {MEDIAN} s, slowest {SLOWEST} s)");
    ensure!(total.median <= MEDIAN && total.max <= SLOWEST, "{result}");
    Ok(result)
}

async fn hops_of(harness: &Harness, name: &str) -> anyhow::Result<Hops> {
    let log = harness.log(NAMESPACE, name).await?;
    let (up, before) = logged(&log, "up").context("it never began")?;
    let (kernel, changed) = logged(&log, "kernel").context("its limit never changed")?;
    let quota = |words: &[String]| words.first().and_then(|word| word.parse::<u64>().ok());
    ensure!(quota(&changed) > quota(&before), "{name}: from {before:?} to {changed:?}");
    let pod = harness.pod(NAMESPACE, name).await?;
    ensure!(restarts(&pod) == 0, "{name} was restarted");
    // The start of a container is a load too: the resize is the one whose limit the kernel was seen to get. Which came first says no clock,
    // because a busy node's runtime records a line late.
    let limit = Quantity::from_millicores(quota(&changed).unwrap_or_default() / 100).to_string();
    let observations = harness.history.of(NAMESPACE, name);
    let decided = observations.iter().map(|observation| observation.get(keys::DECISION));
    let mut decided = decided.filter_map(|text| serde_json::from_str::<ResizeDecision>(text).ok());
    let decided = decided
        .find(|decision| decision.to.values().any(|resources| resources.limits.get("cpu") == Some(&limit)));
    let decided = decided.with_context(|| format!("{name}: nothing was decided about {limit}"))?.at;
    let decisions: Vec<Decision> = harness.ask("/v1/decisions").await?;
    let resizes = decisions.iter().filter(|one| {
        (one.namespace.as_str(), one.pod.as_str(), one.action.as_str()) == (NAMESPACE, name, "resize")
    });
    let sent = resizes.filter(|one| one.at >= decided).min_by_key(|one| one.at);
    let sent = sent.with_context(|| format!("{name}: {limit} was decided and not sent"))?;
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    let accepted = sent.took_ms.unwrap_or_default() as f64 / 1000.0;
    Ok(Hops {
        decided: seconds(up, decided),
        recorded: seconds(decided, sent.at),
        accepted,
        kernel: seconds(sent.at, kernel) - accepted,
        total: seconds(up, kernel),
    })
}
