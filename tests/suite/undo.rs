//! `plimsoll undo` over HTTPS: the sizes afterwards, and that nothing but resizes is sent.

use std::time::Duration;

use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Fault, Matching, Resource, Verb};
use serde_json::json;

use crate::cleanup::cluster::Cluster;
use crate::harness::eventually;

#[tokio::test]
async fn a_resized_pod_gets_its_original_size_back_and_keeps_everything_else() {
    let cluster = Cluster::installed().await;
    cluster.resized("web");
    let before = cluster.pod("web");
    let dry = cluster.plimsoll(&["undo", "web", "-n", "default", "--dry-run"]).await;
    let changes = "app cpu request 600m -> 250m, app cpu limit 890m -> 500m";
    assert!(dry.text.starts_with(&format!("default/web  would be restored: {changes}\n")), "{}", dry.text);
    assert!(cluster.resizes()[0].dry_run, "the API server is asked");
    assert_eq!(cluster.pod("web"), before);

    let result = cluster.plimsoll(&["undo", "pod/web", "-n", "default", "--yes"]).await;
    assert_eq!(result.failure, None);
    assert!(result.text.starts_with(&format!("default/web  restored: {changes}\n")), "{}", result.text);
    assert!(result.text.contains("class gold still applies to 1 pod"), "{}", result.text);
    assert!(result.text.contains("kubectl label pod -n default web plimsoll.dev/sla-"), "{}", result.text);
    assert_eq!(cluster.cpu("web"), ["250m", "500m"]);
    let after = cluster.pod("web");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    for map in ["labels", "annotations"] {
        assert_eq!(after["metadata"][map], before["metadata"][map]);
    }
    let again = cluster.plimsoll(&["undo", "web", "-n", "default", "--yes"]).await;
    assert!(again.text.starts_with("default/web  has its original resources\n"), "{}", again.text);
    let writes = cluster.api.journal().writes();
    let sent: Vec<_> =
        writes.iter().map(|entry| (entry.verb, entry.subresource.as_deref(), entry.dry_run)).collect();
    assert_eq!(sent, [(Verb::Patch, Some("resize"), true), (Verb::Patch, Some("resize"), false)]);
    cluster.api.stop().await;
}

#[tokio::test]
async fn of_a_whole_namespace_the_resized_pods_are_restored_and_a_failure_stops_no_other_and_evicts_nothing()
{
    let cluster = Cluster::installed().await;
    ["a", "b", "c"].iter().for_each(|name| cluster.resized(name));
    cluster.create_pod("plain");
    let plain = cluster.pod("plain");
    let resize = Matching::any().verb(Verb::Patch).resource("pods").name("b");
    cluster.api.faults().always(resize, Fault::Answer { code: 500, retry_after: None });
    let result = cluster.plimsoll(&["undo", "--all", "-n", "default", "--yes"]).await;
    assert!(result.failure().contains("1 pod could not be restored"), "{}", result.failure());
    assert!(result.text.contains("default/b  FAILED: restoring its original resources: "), "{}", result.text);
    assert!(!result.text.contains("plain"), "{}", result.text);
    assert_eq!(cluster.cpu("b"), ["600m", "890m"]);
    assert!(["a", "c"].iter().all(|name| cluster.cpu(name) == ["250m", "500m"]), "{}", result.text);
    assert_eq!(cluster.pod("plain"), plain);
    let all_resizes = |entry: &&plimsoll_sandbox::api::Entry| entry.subresource.as_deref() == Some("resize");
    let writes = cluster.api.journal().writes();
    assert_eq!(writes.iter().filter(all_resizes).count(), writes.len(), "nothing but resizes: {writes:?}");
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_pod_that_changes_meanwhile_is_read_again_and_one_that_was_recreated_is_left_alone() {
    let cluster = Cluster::installed().await;
    ["changed", "again"].iter().for_each(|name| cluster.resized(name));
    let resize = |name: &str| Matching::any().verb(Verb::Patch).resource("pods").name(name);
    let delayed = ["changed", "again"]
        .map(|name| cluster.api.faults().next(1, resize(name), Fault::Delay(Duration::from_secs(1))));
    let meanwhile = async {
        let faults = cluster.api.faults();
        assert!(eventually(async || delayed.iter().all(|id| faults.fired(*id) == 1)).await);
        cluster.apply("changed", &json!({"later": "x"}), &json!({}), "user");
        cluster.api.store().delete(&Resource::PODS, "default", "again").unwrap();
        cluster.resized("again");
    };
    let undo = ["undo", "--all", "-n", "default", "--yes"];
    let (result, ()) = tokio::join!(cluster.plimsoll(&undo), meanwhile);
    assert_eq!(result.failure, None, "{}", result.text);
    assert!(result.text.contains("default/again  was deleted meanwhile"), "{}", result.text);
    assert_eq!(cluster.cpu("changed"), ["250m", "500m"]);
    assert_eq!(cluster.cpu("again"), ["600m", "890m"]);
    cluster.api.stop().await;
}

#[tokio::test]
async fn what_the_node_has_no_room_for_is_said_as_that_and_not_as_a_missing_right() {
    let cluster = Cluster::installed().await;
    cluster.resized("web");
    let store = cluster.api.store();
    store.create(&Resource::NODES, json!({"metadata": {"name": "n1"}})).unwrap();
    store
        .edit_unchecked(&Resource::NODES, "", "n1", |node| {
            node["status"] = json!({"allocatable": {"cpu": "200m"}});
        })
        .unwrap();
    store
        .edit_unchecked(&Resource::PODS, "default", "web", |pod| pod["spec"]["nodeName"] = json!("n1"))
        .unwrap();
    let result = cluster.plimsoll(&["undo", "web", "-n", "default", "--yes"]).await;
    assert!(result.failure.is_some());
    assert!(
        result.text.contains("there is no room for it") && !result.text.contains("ask for the right"),
        "{}",
        result.text
    );
    assert_eq!(cluster.cpu("web"), ["600m", "890m"]);
    cluster.api.stop().await;
}

#[tokio::test]
async fn where_plimsoll_is_paused_that_is_said() {
    let cluster = Cluster::installed().await;
    cluster.resized("web");
    cluster
        .api
        .store()
        .edit_unchecked(&Resource::CONFIG_MAPS, keys::SYSTEM_NAMESPACE, keys::CONTROL_CONFIG_MAP, |map| {
            map["data"] = json!({keys::CONTROL_PAUSED: "true"});
        })
        .unwrap();
    let result = cluster.plimsoll(&["undo", "web", "-n", "default", "--yes", "-o", "json"]).await;
    let json = result.json();
    let again = json["again"].as_array().unwrap();
    assert!(again.last().unwrap().as_str().unwrap().contains("paused: nothing is resized"), "{json}");
    cluster.api.stop().await;
}
