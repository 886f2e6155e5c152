//! HTTPS: paths, codes, content types, shapes, watches.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{APPLY, Client, MERGE, STRATEGIC};
use super::{pod, server};
use crate::api::{ApiOptions, ApiServer, Resource, Verb};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_pods(count: usize) -> (ApiServer, Client) {
    let server = server().await;
    server.store().create(&Resource::NODES, json!({"metadata": {"name": "n1"}})).unwrap();
    for index in 0..count {
        server
            .store()
            .create(&Resource::PODS, pod(&format!("p{index}"), &json!({"limits": {"cpu": "1"}})))
            .unwrap();
    }
    let client = Client::admin(&server);
    (server, client)
}

#[tokio::test]
async fn an_object_lives_through_create_get_patch_put_and_delete() {
    let (server, client) = with_pods(0).await;
    let created = client.send("POST", PODS, &pod("web", &json!({"limits": {"cpu": "1"}}))).await;
    assert_eq!((created.code, &created.body["kind"]), (201, &json!("Pod")));
    let path = format!("{PODS}/web");
    let merged = client.patch(&path, MERGE, &json!({"metadata": {"labels": {"x": "1"}}})).await;
    assert_eq!((merged.code, &merged.body["metadata"]["labels"]["x"]), (200, &json!("1")));
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"y": "1"}}});
    let applied = client.patch(&format!("{path}?fieldManager=plimsoll"), APPLY, &body).await;
    assert_eq!((applied.code, &applied.body["metadata"]["labels"]["y"]), (200, &json!("1")));
    let sized = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "2"}}}]}});
    let resized = client.patch(&format!("{path}/resize"), STRATEGIC, &sized).await;
    assert_eq!((resized.code, &resized.body["metadata"]["generation"]), (200, &json!(2)));
    let stale = client.send("PUT", &path, &created.body).await;
    assert_eq!((stale.code, &stale.body["reason"]), (409, &json!("Conflict")));
    let deleted = client
        .send("DELETE", &path, &json!({"preconditions": {"uid": created.body["metadata"]["uid"]}}))
        .await;
    assert_eq!(deleted.code, 200);
    let gone = client.get(&path).await;
    assert_eq!((gone.code, &gone.body["message"]), (404, &json!("pods \"web\" not found")));
    let verbs: Vec<Verb> = server.journal().writes().iter().map(|entry| entry.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::Patch, Verb::Apply, Verb::Patch, Verb::Update, Verb::Delete]);
    let apply = &server.journal().find(|entry| entry.verb == Verb::Apply)[0];
    assert_eq!(
        (apply.manager.as_deref(), apply.code, apply.name.as_deref()),
        (Some("plimsoll"), Some(200), Some("web"))
    );
    assert_eq!(apply.body["metadata"]["labels"], json!({"y": "1"}));
}

#[tokio::test]
async fn a_list_comes_in_pages_with_the_remaining_count() {
    let (_server, client) = with_pods(3).await;
    let first = client.get("/api/v1/pods?limit=2").await.body;
    assert_eq!((&first["kind"], &first["metadata"]["remainingItemCount"]), (&json!("PodList"), &json!(1)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("/api/v1/pods?limit=2&continue={token}")).await.body;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let selected =
        client.get("/api/v1/pods?labelSelector=app%20in%20(web)&fieldSelector=metadata.name%3Dp1").await.body;
    assert_eq!(selected["items"][0]["metadata"]["name"], "p1");
}

#[tokio::test]
async fn a_watch_resumes_where_the_list_ended_and_an_old_version_is_a_410_event() {
    let (server, client) = with_pods(1).await;
    let version = client.get(PODS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{PODS}?watch=true&resourceVersion={version}");
    let mut watch = client.watch(&path).await;
    client.patch(&format!("{PODS}/p0"), MERGE, &json!({"metadata": {"labels": {"x": "1"}}})).await;
    server.store().delete(&Resource::PODS, "default", "p0").unwrap();
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["labels"]["x"]),
        (&json!("MODIFIED"), &json!("1"))
    );
    assert_eq!(watch.next().await.unwrap()["type"], "DELETED");
    assert!(watch.is_silent().await);
    server.store().lock().compact();
    let mut late = client.watch(&path).await;
    let event = late.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"], &event["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn a_watch_without_version_starts_with_everything_and_bookmarks_follow() {
    let options = ApiOptions { bookmark_every: Duration::from_millis(50), ..ApiOptions::default() };
    let server = ApiServer::start(options).await.unwrap();
    server.store().create(&Resource::PODS, pod("p0", &json!({}))).unwrap();
    let client = Client::admin(&server);
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{PODS}?watch=true&{initial}&timeoutSeconds=1")).await;
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    let end = watch.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let bookmark = watch.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("Pod")));
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK", "nothing but bookmarks before the timeout");
    }
    let mut plain = client.watch(&format!("{PODS}?watch=true")).await;
    assert_eq!(plain.next().await.unwrap()["type"], "ADDED");
    assert!(plain.is_silent().await, "bookmarks only for watches that allow them");
}

#[tokio::test]
async fn tables_carry_cells_and_the_metadata_that_label_columns_need() {
    let (server, client) = with_pods(1).await;
    server
        .store()
        .update_status(&Resource::PODS, "default", "p0", |status| {
            status["phase"] = json!("Running");
        })
        .unwrap();
    let client = client.accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let table = client.get(PODS).await.body;
    let columns: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(
        columns,
        ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
    );
    let row = &table["rows"][0];
    assert_eq!(
        row["cells"].as_array().unwrap()[..4],
        [json!("p0"), json!("0/1"), json!("Running"), json!("0")]
    );
    assert_eq!(row["object"]["metadata"]["labels"]["app"], "web");
    let mut watch = client.watch(&format!("{PODS}?watch=true")).await;
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(first["object"]["rows"][0]["cells"][0], "p0");
    let nodes = client.get("/api/v1/namespaces").await.body;
    assert_eq!(nodes["rows"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn metadata_alone_comes_in_lists_and_watches() {
    let (_server, client) = with_pods(1).await;
    let client = client.accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = client.get(PODS).await.body;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(
        list["items"][0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["kind", "apiVersion", "metadata"]
    );
    let client = client.accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let event = client.watch(&format!("{PODS}?watch=1")).await.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn both_forms_of_events_are_one_object() {
    let (_server, client) = with_pods(0).await;
    let event = json!({
        "metadata": {"name": "e1"}, "regarding": {"kind": "Pod", "name": "web"}, "note": "hello", "reason": "R", "type": "Normal",
        "reportingController": "plimsoll", "reportingInstance": "one", "eventTime": "2026-01-01T00:00:00.000000Z", "action": "A",
    });
    let created = client.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!((created.code, &created.body["note"]), (201, &json!("hello")));
    let list = client.get("/api/v1/events?fieldSelector=involvedObject.name%3Dweb").await.body;
    let core = &list["items"][0];
    assert_eq!(
        (&core["message"], &core["involvedObject"]["name"], &core["apiVersion"]),
        (&json!("hello"), &json!("web"), &Value::Null),
        "items of a list of a built-in type have no kind"
    );
}

#[tokio::test]
async fn discovery_probes_and_unknown_paths() {
    let (_server, client) = with_pods(0).await;
    assert_eq!(client.get("/readyz").await.code, 200);
    assert_eq!(client.get("/livez").await.code, 200);
    assert_eq!(client.get("/api").await.body["versions"], json!(["v1"]));
    let core = client.get("/api/v1").await.body;
    let names: Vec<&str> =
        core["resources"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    for name in ["pods", "pods/status", "pods/resize", "nodes"] {
        assert!(names.contains(&name), "{name}");
    }
    let groups = client.get("/apis").await.body.to_string();
    assert!(groups.contains("coordination.k8s.io/v1") && groups.contains("events.k8s.io/v1"), "{groups}");
    for path in
        ["/openapi/v2", "/openapi/v3", "/apis/nothing.dev/v1", "/api/v1/nothing", "/api/v1/nodes/x/resize"]
    {
        assert_eq!(client.get(path).await.code, 404, "{path}");
    }
    assert_eq!(client.send("POST", PODS, &json!([])).await.code, 400);
    assert_eq!(client.patch(&format!("{PODS}/x"), "text/plain", &json!({})).await.code, 415);
}

#[tokio::test]
async fn a_stopped_server_ends_its_watches_and_frees_its_port() {
    let (server, client) = with_pods(0).await;
    let (address, mut watch) = (server.address(), client.watch(&format!("{PODS}?watch=true")).await);
    server.stop().await;
    assert!(watch.breaks().await);
    let again = ApiServer::start(ApiOptions { port: address.port(), ..ApiOptions::default() }).await.unwrap();
    assert_eq!(again.address(), address);
}
