//! `pods/resize`: accepted and rejected changes, and fields that are dropped.

use serde_json::{Value, json};

use super::{pod, store, store_with};
use crate::api::{ApiError, Patch, Resource, Store, Subresource, Write, Written};

fn resize(store: &Store, resources: &Value) -> Result<Written, ApiError> {
    patch(store, &json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}))
}

fn patch(store: &Store, body: &Value) -> Result<Written, ApiError> {
    let write = Write::by("plimsoll").through(Subresource::Resize);
    store.patch(&Resource::PODS, "default", "web", &Patch::Strategic(body.clone()), &write)
}

fn store_with_resources(resources: &Value) -> Store {
    let store = store();
    store.create(&Resource::PODS, pod("web", resources)).unwrap();
    store
}

#[test]
fn a_resize_changes_only_resources_increments_the_generation_and_drops_labels_silently() {
    let store = store_with("web");
    let body = json!({
        "metadata": {"labels": {"dropped": "in"}},
        "spec": {"containers": [{"name": "app", "image": "other:1", "resources": {"limits": {"cpu": "900m"}}}]},
    });
    let pod = patch(&store, &body).unwrap().object;
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"cpu": "900m", "memory": "128Mi"}));
    assert_eq!(container["resources"]["requests"], json!({"cpu": "100m", "memory": "64Mi"}));
    assert_eq!(container["image"], "app:1");
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(pod["metadata"]["generation"], 2);
    let again = patch(&store, &body).unwrap().object;
    assert_eq!(again["metadata"]["resourceVersion"], pod["metadata"]["resourceVersion"]);
}

#[test]
fn the_quality_of_service_class_must_not_change() {
    let error = resize(&store_with_resources(&json!({})), &json!({"requests": {"cpu": "100m"}})).unwrap_err();
    let expected = "Pod \"web\" is invalid: spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing";
    assert_eq!((error.code, error.message.as_str()), (422, expected));
    let guaranteed = json!({"requests": {"cpu": "500m", "memory": "128Mi"}});
    let error = resize(&store_with("web"), &guaranteed).unwrap_err();
    assert!(error.message.contains("Invalid value: \"Burstable\": Pod QOS Class"), "{error}");
}

#[test]
fn a_limit_cannot_be_removed() {
    let error = resize(&store_with("web"), &json!({"limits": {"cpu": null}})).unwrap_err();
    let expected = "Pod \"web\" is invalid: spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed";
    assert_eq!((error.code, error.message.as_str()), (422, expected));
}

#[test]
fn a_pod_larger_than_its_node_is_403_with_the_cause_in_a_dry_run_too() {
    let store = store_with("web");
    let size = json!({"allocatable": {"cpu": "1", "memory": "1Gi"}});
    store.update_status(&Resource::NODES, "", "n1", |status| *status = size).unwrap();
    let body = json!({"spec": {"containers": [
        {"name": "app", "resources": {"requests": {"cpu": "5"}, "limits": {"cpu": "6"}}},
    ]}});
    for dry_run in [false, true] {
        let write = Write { dry_run, ..Write::by("plimsoll").through(Subresource::Resize) };
        let patch = Patch::Strategic(body.clone());
        let error = store.patch(&Resource::PODS, "default", "web", &patch, &write).unwrap_err();
        let expected = "pods \"web\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 5000, allocatable: 1000";
        assert_eq!((error.code, error.message.as_str()), (403, expected));
        assert_eq!(error.details.unwrap()["causes"][0]["reason"], "NodeCapacity");
    }
}

#[test]
fn a_stale_version_is_409_and_a_wrong_uid_422() {
    let store = store_with("web");
    let with = |metadata: &Value| {
        let containers = json!([{"name": "app", "resources": {"limits": {"cpu": "900m"}}}]);
        patch(&store, &json!({"metadata": metadata, "spec": {"containers": containers}})).unwrap_err()
    };
    let error = with(&json!({"resourceVersion": "1"}));
    assert_eq!(error.code, 409);
    let expected =
        "the object has been modified; please apply your changes to the latest version and try again";
    assert!(error.message.ends_with(expected), "{error}");
    let error = with(&json!({"uid": "bbb"}));
    assert_eq!(error.code, 422);
    assert!(error.message.contains("metadata.uid: Invalid value: \"bbb\": field is immutable"), "{error}");
}

#[test]
fn a_merge_patch_with_one_container_of_two_is_rejected() {
    let store = Store::default();
    let mut two = pod("web", &json!({"limits": {"cpu": "1"}}));
    two["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "side", "image": "side:1"}));
    store.create(&Resource::PODS, two).unwrap();
    let body = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "2"}}}]}});
    let write = Write::by("plimsoll").through(Subresource::Resize);
    let error = store.patch(&Resource::PODS, "default", "web", &Patch::Merge(body), &write).unwrap_err();
    assert_eq!(error.code, 422);
}

#[test]
fn a_main_write_cannot_change_resources() {
    let store = store_with("web");
    let body = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "900m"}}}]}});
    let patch = Patch::Strategic(body);
    let error = store.patch(&Resource::PODS, "default", "web", &patch, &Write::default()).unwrap_err();
    assert_eq!(error.code, 422);
    assert!(error.message.contains("pod updates may not change fields other than"), "{error}");
}

#[test]
fn the_same_amount_in_another_notation_is_no_change() {
    let store = store_with("web");
    let version = store.version();
    let pod = resize(&store, &json!({"limits": {"cpu": "0.5", "memory": "131072Ki"}})).unwrap().object;
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["limits"],
        json!({"cpu": "500m", "memory": "128Mi"})
    );
    assert_eq!(store.version(), version);
}
