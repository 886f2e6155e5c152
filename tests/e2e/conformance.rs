//! The API server responds as `tests/conformance` recorded, which is what the sandbox is tested against.

use anyhow::{Context, ensure};
use plimsoll_tests::conformance::check_cluster;

use crate::TestResult;
use crate::harness::Harness;

pub(crate) async fn the_api_server_responds_as_recorded(_world: &Harness) -> TestResult {
    let config = kube::Config::infer().await.context("cannot connect to the API server")?;
    let (asked, all) = check_cluster(config).await?;
    ensure!(asked == all, "{asked} of {all} requests were made: no node is Ready");
    Ok(format!("{asked} requests"))
}
