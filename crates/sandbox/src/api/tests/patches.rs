//! Merge patch by the vectors of RFC 7396, strategic merge by its directives, JSON patch by its operations.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};

use crate::api::patch::apply_json;
use crate::api::patch::schema::Schema;
use crate::api::patch::strategic::strategic;

fn merged(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    json_patch::merge(&mut target, patch);
    target
}

fn strategically(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    strategic(Schema { custom: false }, &mut target, patch);
    target
}

#[test]
fn merge_patch_follows_the_vectors_of_the_rfc() {
    for (target, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merged(&target, &patch), expected, "{target} with {patch}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
    leaf.prop_recursive(3, 20, 4, |inner| {
        proptest::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|map| map.into_iter().collect::<Value>())
    })
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(target in value(), patch in value()) {
        let once = merged(&target, &patch);
        assert_eq!(merged(&once, &patch), once);
    }
}

#[test]
fn containers_and_their_env_merge_by_name_and_keep_their_order() {
    let target = json!({"spec": {"containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]},
        {"name": "b", "image": "b:1"},
    ]}});
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}],
    }});
    let expected = json!({"spec": {"containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
        {"name": "b", "image": "b:1"},
    ]}});
    assert_eq!(strategically(&target, &patch), expected);
}

#[test]
fn directives_delete_items_replace_lists_and_maps_and_empty_primitive_lists() {
    let target = json!({
        "metadata": {"finalizers": ["x", "y"], "labels": {"a": "1", "b": "2"}},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v"}], "tolerations": [{"key": "k"}]},
    });
    let patch = json!({
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "labels": {"$patch": "replace", "c": "3"}},
        "spec": {
            "containers": [{"name": "b", "$patch": "delete"}],
            "volumes": [{"$patch": "replace"}, {"name": "w"}],
            "tolerations": [{"key": "l"}],
        },
    });
    let expected = json!({
        "metadata": {"finalizers": ["y"], "labels": {"c": "3"}},
        "spec": {"containers": [{"name": "a"}], "volumes": [{"name": "w"}], "tolerations": [{"key": "l"}]},
    });
    assert_eq!(strategically(&target, &patch), expected);
}

#[test]
fn conditions_merge_by_type_and_finalizers_as_a_set() {
    let target = json!({"metadata": {"finalizers": ["x"]}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let patch = json!({
        "metadata": {"finalizers": ["x", "y"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]},
    });
    let expected = json!({
        "metadata": {"finalizers": ["x", "y"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]},
    });
    assert_eq!(strategically(&target, &patch), expected);
}

#[test]
fn json_patch_adds_removes_moves_copies_and_tests() {
    let mut target = json!({"a": {"b/c": 1}, "l": [1, 2]});
    let patch = json!([
        {"op": "test", "path": "/a/b~1c", "value": 1},
        {"op": "add", "path": "/l/1", "value": 9},
        {"op": "add", "path": "/l/-", "value": 3},
        {"op": "replace", "path": "/l/0", "value": 0},
        {"op": "copy", "from": "/l/0", "path": "/z"},
        {"op": "move", "from": "/a/b~1c", "path": "/m"},
        {"op": "remove", "path": "/a"},
    ]);
    apply_json(&mut target, &patch).unwrap();
    assert_eq!(target, json!({"l": [0, 9, 2, 3], "z": 0, "m": 1}));
    let failing = json!([{"op": "test", "path": "/m", "value": 2}]);
    assert_eq!(apply_json(&mut target, &failing).unwrap_err().code, 422);
    assert_eq!(apply_json(&mut target, &json!({})).unwrap_err().code, 400);
}
