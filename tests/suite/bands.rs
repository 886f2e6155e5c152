//! What is written on pods, and when: the loop from cgroups to labels.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::status::{LeftAlone, NodeState, NodeStatus};
use plimsoll_contract::{Band, keys};
use plimsoll_sandbox::api::{Resource, Verb};
use serde_json::{Value, json};

use crate::world::{HIGH, LOW, MODERATE, SHOP, World, options, pod, says};

fn names(map: &Value) -> BTreeSet<&str> {
    map.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[tokio::test]
async fn the_first_label_is_one_apply_of_the_complete_set_for_exactly_that_pod() {
    let world = World::start().await;
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    world.quiet().await;

    let writes = world.writes();
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let write = &writes[0];
    assert_eq!((write.verb, write.name.as_deref(), write.code), (Verb::Apply, Some("web"), Some(200)));
    assert_eq!(write.manager.as_deref(), Some(keys::FIELD_MANAGER));
    assert!(write.content_type.as_deref().unwrap().starts_with("application/apply-patch"), "{write:?}");
    let metadata = &write.body["metadata"];
    assert_eq!(metadata["uid"], world.uid("web"));
    assert_eq!(names(&metadata["labels"]), BTreeSet::from(keys::WRITTEN_LABELS));
    assert_eq!(names(&metadata["annotations"]), BTreeSet::from([keys::EVIDENCE, keys::EPOCH]));
    assert_eq!(
        names(&write.body),
        BTreeSet::from(["apiVersion", "kind", "metadata"]),
        "nothing but metadata"
    );

    let keys = world.keys("web");
    let label = |key: &str| keys.get(key).map(String::as_str);
    assert_eq!(label(keys::CPU_BASIS), Some("limit"));
    assert_eq!((label(keys::MEMORY_BAND), label(keys::MEMORY_BASIS)), (Some("low"), Some("limit")));
    let evidence = label(keys::EVIDENCE).unwrap();
    // The pod's own cgroup has the same limit here, and may be the hotter of the two by a hair.
    let of = ["of limit 200m (app)", "of limit 200m (pod)"];
    let told = evidence.starts_with("cpu high at ") && of.iter().any(|of| evidence.contains(of));
    assert!(told, "{evidence}");
    world.end().await;
}

#[tokio::test]
async fn each_change_of_band_is_one_write_and_a_steady_load_none() {
    let world = World::start().await;
    world.run("web", LOW);
    world.run("steady", MODERATE);
    for (cores, band) in [(LOW, "low"), (HIGH, "high"), (MODERATE, "moderate"), (LOW, "low")] {
        world.load("web", cores);
        world.labeled("web", band).await;
    }
    world.labeled("steady", "moderate").await;
    world.quiet().await;
    let writes = world.writes_on("web");
    let mut bands: Vec<_> =
        writes.iter().map(|w| w.body["metadata"]["labels"][keys::CPU_BAND].clone()).collect();
    // A rising load may pass through the band between, for as long as its average does.
    if bands.len() == 5 && bands[1] == "moderate" {
        bands.remove(1);
    }
    assert_eq!(bands, ["low", "high", "moderate", "low"]);
    assert_eq!(world.writes_on("steady").len(), 1);
    world.end().await;
}

#[tokio::test]
async fn the_basis_is_the_limit_else_the_request_else_the_node() {
    let world = World::start().await;
    world.run("limited", LOW);
    for (name, resources) in [("asking", json!({"requests": {"cpu": "100m"}})), ("bare", json!({}))] {
        let mut pod = pod(name, 0.09);
        pod["spec"]["containers"][0]["resources"] = resources;
        world.create(pod);
    }
    world.labeled("limited", "low").await;
    world.labeled("asking", "high").await;
    world.labeled("bare", "low").await;
    let bases = ["limited", "asking", "bare"].map(|name| world.keys(name)[keys::CPU_BASIS].clone());
    assert_eq!(bases, ["limit", "request", "node"]);
    assert_eq!(world.keys("asking")[keys::MEMORY_BASIS], "node", "a request does not bound memory");
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_is_to_be_ignored_gets_no_keys_and_loses_those_it_has_once() {
    let world = World::start().await;
    let ignored = json!({"metadata": {"labels": {keys::IGNORE: "true"}}});
    let mut never = pod("never", HIGH);
    never["metadata"]["labels"] = ignored["metadata"]["labels"].clone();
    world.create(never);
    world.run("web", HIGH);
    world.run("other", HIGH);
    world.labeled("web", "high").await;
    world.labeled("other", "high").await;
    assert_eq!(world.status("never").await.left_alone, Some(LeftAlone::PodIgnored));

    world.edit(&Resource::PODS, SHOP, "web", ignored.clone());
    world.until("web to lose its keys", async || world.keys("web").len() == 1).await;
    world.edit(&Resource::NAMESPACES, "", SHOP, ignored);
    world.bare("other").await;
    world.load("other", LOW);
    world.quiet().await;
    assert_eq!(world.status("other").await.left_alone, Some(LeftAlone::NamespaceIgnored));
    assert_eq!((world.writes_on("web").len(), world.writes_on("other").len()), (2, 2));
    assert!(world.writes_on("never").is_empty());

    let allowed = json!({"metadata": {"labels": {keys::IGNORE: null}}});
    world.edit(&Resource::NAMESPACES, "", SHOP, allowed);
    world.labeled("other", "low").await;
    world.end().await;
}

#[tokio::test]
async fn pods_of_the_system_are_left_alone() {
    let world = World::start().await;
    let mut system = pod("dns", HIGH);
    system["metadata"]["namespace"] = json!("kube-system");
    world.create(system);
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let reported =
        async || world.report().await.pods.iter().filter(|pod| pod.cpu.band == Band::High).count() == 2;
    world.until("the agent to say high of both", reported).await;
    world.quiet().await;
    assert_eq!(world.writes().len(), world.writes_on("web").len(), "neither dns nor the agent's own pod");
    world.end().await;
}

#[tokio::test]
async fn a_finished_pod_loses_its_keys_once() {
    let world = World::start().await;
    world.run("job", HIGH);
    world.labeled("job", "high").await;
    let finish = |status: &mut Value| {
        status["phase"] = json!("Succeeded");
    };
    // The hollow kubelet would say that it runs, if it were told to.
    world.stage.api().store().update_status(&Resource::PODS, SHOP, "job", finish).unwrap();
    world.bare("job").await;
    let writes = world.writes_on("job");
    assert_eq!(writes.len(), 2, "{writes:#?}");
    assert!(names(&writes[1].body["metadata"]["labels"]).is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_pod_made_again_under_the_same_name_gets_its_own_label_and_never_the_old_one() {
    let world = World::start().await;
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let old = world.uid("web");
    world.stage.api().store().delete(&Resource::PODS, SHOP, "web").unwrap();
    world.run("web", LOW);
    let new = world.uid("web");
    assert_ne!(old, new);
    world.labeled("web", "low").await;
    world.quiet().await;
    for write in world.writes_on("web") {
        let uid = &write.body["metadata"]["uid"];
        assert_eq!(uid == &json!(old), says(&write, "high"), "{write:#?}");
        assert_eq!(uid == &json!(new), says(&write, "low"), "{write:#?}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_container_that_restarts_keeps_the_band_without_a_write() {
    let world = World::start().await;
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let before = world.report().await.pods[0].containers[0].id.clone();
    let after = world.stage.kubelet().kill_container(SHOP, "web", "app").unwrap();
    assert_ne!(before, after);
    let known = async || {
        let report = world.report().await;
        let pod = report.pods.iter().find(|pod| pod.uid.as_str() == world.uid("web")).unwrap();
        assert_eq!(pod.cpu.band, Band::High, "{pod:?}");
        pod.containers.iter().any(|container| container.id == after && container.cpu.cores.is_some())
    };
    world.until("the new container to be measured", known).await;
    world.quiet().await;
    assert_eq!(world.writes_on("web").len(), 1);
    world.end().await;
}

#[tokio::test]
async fn while_paused_nothing_is_written_and_afterwards_only_the_newest_state() {
    let world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    world.pause("true");
    world.until("the switch", async || world.get("/readyz").await.text.contains("paused")).await;
    for (cores, band) in [(HIGH, Band::High), (LOW, Band::Low), (MODERATE, Band::Moderate)] {
        world.load("web", cores);
        world.until("the aggregator to know", async || world.status("web").await.cpu.band == band).await;
    }
    world.quiet().await;
    assert_eq!(world.writes().len(), 1, "paused");
    world.pause("false");
    world.labeled("web", "moderate").await;
    world.quiet().await;
    assert_eq!(world.writes_on("web").len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_silent_node_makes_bands_unknown_and_its_return_brings_them_back() {
    let mut options = options();
    options.tune_aggregator = |config| {
        // Longer than the time between two full reports.
        config.settings.late_after = Duration::from_secs(4);
        config.settings.silent_after = Duration::from_secs(14);
    };
    let mut world = World::with(options).await;
    world.run("busy", HIGH);
    world.run("idle", LOW);
    world.labeled("busy", "high").await;
    world.labeled("idle", "low").await;
    world.stage.stop_agent().await.unwrap();
    world.labeled("busy", "unknown").await;
    world.labeled("idle", "unknown").await;
    assert!(!world.keys("busy").contains_key(keys::CPU_BASIS), "unknown is of nothing");
    let nodes: Vec<NodeStatus> = world.get("/v1/nodes").await.json();
    assert_eq!(nodes[0].state, NodeState::Silent);
    assert_eq!(world.counted("plimsoll_aggregator_breaker_open").await, 0.0, "one node is no epidemic");
    world.quiet().await;
    assert_eq!(world.writes().len(), 4);

    world.stage.restart_agent().await.unwrap();
    world.labeled("busy", "high").await;
    world.labeled("idle", "low").await;
    assert_eq!(world.writes().len(), 6);
    world.end().await;
}
