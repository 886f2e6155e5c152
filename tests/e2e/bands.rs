//! What the pods of each kind are labeled with.

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_contract::{Quantity, keys};

use crate::Verdict;
use crate::history::Sight;
use crate::pods::{KINDS, Kind, NODES, SHOP, START};
use crate::world::World;

/// Whether a pod of a kind has its four labels.
pub(crate) fn right(kind: &Kind, sight: &Sight) -> bool {
    let labels = [keys::CPU_BAND, keys::CPU_BASIS, keys::MEMORY_BAND, keys::MEMORY_BASIS];
    labels.map(|key| sight.get(key)) == [kind.cpu[0], kind.cpu[1], kind.memory[0], kind.memory[1]]
}

pub(crate) async fn each_kind_of_pod_gets_its_bands_and_bases_on_every_node(world: &World) -> Verdict {
    for kind in &KINDS {
        for node in NODES {
            let name = kind.on(node);
            let sight = world
                .history
                .wait((SHOP, &name), Timestamp::now(), START, |sight| right(kind, sight))
                .await?;
            let pod = world.pod(SHOP, &name).await?;
            let qos = pod.status.and_then(|status| status.qos_class).unwrap_or_default();
            ensure!(qos == kind.qos, "{name} is {qos}");
            evidence(kind, &name, sight.get(keys::EVIDENCE))?;
        }
    }
    Ok(format!("{} pods, {} kinds, {} nodes", KINDS.len() * NODES.len(), KINDS.len(), NODES.len()))
}

/// Whether the bands are those of the numbers in the evidence, or a dwell behind: one band off at most.
pub(crate) fn backed(sight: &Sight) -> bool {
    [("cpu ", keys::CPU_BAND), ("memory ", keys::MEMORY_BAND)].iter().all(|(resource, key)| {
        let range = match sight.get(key) {
            "low" => 0.0..0.68,
            "moderate" => 0.0..f64::MAX,
            "high" => 0.28..f64::MAX,
            _ => return false,
        };
        share(sight.get(keys::EVIDENCE), resource).is_some_and(|share| range.contains(&share))
    })
}

/// Used over had, as the evidence has them.
fn share(evidence: &str, resource: &str) -> Option<f64> {
    let part = evidence.split("; ").find_map(|part| part.strip_prefix(resource))?;
    let (_, numbers) = part.split_once(": ")?;
    let mut words = numbers.split(' ');
    let used: Quantity = words.next()?.parse().ok()?;
    let had: Quantity = words.nth(2)?.parse().ok()?;
    Some(used.as_f64() / had.as_f64())
}

/// `cpu high at 10:00:05Z: 412m of limit 500m (app), bound by limit; memory low: 120Mi of limit 512Mi (app)`
fn evidence(kind: &Kind, name: &str, text: &str) -> anyhow::Result<()> {
    let amounts = |basis: &str, limit: &str, request: &str| match basis {
        "limit" => format!("of limit {limit}"),
        "request" => format!("of request {request}"),
        _ => "of node".to_owned(),
    };
    for needed in [
        format!("cpu {} at ", kind.cpu[0]),
        amounts(kind.cpu[1], kind.limits[0], kind.requests[0]),
        format!("memory {}", kind.memory[0]),
        amounts(kind.memory[1], kind.limits[1], kind.requests[1]),
    ] {
        ensure!(text.contains(&needed), "{name}: no `{needed}` in the evidence `{text}`");
    }
    Ok(())
}

pub(crate) async fn kubectl_shows_them_as_columns(world: &World) -> Verdict {
    let kind = &KINDS[0];
    let name = kind.on(NODES[0]);
    world.history.wait((SHOP, &name), Timestamp::now(), START, |sight| right(kind, sight)).await?;
    let columns = format!("{},{}", keys::CPU_BAND, keys::MEMORY_BAND);
    let table = world.kubectl(&["get", "pods", "-n", SHOP, "-L", &columns]).await?;
    let row = table.lines().find(|line| line.starts_with(&name)).unwrap_or_default();
    let shown: Vec<_> = row.split_whitespace().rev().take(2).collect();
    ensure!(shown == [kind.memory[0], kind.cpu[0]], "{table}");
    Ok(String::new())
}
