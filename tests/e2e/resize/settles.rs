//! The example of the original project, as gold: resized in place within seconds.

use std::time::Duration;

use anyhow::ensure;
use plimsoll_contract::keys;
use serde_json::json;

use super::drop_namespace;
use crate::harness::Harness;
use crate::{TestResult, example};

const NAMESPACE: &str = "settles";
/// Seconds from the start of the load to the first resize.
const FIRST: f64 = 15.0;
/// Seconds from the start of the load until the size is within a tenth of the final one.
const SETTLED: f64 = 60.0;
/// How long the sizes are watched.
const WATCHED: Duration = Duration::from_secs(120);

pub(crate) async fn the_original_example_is_resized_in_place_and_settles(harness: &Harness) -> TestResult {
    let outcomes = example::run(harness, NAMESPACE, json!({keys::SLA: "gold"}), WATCHED).await?;
    drop_namespace(harness, NAMESPACE).await?;
    let words: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
    let result = format!("{} (at most {FIRST} s and {SETTLED} s)", words.join("; "));
    for outcome in &outcomes {
        // Half a core is used, and half of a node's CPU is the most that one container may get.
        let is_right = !outcome.disturbed
            && outcome.first.is_some_and(|first| first <= FIRST)
            && outcome.settled.is_some_and(|settled| settled <= SETTLED)
            && (200.0..=500.0).contains(&outcome.millicores);
        ensure!(is_right, "{}: {result}", outcome.pod);
    }
    ensure!(outcomes.len() == example::REPLICAS, "{result}");
    Ok(result)
}
