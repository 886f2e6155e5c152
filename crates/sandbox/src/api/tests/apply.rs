//! Server-side apply: ownership, pruning, conflicts, idempotence, uids.

use proptest::prelude::{Strategy, any, proptest};
use serde_json::{Value, json};

use super::{labels_of, store_with};
use crate::api::{ApiError, Patch, Resource, Selector, Store, Write, Written};

fn config(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
}

fn apply(store: &Store, name: &str, metadata: &Value, write: &Write) -> Result<Written, ApiError> {
    store.patch(&Resource::PODS, "default", name, &Patch::Apply(config(metadata)), write)
}

fn label(store: &Store, labels: &Value) -> Result<Written, ApiError> {
    apply(store, "web", &json!({"labels": labels}), &Write::by("plimsoll"))
}

#[test]
fn a_key_missing_in_the_next_apply_is_removed_and_keys_of_others_remain() {
    let store = store_with("web");
    label(&store, &json!({"plimsoll.dev/cpu-band": "high", "plimsoll.dev/cpu-basis": "limit"})).unwrap();
    label(&store, &json!({"plimsoll.dev/cpu-band": "low"})).unwrap();
    assert_eq!(labels_of(&store, "web"), json!({"app": "web", "plimsoll.dev/cpu-band": "low"}));
    label(&store, &json!({})).unwrap();
    assert_eq!(labels_of(&store, "web"), json!({"app": "web"}));
}

#[test]
fn managed_fields_name_exactly_what_each_manager_owns() {
    let store = store_with("web");
    let written = label(&store, &json!({"plimsoll.dev/cpu-band": "high"})).unwrap();
    let managers = written.object["metadata"]["managedFields"].as_array().unwrap().clone();
    let ours = managers.iter().find(|entry| entry["manager"] == "plimsoll").unwrap();
    assert_eq!(ours["operation"], "Apply");
    assert_eq!(ours["fieldsType"], "FieldsV1");
    assert_eq!(ours["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:plimsoll.dev/cpu-band": {}}}}));
    let theirs = managers.iter().find(|entry| entry["manager"] == "sandbox").unwrap();
    assert_eq!(theirs["operation"], "Update");
    assert_eq!(theirs["fieldsV1"]["f:metadata"], json!({"f:labels": {".": {}, "f:app": {}}}));
    let container = &theirs["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"app\"}"];
    assert_eq!(container["f:image"], json!({}));
    assert_eq!(container["f:resources"]["f:limits"], json!({".": {}, "f:cpu": {}, "f:memory": {}}));
}

#[test]
fn another_managers_key_is_a_conflict_that_names_the_manager_and_the_field() {
    let store = store_with("web");
    let patch = Patch::Merge(json!({"metadata": {"labels": {"plimsoll.dev/cpu-band": "mine"}}}));
    store.patch(&Resource::PODS, "default", "web", &patch, &Write::by("kubectl-label")).unwrap();
    let version = store.version();
    let error = label(&store, &json!({"plimsoll.dev/cpu-band": "high"})).unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (409, "Conflict"));
    let expected = "Apply failed with 1 conflict: conflict with \"kubectl-label\" using v1: .metadata.labels.plimsoll.dev/cpu-band";
    assert_eq!(error.message, expected);
    let cause = json!({
        "reason": "FieldManagerConflict", "message": "conflict with \"kubectl-label\" using v1",
        "field": ".metadata.labels.plimsoll.dev/cpu-band",
    });
    assert_eq!(error.details.unwrap()["causes"], json!([cause]));
    assert_eq!(store.version(), version, "a rejected apply changes nothing");
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let store = store_with("web");
    let others = json!({"labels": {"a": "1", "b": "1"}});
    apply(&store, "web", &others, &Write::by("other")).unwrap();
    let error = label(&store, &json!({"a": "2", "b": "2"})).unwrap_err();
    let expected = "Apply failed with 2 conflicts: conflicts with \"other\":\n- .metadata.labels.a\n- .metadata.labels.b";
    assert_eq!(error.message, expected);
}

#[test]
fn force_takes_the_field_and_the_other_manager_loses_it() {
    let store = store_with("web");
    apply(&store, "web", &json!({"labels": {"a": "1"}}), &Write::by("other")).unwrap();
    let forced = Write { force: true, ..Write::by("plimsoll") };
    let written = apply(&store, "web", &json!({"labels": {"a": "2"}}), &forced).unwrap();
    assert_eq!(written.object["metadata"]["labels"]["a"], "2");
    let managers = written.object["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("\"other\""), "{managers}");
}

#[test]
fn a_value_with_two_owners_remains_until_both_release_it() {
    let store = store_with("web");
    apply(&store, "web", &json!({"labels": {"a": "1"}}), &Write::by("other")).unwrap();
    label(&store, &json!({"a": "1"})).unwrap();
    label(&store, &json!({})).unwrap();
    assert_eq!(labels_of(&store, "web")["a"], "1");
    apply(&store, "web", &json!({}), &Write::by("other")).unwrap();
    assert_eq!(labels_of(&store, "web"), json!({"app": "web"}));
}

#[test]
fn an_update_that_removes_a_key_removes_its_owner() {
    let store = store_with("web");
    label(&store, &json!({"a": "1"})).unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": null}}}));
    let written =
        store.patch(&Resource::PODS, "default", "web", &patch, &Write::by("kubectl-label")).unwrap();
    let managers = written.object["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("\"plimsoll\""), "{managers}");
}

#[test]
fn a_wrong_uid_is_422_and_a_missing_pod_with_a_uid_is_409_and_is_not_created() {
    let store = store_with("web");
    let stale = json!({"uid": "bbb", "labels": {"a": "1"}});
    let error = apply(&store, "web", &stale, &Write::by("plimsoll")).unwrap_err();
    assert_eq!(error.code, 422);
    let expected = "Pod \"web\" is invalid: metadata.uid: Invalid value: \"bbb\": field is immutable";
    assert_eq!(error.message, expected);
    let error = apply(&store, "gone", &stale, &Write::by("plimsoll")).unwrap_err();
    assert_eq!(error.code, 409);
    let expected = "Operation cannot be fulfilled on pods \"gone\": uid mismatch: the provided object specified uid bbb, and no existing object was found";
    assert_eq!(error.message, expected);
    assert_eq!(store.list(&Resource::PODS, None, &Selector::default()).unwrap().len(), 1);
}

#[test]
fn the_right_uid_is_accepted_and_an_apply_without_uid_creates_a_missing_pod() {
    let store = store_with("web");
    let uid = store.get(&Resource::PODS, "default", "web").unwrap()["metadata"]["uid"].clone();
    apply(&store, "web", &json!({"uid": uid, "labels": {"a": "1"}}), &Write::by("plimsoll")).unwrap();
    let mut new = config(&json!({"labels": {"a": "1"}}));
    let patch = |body: &Value| Patch::Apply(body.clone());
    let write = Write::by("plimsoll");
    let error = store.patch(&Resource::PODS, "default", "new", &patch(&new), &write).unwrap_err();
    assert!(error.code == 400 && error.message.contains("name must be provided"), "{error}");
    new["metadata"]["name"] = json!("new");
    let error = store.patch(&Resource::PODS, "default", "new", &patch(&new), &write).unwrap_err();
    assert_eq!(error.message, "Pod \"new\" is invalid: spec.containers: Required value");
    new["spec"] = json!({"containers": [{"name": "app", "image": "app:1"}]});
    let written = store.patch(&Resource::PODS, "default", "new", &patch(&new), &write).unwrap();
    assert!(written.created);
}

#[test]
fn an_apply_needs_a_kind_and_no_managed_fields() {
    let store = store_with("web");
    let code = |metadata: &Value, write: &Write| apply(&store, "web", metadata, write).unwrap_err().code;
    assert_eq!(code(&json!({"managedFields": []}), &Write::by("plimsoll")), 400);
    let body = Patch::Apply(json!({"metadata": {"labels": {"a": "1"}}}));
    let error = store.patch(&Resource::PODS, "default", "web", &body, &Write::by("plimsoll")).unwrap_err();
    assert_eq!(error.code, 400);
}

#[test]
fn list_items_are_owned_by_key_and_pruned_as_a_whole() {
    let store = Store::default();
    let body = |containers: &Value| {
        Patch::Apply(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"},
            "spec": {"template": {"spec": {"containers": containers}}},
        }))
    };
    let resource = Resource::DAEMON_SETS;
    let apply = |manager: &str, containers: &Value| {
        store.patch(&resource, "default", "d", &body(containers), &Write::by(manager)).unwrap()
    };
    apply("a", &json!([{"name": "app", "image": "app:1"}, {"name": "old", "image": "old:1"}]));
    apply("b", &json!([{"name": "app", "env": [{"name": "X", "value": "1"}]}]));
    let written = apply("a", &json!([{"name": "app", "image": "app:2"}]));
    let containers = &written.object["spec"]["template"]["spec"]["containers"];
    let expected = json!([{"name": "app", "image": "app:2", "env": [{"name": "X", "value": "1"}]}]);
    assert_eq!(*containers, expected);
}

fn some_labels() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-e]", any::<u8>(), 0..5)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key, json!(value.to_string()))).collect())
}

proptest! {
    #[test]
    fn a_second_identical_apply_changes_no_version_and_emits_no_event(first in some_labels(), second in some_labels()) {
        let store = store_with("web");
        label(&store, &first).unwrap();
        label(&store, &second).unwrap();
        let (_, mut events) = store.subscribe(&Resource::PODS, None, &Selector::default()).unwrap();
        let version = store.version();
        label(&store, &second).unwrap();
        assert_eq!(store.version(), version);
        assert!(events.try_next().unwrap().is_none());
    }

    #[test]
    fn what_remains_is_the_last_apply_and_what_others_own(first in some_labels(), second in some_labels()) {
        let store = store_with("web");
        label(&store, &first).unwrap();
        label(&store, &second).unwrap();
        let mut expected = second.clone();
        expected["app"] = json!("web");
        assert_eq!(labels_of(&store, "web"), expected);
    }
}
