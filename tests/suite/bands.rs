//! The writes to pods, and when they happen: the loop from cgroups to labels.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::status::{AgentState, LeftAlone, NodeStatus};
use plimsoll_contract::{Band, keys};
use plimsoll_sandbox::api::{Resource, Verb};
use serde_json::{Value, json};

use crate::harness::{HIGH, Harness, LOW, MODERATE, NAMESPACE, applies, options, pod};

fn names(map: &Value) -> BTreeSet<&str> {
    map.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[tokio::test]
async fn the_first_label_is_one_apply_of_the_complete_set_for_exactly_that_pod() {
    let harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    harness.quiet().await;

    let writes = harness.writes();
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let write = &writes[0];
    assert_eq!((write.verb, write.name.as_deref(), write.code), (Verb::Apply, Some("web"), Some(200)));
    assert_eq!(write.manager.as_deref(), Some(keys::FIELD_MANAGER));
    assert!(write.content_type.as_deref().unwrap().starts_with("application/apply-patch"), "{write:?}");
    let metadata = &write.body["metadata"];
    assert_eq!(metadata["uid"], harness.uid("web"));
    assert_eq!(names(&metadata["labels"]), BTreeSet::from(keys::WRITTEN_LABELS));
    assert_eq!(names(&metadata["annotations"]), BTreeSet::from([keys::EVIDENCE, keys::EPOCH]));
    assert_eq!(
        names(&write.body),
        BTreeSet::from(["apiVersion", "kind", "metadata"]),
        "nothing but metadata"
    );

    let keys = harness.keys("web");
    let label = |key: &str| keys.get(key).map(String::as_str);
    assert_eq!(label(keys::CPU_BASIS), Some("limit"));
    assert_eq!((label(keys::MEMORY_BAND), label(keys::MEMORY_BASIS)), (Some("low"), Some("limit")));
    let evidence = label(keys::EVIDENCE).unwrap();
    // The pod's own cgroup has the same limit here, and may have a slightly higher utilization.
    let of = ["of limit 200m (app)", "of limit 200m (pod)"];
    let valid = evidence.starts_with("cpu high at ") && of.iter().any(|of| evidence.contains(of));
    assert!(valid, "{evidence}");
    harness.shutdown().await;
}

#[tokio::test]
async fn each_change_of_band_is_one_write_and_a_constant_load_causes_none() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.create_pod("constant", MODERATE);
    for (cores, band) in [(LOW, "low"), (HIGH, "high"), (MODERATE, "moderate"), (LOW, "low")] {
        harness.set_load("web", cores);
        harness.labeled("web", band).await;
    }
    harness.labeled("constant", "moderate").await;
    harness.quiet().await;
    let writes = harness.writes_on("web");
    let mut bands: Vec<_> =
        writes.iter().map(|w| w.body["metadata"]["labels"][keys::CPU_BAND].clone()).collect();
    // A rising load may pass through the band in between.
    if bands.len() == 5 && bands[1] == "moderate" {
        bands.remove(1);
    }
    assert_eq!(bands, ["low", "high", "moderate", "low"]);
    assert_eq!(harness.writes_on("constant").len(), 1);
    harness.shutdown().await;
}

#[tokio::test]
async fn the_basis_is_the_limit_else_the_request_else_the_node() {
    let harness = Harness::start().await;
    harness.create_pod("limited", LOW);
    for (name, resources) in [("asking", json!({"requests": {"cpu": "100m"}})), ("bare", json!({}))] {
        let mut pod = pod(name, 0.09);
        pod["spec"]["containers"][0]["resources"] = resources;
        harness.create(pod);
    }
    harness.labeled("limited", "low").await;
    harness.labeled("asking", "high").await;
    harness.labeled("bare", "low").await;
    let bases = ["limited", "asking", "bare"].map(|name| harness.keys(name)[keys::CPU_BASIS].clone());
    assert_eq!(bases, ["limit", "request", "node"]);
    assert_eq!(harness.keys("asking")[keys::MEMORY_BASIS], "node", "a request does not bound memory");
    harness.shutdown().await;
}

#[tokio::test]
async fn an_ignored_pod_gets_no_keys_and_loses_existing_ones_once() {
    let harness = Harness::start().await;
    let ignored = json!({"metadata": {"labels": {keys::IGNORE: "true"}}});
    let mut never = pod("never", HIGH);
    never["metadata"]["labels"] = ignored["metadata"]["labels"].clone();
    harness.create(never);
    harness.create_pod("web", HIGH);
    harness.create_pod("other", HIGH);
    harness.labeled("web", "high").await;
    harness.labeled("other", "high").await;
    assert_eq!(harness.status("never").await.left_alone, Some(LeftAlone::PodIgnored));

    harness.edit(&Resource::PODS, NAMESPACE, "web", ignored.clone());
    harness.until("web to lose its keys", async || harness.keys("web").len() == 1).await;
    harness.edit(&Resource::NAMESPACES, "", NAMESPACE, ignored);
    harness.without_keys("other").await;
    harness.set_load("other", LOW);
    harness.quiet().await;
    assert_eq!(harness.status("other").await.left_alone, Some(LeftAlone::NamespaceIgnored));
    assert_eq!((harness.writes_on("web").len(), harness.writes_on("other").len()), (2, 2));
    assert!(harness.writes_on("never").is_empty());

    let allowed = json!({"metadata": {"labels": {keys::IGNORE: null}}});
    harness.edit(&Resource::NAMESPACES, "", NAMESPACE, allowed);
    harness.labeled("other", "low").await;
    harness.shutdown().await;
}

#[tokio::test]
async fn system_pods_are_not_labeled() {
    let harness = Harness::start().await;
    let mut system = pod("dns", HIGH);
    system["metadata"]["namespace"] = json!("kube-system");
    harness.create(system);
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let reported =
        async || harness.report().await.pods.iter().filter(|pod| pod.cpu.band == Band::High).count() == 2;
    harness.until("the agent to report high for both", reported).await;
    harness.quiet().await;
    assert_eq!(harness.writes().len(), harness.writes_on("web").len(), "neither dns nor the agent's own pod");
    harness.shutdown().await;
}

#[tokio::test]
async fn a_finished_pod_loses_its_keys_once() {
    let harness = Harness::start().await;
    harness.create_pod("job", HIGH);
    harness.labeled("job", "high").await;
    let finish = |status: &mut Value| {
        status["phase"] = json!("Succeeded");
    };
    // The sandbox's kubelet would set the phase to Running, if it did not ignore finished pods.
    harness.cluster.api().store().update_status(&Resource::PODS, NAMESPACE, "job", finish).unwrap();
    harness.without_keys("job").await;
    let writes = harness.writes_on("job");
    assert_eq!(writes.len(), 2, "{writes:#?}");
    assert!(names(&writes[1].body["metadata"]["labels"]).is_empty());
    harness.shutdown().await;
}

#[tokio::test]
async fn a_recreated_pod_gets_its_own_label_and_never_the_old_one() {
    let harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let old = harness.uid("web");
    harness.cluster.api().store().delete(&Resource::PODS, NAMESPACE, "web").unwrap();
    harness.create_pod("web", LOW);
    let new = harness.uid("web");
    assert_ne!(old, new);
    harness.labeled("web", "low").await;
    harness.quiet().await;
    for write in harness.writes_on("web") {
        let uid = &write.body["metadata"]["uid"];
        assert_eq!(uid == &json!(old), applies(&write, "high"), "{write:#?}");
        assert_eq!(uid == &json!(new), applies(&write, "low"), "{write:#?}");
    }
    harness.shutdown().await;
}

#[tokio::test]
async fn a_container_that_restarts_keeps_the_band_without_a_write() {
    let harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let before = harness.report().await.pods[0].containers[0].id.clone();
    let after = harness.cluster.kubelet().kill_container(NAMESPACE, "web", "app").unwrap();
    assert_ne!(before, after);
    let known = async || {
        let report = harness.report().await;
        let pod = report.pods.iter().find(|pod| pod.uid.as_str() == harness.uid("web")).unwrap();
        assert_eq!(pod.cpu.band, Band::High, "{pod:?}");
        pod.containers.iter().any(|container| container.id == after && container.cpu.cores.is_some())
    };
    harness.until("the new container to be measured", known).await;
    harness.quiet().await;
    assert_eq!(harness.writes_on("web").len(), 1);
    harness.shutdown().await;
}

#[tokio::test]
async fn while_paused_nothing_is_written_and_afterwards_only_the_newest_state() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    harness.pause("true");
    harness.until("the switch", async || harness.get("/readyz").await.text.contains("paused")).await;
    for (cores, band) in [(HIGH, Band::High), (LOW, Band::Low), (MODERATE, Band::Moderate)] {
        harness.set_load("web", cores);
        harness
            .until("the aggregator to know the band", async || harness.status("web").await.cpu.band == band)
            .await;
    }
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 1, "paused");
    harness.pause("false");
    harness.labeled("web", "moderate").await;
    harness.quiet().await;
    assert_eq!(harness.writes_on("web").len(), 2);
    harness.shutdown().await;
}

#[tokio::test]
async fn the_bands_of_a_silent_node_become_unknown_until_it_reports_again() {
    let mut options = options();
    options.tune_aggregator = |config| {
        // Longer than the interval of full reports.
        config.settings.late_after = Duration::from_secs(4);
        config.settings.silent_after = Duration::from_secs(14);
    };
    let mut harness = Harness::with(options).await;
    harness.create_pod("busy", HIGH);
    harness.create_pod("idle", LOW);
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "low").await;
    harness.cluster.stop_agent().await.unwrap();
    harness.labeled("busy", "unknown").await;
    harness.labeled("idle", "unknown").await;
    assert!(!harness.keys("busy").contains_key(keys::CPU_BASIS), "unknown has no basis");
    let nodes: Vec<NodeStatus> = harness.get("/v1/nodes").await.json();
    assert_eq!(nodes[0].state, AgentState::Silent);
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 4);

    harness.cluster.restart_agent().await.unwrap();
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "low").await;
    assert_eq!(harness.writes().len(), 6);
    harness.shutdown().await;
}
