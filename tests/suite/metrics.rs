//! The metrics of both programs: valid, named as in the design, and exactly those that `docs/metrics.md` lists.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::keys;
use plimsoll_sandbox::api::Resource;

use crate::documents::{Row, table};
use crate::harness::{HIGH, Harness, LOW, NAMESPACE};

mod exposition;

use exposition::{Family, parse};

/// The metrics of the agent in DESIGN, with their labels.
const PROMISED: [(&str, &[&str]); 12] = [
    ("plimsoll_container_cpu_usage_cores", &["namespace", "pod", "container"]),
    ("plimsoll_container_cpu_throttled_ratio", &["namespace", "pod", "container"]),
    ("plimsoll_container_memory_working_set_bytes", &["namespace", "pod", "container"]),
    ("plimsoll_container_cpu_limit_cores", &["namespace", "pod", "container"]),
    ("plimsoll_container_memory_limit_bytes", &["namespace", "pod", "container"]),
    ("plimsoll_pod_utilization_ratio", &["namespace", "pod", "resource", "basis"]),
    ("plimsoll_pod_band", &["namespace", "pod", "resource"]),
    ("plimsoll_agent_sweep_seconds", &[]),
    ("plimsoll_agent_read_errors_total", &["file", "reason"]),
    ("plimsoll_agent_pods", &["state"]),
    ("plimsoll_agent_reports_total", &["result"]),
    ("plimsoll_build_info", &["version", "arch"]),
];

/// Adds a container without files to the busy pod: reading them is an error.
fn break_a_file(harness: &Harness) {
    let root = harness.cluster.host().info().root.join("sys/fs/cgroup/kubepods");
    let pod = root.join(format!("pod{}", harness.uid("busy")));
    assert!(pod.is_dir(), "the pod has a cgroup");
    std::fs::create_dir(pod.join("ab".repeat(32))).unwrap();
}

async fn scraped(address: std::net::SocketAddr) -> BTreeMap<String, Family> {
    let reply = crate::wire::plain(address, "GET", "/metrics").await;
    assert_eq!((reply.code, reply.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    parse(&reply.text).unwrap_or_else(|problem| panic!("{problem}\n{}", reply.text))
}

fn of_pod<'a>(
    families: &'a BTreeMap<String, Family>,
    name: &str,
    pod: &str,
) -> Vec<&'a (String, exposition::Labels, f64)> {
    let samples = families[name].samples.iter();
    samples.filter(|(_, labels, _)| labels.get("pod").is_some_and(|value| value == pod)).collect()
}

#[tokio::test]
async fn the_metrics_of_the_agent_are_those_of_the_design_and_end_with_their_pod() {
    let harness = Harness::start().await;
    harness.create_pod("busy", HIGH);
    harness.create_pod("idle", LOW);
    break_a_file(&harness);
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "low").await;
    let agent = harness.cluster.agent_address();
    let errors = async || scraped(agent).await.contains_key("plimsoll_agent_read_errors_total");
    harness.until("the read error", errors).await;

    let families = scraped(agent).await;
    for (name, labels) in PROMISED {
        let labels: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(families.get(name).map(Family::labels), Some(labels), "{name}");
    }
    let value = |name: &str, pod: &str, label: (&str, &str)| {
        let found = of_pod(&families, name, pod)
            .into_iter()
            .find(|(_, labels, _)| labels.get(label.0).is_some_and(|v| v == label.1));
        found.map(|(_, _, value)| *value)
    };
    assert_eq!(value("plimsoll_pod_band", "busy", ("resource", "cpu")), Some(3.0));
    assert_eq!(value("plimsoll_pod_band", "idle", ("resource", "cpu")), Some(1.0));
    assert_eq!(value("plimsoll_container_cpu_limit_cores", "busy", ("container", "app")), Some(0.2));
    assert_eq!(
        value("plimsoll_container_memory_limit_bytes", "busy", ("container", "app")),
        Some(64.0 * 1024.0 * 1024.0)
    );
    let bases = of_pod(&families, "plimsoll_pod_utilization_ratio", "busy");
    let bases: BTreeSet<_> =
        bases.iter().map(|(_, labels, _)| (labels["resource"].as_str(), labels["basis"].as_str())).collect();
    assert!(
        bases.is_superset(
            &[("cpu", "limit"), ("cpu", "request"), ("cpu", "node"), ("memory", "limit")].into()
        ),
        "{bases:?}"
    );

    harness.cluster.api().store().delete(&Resource::PODS, NAMESPACE, "busy").unwrap();
    let ended = async || {
        let families = scraped(agent).await;
        PROMISED
            .iter()
            .all(|(name, _)| families.get(*name).is_none_or(|_| of_pod(&families, name, "busy").is_empty()))
    };
    harness.until("the series of the pod to end", ended).await;
    assert!(!of_pod(&scraped(agent).await, "plimsoll_pod_band", "idle").is_empty());
    harness.shutdown().await;
}

#[tokio::test]
async fn the_metrics_page_lists_exactly_the_exported_metrics() {
    let harness = Harness::start().await;
    harness.create_pod("busy", HIGH);
    break_a_file(&harness);
    harness.labeled("busy", "high").await;
    let (agent, aggregator) = (harness.cluster.agent_address(), harness.cluster.aggregator_address());
    let errors = async || scraped(agent).await.contains_key("plimsoll_agent_read_errors_total");
    harness.until("the read error", errors).await;
    let mut exported = BTreeSet::new();
    for (program, address) in [("agent", agent), ("aggregator", aggregator)] {
        for (name, family) in scraped(address).await {
            assert!(!family.help.trim().is_empty(), "{name}");
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
            let labels: Vec<String> = family.labels().into_iter().collect();
            exported.insert((name, family.kind, labels, program));
        }
    }
    let row = |row: &Row| {
        let mut labels: Vec<String> =
            row[2].split(',').map(|label| label.trim().trim_matches('`').to_owned()).collect();
        labels.retain(|label| !label.is_empty());
        labels.sort();
        let programs: Vec<&str> = match row[4].as_str() {
            "agent" => vec!["agent"],
            "aggregator" => vec!["aggregator"],
            "both" => vec!["agent", "aggregator"],
            other => panic!("{}: unknown program {other}", row[0]),
        };
        assert!(row[3].len() > 10, "{}: no description", row[0]);
        programs
            .into_iter()
            .map(move |program| (row[0].clone(), row[1].clone(), labels.clone(), program))
            .collect::<Vec<_>>()
    };
    let listed: Vec<_> = table("docs/metrics.md").iter().flat_map(row).collect();
    let listed_once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), listed_once.len(), "a family is listed twice");
    let missing: Vec<_> = exported.difference(&listed_once).collect();
    let stale: Vec<_> = listed_once.difference(&exported).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not in docs/metrics.md: {missing:#?}\nonly there: {stale:#?}"
    );
    harness.shutdown().await;
}

#[test]
fn the_labels_page_lists_exactly_the_keys_of_the_contract() {
    let rows = table("docs/labels.md");
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(listed.len(), rows.len(), "a key is listed twice");
    let users = [keys::SLA, keys::IGNORE, keys::BOUNDS];
    let ours = keys::WRITTEN_LABELS.into_iter().chain(keys::WRITTEN_ANNOTATIONS);
    assert_eq!(listed, ours.clone().chain(users).collect::<BTreeSet<_>>());
    for row in &rows {
        let kind = if keys::WRITTEN_ANNOTATIONS.contains(&row[0].as_str()) || row[0] == keys::BOUNDS {
            "annotation"
        } else {
            "label"
        };
        assert_eq!(row[1], kind, "{}", row[0]);
        let writer = if users.contains(&row[0].as_str()) { "you" } else { "aggregator" };
        assert_eq!(row[4], writer, "{}", row[0]);
    }
}
