//! With resizing on: what the cluster does not have stops nothing, and is used once it is there.

use std::path::Path;

use plimsoll_aggregator::settings::ResizeSettings;
use plimsoll_sandbox::api::Resource;
use serde_json::{Value, json};

use super::harness::{Harness, cluster};

/// The documents of a file of the component.
fn manifest(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/components/resizing").join(name);
    serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn without_the_kind_of_the_classes_labels_go_on_and_with_it_the_classes_are_read_without_a_restart() {
    let harness =
        Harness::around(cluster().await, |config| config.settings.resize = ResizeSettings::new(true)).await;
    harness.ready().await;
    let missing = "sla_classes: not yet (cannot list sla_classes: there is no such kind; apply manifests/components/resizing";
    harness.until("what is missing", async || harness.get("/readyz").await.text.contains(missing)).await;
    harness.say("high").await;
    harness.labeled("high").await;

    let store = harness.api.store();
    for definition in manifest("slaclass-definition.yaml") {
        store.create(&Resource::DEFINITIONS, definition).unwrap();
    }
    let classes = Resource::new("plimsoll.dev", "v1alpha1", "slaclasses");
    for class in manifest("classes.yaml") {
        store.create(&classes, class).unwrap();
    }
    // Nobody could create it, but a server may hold it.
    store.create(&classes, json!({"metadata": {"name": "odd"}, "spec": {"rank": -1}})).unwrap();
    harness
        .until("the classes", async || harness.get("/readyz").await.text.contains("sla_classes: ready"))
        .await;
    let about_class = || {
        let events = harness.api.journal().find(|entry| entry.resource == "events" && entry.succeeded());
        events
            .into_iter()
            .filter(|entry| entry.body["regarding"]["kind"] == "SLAClass")
            .map(|entry| entry.body)
            .collect::<Vec<_>>()
    };
    harness.until("an Event on the odd class", async || about_class().len() == 1).await;
    let event = &about_class()[0];
    assert_eq!((&event["reason"], &event["regarding"]["name"]), (&json!("InvalidClass"), &json!("odd")));
    assert!(event["note"].as_str().unwrap().ends_with("no pod is sized by it."), "{event}");
    harness.say("low").await;
    harness.labeled("low").await;
    harness.stop().await;
}

#[tokio::test]
async fn without_resizing_nothing_of_it_is_asked_for() {
    let harness = Harness::start().await;
    harness.ready().await;
    harness.say("high").await;
    harness.labeled("high").await;
    assert!(!harness.get("/readyz").await.text.contains("sla_classes"));
    let asked = harness.api.journal().find(|entry| {
        ["slaclasses", "horizontalpodautoscalers", "resourcequotas", "limitranges"]
            .contains(&entry.resource.as_str())
    });
    assert!(asked.is_empty(), "{asked:?}");
    harness.stop().await;
}
