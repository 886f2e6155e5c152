//! The labels of the pods of each kind.

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_contract::{Quantity, keys};

use crate::TestResult;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{KINDS, Kind, NODES, SHOP, START};

/// Whether a pod of a kind has the right four labels.
pub(crate) fn is_right(kind: &Kind, observation: &Observation) -> bool {
    let labels = [keys::CPU_BAND, keys::CPU_BASIS, keys::MEMORY_BAND, keys::MEMORY_BASIS];
    labels.map(|key| observation.get(key)) == [kind.cpu[0], kind.cpu[1], kind.memory[0], kind.memory[1]]
}

pub(crate) async fn each_kind_of_pod_gets_its_bands_and_bases_on_every_node(harness: &Harness) -> TestResult {
    for kind in &KINDS {
        for node in NODES {
            let name = kind.on(node);
            let observation = harness
                .history
                .wait((SHOP, &name), Timestamp::now(), START, |observation| is_right(kind, observation))
                .await?;
            let pod = harness.pod(SHOP, &name).await?;
            let qos = pod.status.and_then(|status| status.qos_class).unwrap_or_default();
            ensure!(qos == kind.qos, "{name} is {qos}");
            check_evidence(kind, &name, observation.get(keys::EVIDENCE))?;
        }
    }
    Ok(format!("{} pods, {} kinds, {} nodes", KINDS.len() * NODES.len(), KINDS.len(), NODES.len()))
}

/// Waits until every band is right again after the nodes had no CPU for the pods: the next tests rely on it.
pub(crate) async fn all_right_again(harness: &Harness) -> anyhow::Result<()> {
    for (kind, node) in KINDS.iter().flat_map(|kind| NODES.map(|node| (kind, node))) {
        let right = |observation: &Observation| is_right(kind, observation);
        harness.history.wait((SHOP, &kind.on(node)), Timestamp::now(), START, right).await?;
    }
    Ok(())
}

/// Whether the bands fit what the evidence says made them: a band holds down to 0.04 below its threshold, and `moderate` may be made by a
/// short burst of a high load.
pub(crate) fn fits_evidence(observation: &Observation) -> bool {
    [("cpu ", keys::CPU_BAND), ("memory ", keys::MEMORY_BAND)].iter().all(|(resource, key)| {
        let range = match observation.get(key) {
            "low" => 0.0..0.335,
            "moderate" => 0.285..f64::MAX,
            "high" => 0.615..f64::MAX,
            _ => return false,
        };
        let evidence = observation.get(keys::EVIDENCE);
        let Some(part) = evidence.split("; ").find_map(|part| part.strip_prefix(resource)) else {
            return false;
        };
        part.contains("before the agent restarted")
            || utilization(part).is_some_and(|share| range.contains(&share))
    })
}

/// Usage over basis: `low: 1-minute mean 17m of request 10m, counted as 50m (app)`.
fn utilization(part: &str) -> Option<f64> {
    let words: Vec<&str> = part.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let of = words.iter().position(|word| *word == "of")?;
    let counted = words.windows(2).position(|pair| pair == ["counted", "as"]).map(|at| at + 2);
    let used: Quantity = words.get(of.checked_sub(1)?)?.parse().ok()?;
    let basis: Quantity = words.get(counted.unwrap_or(of + 2))?.parse().ok()?;
    Some(used.as_f64() / basis.as_f64())
}

/// `cpu high at 10:00:05Z: burst, 498m of limit 500m for 8 s (app), bound by limit; memory low: 1-minute mean 50Mi of limit 64Mi (app)`
fn check_evidence(kind: &Kind, name: &str, text: &str) -> anyhow::Result<()> {
    let amounts = |basis: &str, limit: &str, request: &str| match basis {
        "limit" => format!("of limit {limit}"),
        "request" => format!("of request {request}"),
        _ => "of node".to_owned(),
    };
    for expected in [
        format!("cpu {} at ", kind.cpu[0]),
        amounts(kind.cpu[1], kind.limits[0], kind.requests[0]),
        format!("memory {}", kind.memory[0]),
        amounts(kind.memory[1], kind.limits[1], kind.requests[1]),
    ] {
        ensure!(text.contains(&expected), "{name}: no `{expected}` in the evidence `{text}`");
    }
    Ok(())
}

pub(crate) async fn kubectl_shows_them_as_columns(harness: &Harness) -> TestResult {
    let kind = &KINDS[0];
    let name = kind.on(NODES[0]);
    harness
        .history
        .wait((SHOP, &name), Timestamp::now(), START, |observation| is_right(kind, observation))
        .await?;
    let columns = format!("{},{}", keys::CPU_BAND, keys::MEMORY_BAND);
    let table = harness.kubectl(&["get", "pods", "-n", SHOP, "-L", &columns]).await?;
    let row = table.lines().find(|line| line.starts_with(&name)).unwrap_or_default();
    let shown: Vec<_> = row.split_whitespace().rev().take(2).collect();
    ensure!(shown == [kind.memory[0], kind.cpu[0]], "{table}");
    Ok(String::new())
}
