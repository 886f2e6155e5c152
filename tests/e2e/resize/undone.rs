//! What was resized can be put back: by `undo`, and by `cleanup`, which the tests of the removal run.

use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt;
use plimsoll_contract::keys;

use super::{RUNS, UNTIL_RESIZED, sized};
use crate::TestResult;
use crate::harness::Harness;
use crate::pods::{NODES, cpu, restarts};

/// Stays until the end, with a resized pod in it for `cleanup`.
pub(crate) const NAMESPACE: &str = "resized";
/// The pod that `cleanup` restores.
pub(crate) const KEPT: &str = "kept";
const UNDONE: &str = "undone";

/// The limit of a pod, in millicores.
pub(crate) async fn limit(harness: &Harness, name: &str) -> anyhow::Result<f64> {
    Ok(cpu(&harness.pod(NAMESPACE, name).await?, "limits"))
}

/// Throttled until it has more.
async fn grown(harness: &Harness, name: &str) -> anyhow::Result<f64> {
    let burner = sized("gold", name, NODES[0], UNTIL_RESIZED, ["20m", "8Mi"], ["40m", "24Mi"]);
    harness.run(NAMESPACE, vec![burner]).await?;
    let grew = async || Ok(limit(harness, name).await? > 40.0);
    harness.until(&format!("{name} to grow"), RUNS + Duration::from_secs(150), grew).await?;
    limit(harness, name).await
}

pub(crate) async fn a_pod_grows_and_stays_for_cleanup(harness: &Harness) -> TestResult {
    Ok(format!("40m to {:.0}m", grown(harness, KEPT).await?))
}

pub(crate) async fn undo_restores_the_original_size_in_place(harness: &Harness) -> TestResult {
    let grown = grown(harness, UNDONE).await?;
    let before = harness.pod(NAMESPACE, UNDONE).await?;
    // Without its class it is not resized again.
    harness.kubectl(&["label", "pod", UNDONE, "-n", NAMESPACE, &format!("{}-", keys::SLA)]).await?;
    let output = harness.plimsoll(&["undo", UNDONE, "-n", NAMESPACE, "--yes"]).await?;
    let restored = async || Ok(limit(harness, UNDONE).await? == 40.0);
    harness.until("the original size", Duration::from_secs(20), restored).await?;
    harness.throughout("the original size stays", Duration::from_secs(30), restored).await?;
    let now = harness.pod(NAMESPACE, UNDONE).await?;
    ensure!(now.uid() == before.uid() && restarts(&now) == 0, "it is another pod, or was restarted");
    let last = output.lines().last().unwrap_or_default().to_owned();
    Ok(format!("{grown:.0}m back to 40m: {last}"))
}
