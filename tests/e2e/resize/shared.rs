//! Two containers that need more than their node has: the gold one first, also between two of its steps, and `explain` shows the arithmetic.

use std::time::Duration;

use anyhow::ensure;
use plimsoll_contract::Quantity;

use super::{RUNS, drop_namespace, nothing_terminates, sized};
use crate::TestResult;
use crate::harness::{Harness, is_running};
use crate::pods::{BURN, NODES, SLEEP, cpu, pod, restarts};

const NAMESPACE: &str = "shared";
/// The node of all three pods.
const NODE: usize = 2;
/// What is left of the node's CPU, in millicores, beside the two burners' own requests.
const LEFT: u64 = 120;
/// The burners' request and limit, in millicores.
const SIZE: u64 = 60;

/// A pod without load takes what the two are not to have. Their request is their limit: more limit is more request. The bronze one begins when
/// the gold one has made its first step, and calls for growth while that one waits for its second.
pub(crate) async fn of_two_burners_with_headroom_for_one_gold_comes_first(harness: &Harness) -> TestResult {
    harness.until("no pod to be on its way out", RUNS, async || nothing_terminates(harness).await).await?;
    let free = free_millicores(harness, NODES[NODE]).await?;
    ensure!(free > LEFT + 2 * SIZE, "only {free}m are free on {}", NODES[NODE]);
    let filler = format!("{}m", free - LEFT - 2 * SIZE);
    let size = format!("{SIZE}m");
    let burner = |class: &str| {
        let name = format!("{class}-burner");
        vec![sized(class, &name, NODES[NODE], BURN, [&size, "16Mi"], [&size, "16Mi"])]
    };
    let request = async |name: &str| -> anyhow::Result<f64> {
        Ok(cpu(&harness.pod(NAMESPACE, name).await?, "requests"))
    };
    harness.run(NAMESPACE, vec![pod("filler", NODES[NODE], SLEEP, [&filler, "8Mi"], ["", ""])]).await?;
    harness.run(NAMESPACE, burner("gold")).await?;
    let grew = async || Ok(request("gold-burner").await? > SIZE as f64);
    harness.until("the gold burner to grow", Duration::from_secs(180), grew).await?;
    harness.run(NAMESPACE, burner("bronze")).await?;
    let runs = async || Ok(is_running(&harness.pod(NAMESPACE, "bronze-burner").await?));
    let began = harness.until("the bronze burner to run", RUNS, runs).await?;
    // For gold's second step, and longer than bronze needs to call for its first.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let (gold, bronze) = (request("gold-burner").await?, request("bronze-burner").await?);
    let explained = harness.plimsoll(&["explain", "gold-burner", "-n", NAMESPACE]).await?;
    let bronze_explained = harness.plimsoll(&["explain", "bronze-burner", "-n", NAMESPACE]).await?;
    for name in ["gold-burner", "bronze-burner"] {
        ensure!(restarts(&harness.pod(NAMESPACE, name).await?) == 0, "{name} was restarted");
    }
    drop_namespace(harness, NAMESPACE).await?;
    let result = format!(
        "gold from {SIZE}m to {gold:.0}m, bronze, which began {:.1} s after gold grew, to {bronze:.0}m, with {LEFT}m left on the node",
        began.as_secs_f64()
    );
    let grown = (gold - SIZE as f64) + (bronze - SIZE as f64);
    // Of what gold finds for its second step a tenth is left to bronze: one step of 10m.
    ensure!(bronze <= (SIZE + 10) as f64 && grown <= LEFT as f64 && grown >= (LEFT - 10) as f64, "{result}");
    ensure!(
        explained.contains("headroom") && explained.contains("gold") && explained.contains("U 0."),
        "{explained}"
    );
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
