//! Create, update, status, delete: versions, uids, generations, finalizers, leases, definitions, dry runs.

use serde_json::{Value, json};

use super::{labels_of, pod, store_with};
use crate::api::state::EventKind;
use crate::api::{Patch, Resource, Selector, Store, Subresource, Write};

fn lease(holder: &str, version: Option<&Value>) -> Value {
    json!({
        "metadata": {"name": "lock", "namespace": "default", "resourceVersion": version},
        "spec": {"holderIdentity": holder},
    })
}

#[test]
fn of_two_lease_updates_from_the_same_version_one_wins() {
    let store = Store::default();
    let created = store.create(&Resource::LEASES, lease("a", None)).unwrap();
    let version = &created["metadata"]["resourceVersion"];
    store.update(&Resource::LEASES, lease("c", Some(version)), &Write::default()).unwrap();
    let error = store.update(&Resource::LEASES, lease("b", Some(version)), &Write::default()).unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (409, "Conflict"));
    assert!(
        error.message.starts_with("Operation cannot be fulfilled on leases.coordination.k8s.io \"lock\":"),
        "{error}"
    );
    let error = store.update(&Resource::LEASES, lease("b", None), &Write::default()).unwrap_err();
    assert_eq!(error.code, 422, "an update of a lease needs a version");
}

#[test]
fn creation_sets_the_fields_of_the_server_and_rejects_a_second_object() {
    let store = store_with("web");
    let pod_now = store.get(&Resource::PODS, "default", "web").unwrap();
    assert_eq!(pod_now["metadata"]["generation"], 1);
    assert_eq!(pod_now["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(pod_now["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
    assert_eq!((&pod_now["kind"], &pod_now["apiVersion"]), (&json!("Pod"), &json!("v1")));
    let error = store.create(&Resource::PODS, pod("web", &json!({}))).unwrap_err();
    assert_eq!(error.message, "pods \"web\" already exists");
    let mut elsewhere = pod("x", &json!({}));
    elsewhere["metadata"]["namespace"] = json!("nowhere");
    let error = store.create(&Resource::PODS, elsewhere).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, "namespaces \"nowhere\" not found"));
}

#[test]
fn a_limit_without_a_request_is_also_the_request() {
    let store = Store::default();
    let created =
        store.create(&Resource::PODS, pod("web", &json!({"limits": {"cpu": "1", "memory": "1Gi"}}))).unwrap();
    assert_eq!(
        created["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    assert_eq!(created["status"]["qosClass"], "Guaranteed");
}

#[test]
fn status_and_spec_are_written_separately() {
    let store = store_with("web");
    let main = Patch::Merge(json!({"status": {"phase": "Running"}, "metadata": {"labels": {"x": "1"}}}));
    let written = store.patch(&Resource::PODS, "default", "web", &main, &Write::default()).unwrap();
    assert_eq!(written.object["status"]["phase"], "Pending");
    let status = Write::by("kubelet").through(Subresource::Status);
    let both = Patch::Merge(json!({"status": {"phase": "Running"}, "metadata": {"labels": {"x": "2"}}}));
    let written = store.patch(&Resource::PODS, "default", "web", &both, &status).unwrap();
    assert_eq!(written.object["status"]["phase"], "Running");
    assert_eq!(labels_of(&store, "web")["x"], "2", "of a pod also the metadata, as in a real server");
    assert_eq!(written.object["metadata"]["generation"], 1);
    store
        .update_status(&Resource::PODS, "default", "web", |status| {
            status["podIP"] = json!("10.0.0.1");
        })
        .unwrap();
    let now = store.get(&Resource::PODS, "default", "web").unwrap();
    assert_eq!(now["status"], json!({"phase": "Running", "qosClass": "Burstable", "podIP": "10.0.0.1"}));
}

#[test]
fn a_put_with_another_uid_or_an_old_version_is_409() {
    let store = store_with("web");
    let old = store.get(&Resource::PODS, "default", "web").unwrap();
    let mut other = old.clone();
    other["metadata"]["uid"] = json!("bbb");
    let error = store.update(&Resource::PODS, other, &Write::default()).unwrap_err();
    assert_eq!(error.code, 409);
    assert!(error.message.contains("UID in precondition: bbb"), "{error}");
    let mut new = old.clone();
    new["metadata"]["labels"]["x"] = json!("1");
    store.update(&Resource::PODS, new.clone(), &Write::default()).unwrap();
    assert_eq!(store.update(&Resource::PODS, new, &Write::default()).unwrap_err().code, 409);
}

#[test]
fn an_unchanged_update_keeps_the_version() {
    let store = store_with("web");
    let old = store.get(&Resource::PODS, "default", "web").unwrap();
    let version = store.version();
    store.update(&Resource::PODS, old.clone(), &Write::default()).unwrap();
    store.update_status(&Resource::PODS, "default", "web", |_| {}).unwrap();
    assert_eq!(store.version(), version);
}

#[test]
fn deletion_checks_preconditions_and_waits_for_finalizers() {
    let store = store_with("web");
    let delete = |options: &Value| store.delete_as(&Resource::PODS, "default", "web", options, false);
    assert_eq!(delete(&json!({"preconditions": {"uid": "bbb"}})).unwrap_err().code, 409);
    assert_eq!(delete(&json!({"preconditions": {"resourceVersion": "1"}})).unwrap_err().code, 409);
    let patch = |finalizers: &Value| {
        let body = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        store.patch(&Resource::PODS, "default", "web", &body, &Write::default()).unwrap()
    };
    patch(&json!(["plimsoll.dev/x"]));
    let marked = delete(&json!({})).unwrap();
    assert!(!marked["metadata"]["deletionTimestamp"].is_null());
    patch(&json!(null));
    assert_eq!(store.get(&Resource::PODS, "default", "web").unwrap_err().code, 404);
    assert_eq!(delete(&json!({})).unwrap_err().message, "pods \"web\" not found");
}

#[test]
fn a_graceful_deletion_is_completed_by_the_kubelet() {
    let store = Store::new(true);
    store.create(&Resource::PODS, pod("web", &json!({}))).unwrap();
    let marked = store.delete_as(&Resource::PODS, "default", "web", &json!({}), false).unwrap();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    store.delete(&Resource::PODS, "default", "web").unwrap();
    assert_eq!(store.get(&Resource::PODS, "default", "web").unwrap_err().code, 404);
}

#[test]
fn the_objects_of_a_namespace_are_deleted_with_it() {
    let store = Store::default();
    store.create(&Resource::NAMESPACES, json!({"metadata": {"name": "lab"}})).unwrap();
    assert!(store.get(&Resource::SERVICE_ACCOUNTS, "lab", "default").is_ok());
    let mut inside = pod("web", &json!({}));
    inside["metadata"]["namespace"] = json!("lab");
    store.create(&Resource::PODS, inside).unwrap();
    let (_, mut events) = store.subscribe(&Resource::PODS, None, &Selector::default()).unwrap();
    store.delete(&Resource::NAMESPACES, "", "lab").unwrap();
    assert_eq!(events.try_next().unwrap().unwrap().kind, EventKind::Deleted);
    assert!(events.try_next().unwrap().is_none());
}

#[test]
fn a_definition_adds_its_kind_and_its_deletion_removes_it() {
    let store = Store::default();
    let resource = Resource::new("plimsoll.dev", "v1alpha1", "slaclasses");
    let class =
        json!({"metadata": {"name": "gold"}, "spec": {"rank": 1, "list": [1, 2]}, "status": {"pods": 3}});
    assert_eq!(store.create(&resource, class.clone()).unwrap_err().code, 404);
    let definition = json!({
        "metadata": {"name": "slaclasses.plimsoll.dev"},
        "spec": {
            "group": "plimsoll.dev", "scope": "Cluster", "names": {"plural": "slaclasses", "kind": "SLAClass", "shortNames": ["sla"]},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}}}],
        },
    });
    store.create(&Resource::DEFINITIONS, definition).unwrap();
    let created = store.create(&resource, class).unwrap();
    assert_eq!(
        (&created["kind"], &created["apiVersion"]),
        (&json!("SLAClass"), &json!("plimsoll.dev/v1alpha1"))
    );
    assert!(created.get("status").is_none());
    let patch = Patch::Strategic(json!({}));
    assert_eq!(store.patch(&resource, "", "gold", &patch, &Write::default()).unwrap_err().code, 415);
    let patch = Patch::Merge(json!({"spec": {"rank": 2}}));
    let written = store.patch(&resource, "", "gold", &patch, &Write::default()).unwrap();
    assert_eq!(written.object["metadata"]["generation"], 2);
    store.delete(&Resource::DEFINITIONS, "", "slaclasses.plimsoll.dev").unwrap();
    assert_eq!(store.get(&resource, "", "gold").unwrap_err().code, 404);
}

#[test]
fn a_dry_run_answers_and_changes_nothing() {
    let store = store_with("web");
    let version = store.version();
    let dry = Write { dry_run: true, ..Write::default() };
    store.create_as(&Resource::PODS, pod("new", &json!({})), &dry).unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"x": "1"}}}));
    let written = store.patch(&Resource::PODS, "default", "web", &patch, &dry).unwrap();
    assert_eq!(written.object["metadata"]["labels"]["x"], "1");
    store.delete_as(&Resource::PODS, "default", "web", &json!({}), true).unwrap();
    assert_eq!(store.version(), version);
    assert_eq!(labels_of(&store, "web"), json!({"app": "web"}));
}

#[test]
fn an_object_with_fields_of_wrong_types_is_rejected_without_a_panic() {
    let store = store_with("web");
    for body in [
        json!({"metadata": []}),
        json!({"metadata": {"labels": ["a"]}}),
        json!({"metadata": {"labels": {"a": 1}}}),
        json!({"spec": "x"}),
        json!({"spec": {"containers": {"app": {}}}}),
        json!({"spec": {"containers": ["app"]}}),
        json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1"}, "requests": "x"}}]}}),
        json!([]),
        json!("x"),
    ] {
        let patch = Patch::Merge(body.clone());
        for subresource in [Subresource::Main, Subresource::Status, Subresource::Resize] {
            let write = Write::default().through(subresource);
            let error = store.patch(&Resource::PODS, "default", "web", &patch, &write).unwrap_err();
            assert_eq!((error.code, error.reason.as_str()), (422, "Invalid"), "{body}");
        }
        let apply =
            store.patch(&Resource::PODS, "default", "web", &Patch::Apply(body.clone()), &Write::default());
        assert!(matches!(apply.unwrap_err().code, 400 | 500), "{body}");
        assert_eq!(store.create(&Resource::PODS, body.clone()).unwrap_err().code / 100, 4, "{body}");
    }
}

#[test]
fn an_invalid_label_is_422() {
    let store = store_with("web");
    for labels in [
        json!({"a": "not a label"}),
        json!({"a": "-x"}),
        json!({"a b": "x"}),
        json!({"UP/a": "x"}),
        json!({"a": "x".repeat(64)}),
    ] {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let error = store.patch(&Resource::PODS, "default", "web", &patch, &Write::default()).unwrap_err();
        assert_eq!((error.code, error.reason.as_str()), (422, "Invalid"), "{labels}");
    }
}
