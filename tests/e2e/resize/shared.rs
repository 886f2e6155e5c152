//! Two containers that need more than their node has: the gold one first, also between two of its steps, and `explain` shows the arithmetic.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::ensure;
use plimsoll_contract::Quantity;

use super::{RUNS, drop_namespace, nothing_terminates, sized};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{BURN, NODES, SLEEP, cpu, pod, restarts};

const NAMESPACE: &str = "shared";
/// The node of all three pods.
const NODE: usize = 2;
/// What is left of the node's CPU, in millicores, beside the two burners' own requests.
const LEFT: u64 = 120;
/// The burners' request and limit, in millicores.
const SIZE: u64 = 60;
/// Until they begin: a start with so little CPU may be a first growth, and its cooldown is over then.
const QUIET: Duration = Duration::from_secs(100);

/// A pod without load takes what the two are not to have. Their request is their limit: more limit is more request. The bronze one begins some
/// seconds after the gold one, and calls for growth while that one waits for its second step.
pub(crate) async fn of_two_burners_with_headroom_for_one_gold_comes_first(harness: &Harness) -> TestResult {
    harness.until("no pod to be on its way out", RUNS, async || nothing_terminates(harness).await).await?;
    let free = free_millicores(harness, NODES[NODE]).await?;
    ensure!(free > LEFT + 2 * SIZE, "only {free}m are free on {}", NODES[NODE]);
    let filler = format!("{}m", free - LEFT - 2 * SIZE);
    let size = format!("{SIZE}m");
    let begin = UNIX_EPOCH.elapsed()? + QUIET;
    // By the clock, because their containers do not start at the same time.
    let burner = |class: &str, begins: u64| {
        let script = format!("sleep $(({begins} - $(date +%s))); {BURN}");
        sized(class, &format!("{class}-burner"), NODES[NODE], &script, [&size, "16Mi"], [&size, "16Mi"])
    };
    let (gold, bronze) = (burner("gold", begin.as_secs()), burner("bronze", begin.as_secs() + 4));
    harness
        .run(NAMESPACE, vec![pod("filler", NODES[NODE], SLEEP, [&filler, "8Mi"], ["", ""]), bronze, gold])
        .await?;
    let requests = async || -> anyhow::Result<[f64; 2]> {
        let mut requests = [0.0; 2];
        for (request, name) in requests.iter_mut().zip(["gold-burner", "bronze-burner"]) {
            *request = cpu(&harness.pod(NAMESPACE, name).await?, "requests");
        }
        Ok(requests)
    };
    tokio::time::sleep(begin.saturating_sub(UNIX_EPOCH.elapsed()?)).await;
    let before = requests().await?;
    let grew = async || Ok(requests().await?[0] > before[0]);
    harness.until("the gold burner to grow", Duration::from_secs(60), grew).await?;
    // For its second step, and longer than bronze needs to call for its first.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let after = requests().await?;
    let explained = harness.plimsoll(&["explain", "gold-burner", "-n", NAMESPACE]).await?;
    let bronze_explained = harness.plimsoll(&["explain", "bronze-burner", "-n", NAMESPACE]).await?;
    for name in ["gold-burner", "bronze-burner"] {
        ensure!(restarts(&harness.pod(NAMESPACE, name).await?) == 0, "{name} was restarted");
    }
    drop_namespace(harness, NAMESPACE).await?;
    let ([gold, bronze], [gold_before, bronze_before]) = (after, before);
    let result = format!(
        "gold from {gold_before:.0}m to {gold:.0}m, bronze, which began 4 s later, from {bronze_before:.0}m to {bronze:.0}m, with {LEFT}m left on the node"
    );
    let grown = gold + bronze - 2.0 * SIZE as f64;
    // What gold finds for its second step is less than the node had for the first: a tenth of it is one step of 10m.
    ensure!(gold > gold_before && bronze <= bronze_before + 10.0, "{result}");
    ensure!(grown <= LEFT as f64 && grown >= (LEFT - 10) as f64, "{result}");
    ensure!(explained.contains("headroom") && explained.contains("U 0."), "{explained}");
    let told = ["headroom", "but the node has no room", "but what is left is kept"];
    ensure!(told.iter().any(|words| bronze_explained.contains(words)), "{bronze_explained}");
    Ok(result)
}

/// What the pods of a node leave of its allocatable CPU.
async fn free_millicores(harness: &Harness, node: &str) -> anyhow::Result<u64> {
    let milli = |value: &serde_json::Value| {
        value.as_str().and_then(|text| text.parse::<Quantity>().ok()).map_or(0.0, |q| q.as_f64() * 1000.0)
    };
    let object: serde_json::Value =
        serde_json::from_str(&harness.kubectl(&["get", "node", node, "-o", "json"]).await?)?;
    let field = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let pods: serde_json::Value = serde_json::from_str(
        &harness.kubectl(&["get", "pods", "-A", "--field-selector", &field, "-o", "json"]).await?,
    )?;
    let containers =
        pods["items"].as_array().into_iter().flatten().flat_map(|pod| pod["spec"]["containers"].as_array());
    let used: f64 = containers.flatten().map(|one| milli(&one["resources"]["requests"]["cpu"])).sum();
    // A few for the reserve of the plan.
    Ok((milli(&object["status"]["allocatable"]["cpu"]) * 0.95 - used).max(0.0) as u64)
}
