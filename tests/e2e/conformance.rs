//! The API server gives the answers that the sandbox is held to: what `tests/conformance` recorded is still Kubernetes.

use anyhow::{Context, ensure};
use plimsoll_tests::conformance::ask_cluster;

use crate::Verdict;
use crate::world::World;

pub(crate) async fn the_api_server_answers_as_recorded(_world: &World) -> Verdict {
    let config = kube::Config::infer().await.context("no way to the API server")?;
    let (asked, all) = ask_cluster(config).await?;
    ensure!(asked == all, "{asked} of {all} requests were made: no node is Ready");
    Ok(format!("{asked} requests"))
}
