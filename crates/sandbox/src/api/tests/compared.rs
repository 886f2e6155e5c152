//! Behavior that only the comparison with a real server (`tests/conformance`) revealed, in-process or over HTTPS.

use serde_json::{Value, json};

use super::client::{APPLY, Client, MERGE};
use super::{pod, server, store, store_with};
use crate::api::state::EventKind;
use crate::api::{Patch, Resource, Selector, Store, Subresource, Write};

fn patch(store: &Store, subresource: Subresource, body: Value) -> Value {
    let write = Write::by("tester").through(subresource);
    let written = store.patch(&Resource::PODS, "default", "web", &Patch::Strategic(body), &write);
    (*written.unwrap().object).clone()
}

#[test]
fn an_object_that_no_longer_matches_is_sent_as_it_was_at_the_version_of_the_change() {
    let store = store_with("web");
    let selector = Selector::parse(&Resource::PODS, Some("app=web"), None).unwrap();
    let (_, mut events) = store.subscribe(&Resource::PODS, None, &selector).unwrap();
    let now = patch(&store, Subresource::Main, json!({"metadata": {"labels": {"app": "other"}}}));
    let event = events.try_next().unwrap().unwrap();
    assert_eq!((event.kind, &event.object["metadata"]["labels"]["app"]), (EventKind::Deleted, &json!("web")));
    assert_eq!(event.object["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
}

#[test]
fn a_strategic_patch_inserts_new_items_before_those_it_does_not_name() {
    let store = store_with("web");
    let conditions = |types: &[&str]| {
        let items: Vec<Value> = types.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        json!({"status": {"conditions": items}})
    };
    patch(&store, Subresource::Status, conditions(&["A", "B"]));
    let pod = patch(&store, Subresource::Status, conditions(&["B", "C"]));
    let types: Vec<&str> = pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| condition["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["A", "B", "C"]);
    let pod = patch(&store, Subresource::Status, conditions(&["D"]));
    assert_eq!(pod["status"]["conditions"][0]["type"], "D");
}

#[test]
fn a_removed_request_of_a_container_with_a_limit_becomes_the_limit() {
    let store = store_with("web");
    let body = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": null}}}]}});
    let pod = patch(&store, Subresource::Resize, body);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "500m");
}

#[test]
fn a_pod_on_a_missing_node_cannot_be_resized() {
    let store = Store::default();
    store.create(&Resource::PODS, pod("web", &json!({"requests": {"cpu": "100m"}}))).unwrap();
    let body = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "200m"}}}]}});
    let write = Write::by("tester").through(Subresource::Resize);
    let error = store.patch(&Resource::PODS, "default", "web", &Patch::Strategic(body), &write).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (403, "pods \"web\" is forbidden: node \"n1\" not found")
    );
}

#[test]
fn secrets_leases_and_events_are_checked() {
    let store = store();
    let create = |resource: &Resource, mut object: Value| {
        object["metadata"] = json!({"name": "x", "namespace": "default"});
        store.create(resource, object)
    };
    let code = |resource: &Resource, object: Value| create(resource, object).unwrap_err().code;
    assert_eq!(code(&Resource::SECRETS, json!({"data": {"k": "%"}})), 400);
    let secret = create(&Resource::SECRETS, json!({"stringData": {"k": "v"}})).unwrap();
    assert_eq!((&secret["type"], &secret["data"]), (&json!("Opaque"), &json!({"k": "dg=="})));
    assert_eq!(code(&Resource::LEASES, json!({"spec": {"leaseDurationSeconds": 0}})), 422);
    assert_eq!(code(&Resource::LEASES, json!({"spec": {"renewTime": "yesterday"}})), 400);
    assert_eq!(create(&Resource::LEASES, json!({})).unwrap()["spec"], json!({}));
    assert_eq!(code(&Resource::EVENTS, json!({"eventTime": "2026-01-01T00:00:00Z"})), 422);
}

#[tokio::test]
async fn invalid_options_paths_and_methods_are_answered_with_the_codes_of_a_real_server() {
    let server = server().await;
    server.store().create(&Resource::NODES, json!({"metadata": {"name": "n1"}})).unwrap();
    server.store().create(&Resource::PODS, pod("web", &json!({}))).unwrap();
    let client = Client::admin(&server);
    const PODS: &str = "/api/v1/namespaces/default/pods";
    for (query, code) in [
        ("?limit=x", 400),
        ("?resourceVersionMatch=Exact", 422),
        ("?watch=1&sendInitialEvents=true", 422),
        ("?watch=1&resourceVersion=x", 500),
        ("?continue=x&resourceVersion=1", 400),
    ] {
        assert_eq!(client.get(&format!("{PODS}{query}")).await.code, code, "{query}");
    }
    assert_eq!(client.send("PUT", PODS, &json!({})).await.code, 405);
    assert_eq!(client.send("DELETE", &format!("{PODS}/web/resize"), &json!({})).await.code, 405);
    assert_eq!(client.get(&format!("{PODS}/web")).await.code, 200, "it still exists");
    assert_eq!(client.patch(&format!("{PODS}/web?force=1"), MERGE, &json!({})).await.code, 422);
    assert_eq!(client.patch(&format!("{PODS}/web"), APPLY, &json!({})).await.code, 422);
    let unknown = client.get("/apis/nothing/v1/things").await;
    assert_eq!((unknown.code, unknown.headers["content-type"].to_str().unwrap()), (404, "text/plain"));
    let xml = Client::admin(&server).accept("application/xml").get(PODS).await;
    assert_eq!((xml.code, &xml.body["reason"]), (406, &json!("NotAcceptable")));
}

#[tokio::test]
async fn a_token_is_invalid_without_its_service_account() {
    let server = server().await;
    let store = server.store();
    let account = json!({"metadata": {"name": "agent", "namespace": "default"}});
    store.create(&Resource::SERVICE_ACCOUNTS, account).unwrap();
    let client = Client::admin(&server);
    let request = json!({"spec": {"audiences": ["plimsoll-aggregator"], "expirationSeconds": 600}});
    let path = "/api/v1/namespaces/default/serviceaccounts/agent/token";
    let token = client.send("POST", path, &request).await.body["status"]["token"].clone();
    let review = json!({"spec": {"token": token, "audiences": ["plimsoll-aggregator"]}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    assert_eq!(client.send("POST", reviews, &review).await.body["status"]["authenticated"], true);
    store.delete(&Resource::SERVICE_ACCOUNTS, "default", "agent").unwrap();
    assert_eq!(client.send("POST", reviews, &review).await.body["status"]["authenticated"], Value::Null);
}
