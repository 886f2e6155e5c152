//! Hostile objects, one by one and among others, as kube hands them over.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::core::{ObjectList, WatchEvent};
use serde_json::{Value, json};

use super::*;
use crate::field;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Counted {
    #[serde(deserialize_with = "field::count")]
    restarts: u32,
    #[serde(deserialize_with = "field::list")]
    parts: Vec<Part>,
    generation: Lenient<i64>,
    #[serde(deserialize_with = "keys")]
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Part {
    #[serde(deserialize_with = "field::name")]
    name: String,
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    field::entries(deserializer, |key| key.starts_with("ours/"), 8)
}

impl Content for Counted {
    type Kind = Pod;
}

fn read(object: &Value) -> Object<Counted> {
    serde_json::from_str(&object.to_string()).unwrap()
}

fn named(fields: &Value) -> Value {
    let mut object =
        json!({"metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7"}});
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    object
}

#[test]
fn what_is_not_used_is_not_read() {
    let mut odd = named(&json!({"restarts": 2, "spec": 5, "status": [{"time": "10000-01-01T23:58:59Z"}]}));
    odd["metadata"]["managedFields"] = json!([{"manager": "m", "time": "10000-01-01T23:58:59Z"}]);
    odd["metadata"]["creationTimestamp"] = json!("yesterday");
    let object = read(&odd);
    assert_eq!(object.content.unwrap().restarts, 2);
    assert_eq!((object.names.name.as_deref(), object.names.uid.as_deref()), (Some("web"), Some("u")));
    assert!(object.names.managed_fields.is_none());
}

#[test]
fn lenient_fields_never_make_an_object_unreadable() {
    let table = [
        (json!(-1), 0),
        (json!(3), 3),
        (json!(1_u64 << 40), u32::MAX),
        (json!("3"), 0),
        (json!(1.5), 0),
        (json!({"a": []}), 0),
        (Value::Null, 0),
    ];
    for (restarts, count) in table {
        let content = read(&named(&json!({"restarts": restarts, "generation": {}, "parts": null}))).content;
        assert_eq!(content.unwrap(), Counted { restarts: count, ..Counted::default() }, "{restarts}");
    }
    let huge = r#"{"restarts": 99999999999999999999999999, "generation": -1e999}"#;
    assert!(
        serde_json::from_str::<Object<Counted>>(huge).unwrap().content.is_ok(),
        "numbers beyond any type"
    );
}

#[test]
fn an_unreadable_object_has_its_names_the_field_and_the_reason_and_no_value() {
    let table = [
        (
            json!({"parts": [{"name": "a"}, {"name": {"s3cr3t": 1}}]}),
            "parts[1].name: invalid type: map, expected a string",
        ),
        (json!({"parts": "s3cr3t, expected nothing"}), "parts: invalid type: string, expected a sequence"),
        (json!({"parts": [{}]}), "parts[0]: missing field `name`"),
        (
            json!({"parts": [{"name": "x".repeat(254)}]}),
            "parts[0].name: longer than 253 bytes, which no name is",
        ),
        (json!({"notes": {"ours/a": 5}}), "notes.ours/a: invalid type: integer, expected a string"),
        (json!({"notes": ["ours/a"]}), "notes: invalid type: sequence, expected a map of texts"),
    ];
    for (fields, expected) in table {
        let object = read(&named(&fields));
        let problem = object.content.unwrap_err().to_string();
        assert_eq!(problem, expected);
        assert!(!problem.contains("s3cr3t"));
        assert_eq!(object.names.name.as_deref(), Some("web"));
        assert_eq!(object.names.resource_version.as_deref(), Some("7"));
    }
    let long =
        read(&named(&json!({"notes": {format!("ours/{}", "x".repeat(9000)): 5}}))).content.unwrap_err();
    assert!(long.field.len() <= 200 && long.reason.len() <= 200, "{long}");
}

#[test]
fn each_name_is_absent_where_it_cannot_be_read() {
    for metadata in [json!(5), json!([]), Value::Null, json!({"name": 7, "uid": "u"})] {
        let object = read(&json!({"metadata": metadata, "restarts": 1}));
        assert_eq!(object.names.name, None, "{metadata}");
        assert_eq!(object.names.uid.is_some(), metadata.is_object(), "{metadata}");
    }
    for whole in ["5", "true", "null", "\"text\""] {
        let object: Object<Counted> = serde_json::from_str(whole).unwrap();
        assert_eq!((object.names.name, object.content.is_err()), (None, true), "{whole}");
    }
}

#[test]
fn only_wanted_keys_are_kept_and_a_long_value_is_empty() {
    let notes =
        json!({"ours/a": "12345678", "ours/b": "123456789", "theirs": "x", "ours/c": "x".repeat(256 << 10)});
    let content = read(&named(&json!({"notes": notes}))).content.unwrap();
    let kept: Vec<_> = content.notes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("ours/a", "12345678"), ("ours/b", ""), ("ours/c", "")]);
    assert_eq!(content.notes["ours/c"].capacity(), 0);
}

#[test]
fn one_object_does_not_spoil_a_list() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let items = [
        named(&json!({"restarts": 1})),
        named(&json!({"parts": 5})),
        json!(7),
        named(&json!({"restarts": 2})),
    ];
    let mut list =
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": items});
    list["items"].as_array_mut().unwrap().push(named(&json!({"restarts": 3, "unused": "DEEP"})));
    let text = list.to_string().replace("\"DEEP\"", &deep);
    let list: ObjectList<Object<Counted>> = serde_json::from_str(&text).unwrap();
    let restarts: Vec<_> = list.items.iter().map(|o| o.content.as_ref().ok().map(|c| c.restarts)).collect();
    assert_eq!(restarts, [Some(1), None, None, Some(2), Some(3)]);
    assert_eq!(list.metadata.resource_version.as_deref(), Some("9"));
}

#[test]
fn one_object_does_not_spoil_a_watch() {
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let event = json!({"type": kind, "object": named(&json!({"parts": 5}))});
        let event: WatchEvent<Object<Counted>> = serde_json::from_str(&event.to_string()).unwrap();
        let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = event
        else {
            panic!("{event:?}")
        };
        assert_eq!((object.names.name.as_deref(), object.content.is_err()), (Some("web"), true));
    }
}

#[test]
fn a_checked_field_that_cannot_be_read_says_why_and_spoils_nothing_else() {
    #[derive(Debug, Clone, Deserialize)]
    struct Outer {
        parts: Checked<Vec<Part>>,
        after: u8,
    }
    let read = |parts: &Value| {
        serde_json::from_str::<Outer>(&json!({"parts": parts, "after": 7}).to_string()).unwrap()
    };
    let Outer { parts: Checked(parts), after } = read(&json!([{"name": "a"}]));
    assert_eq!((parts.unwrap()[0].name.as_str(), after), ("a", 7));
    let Outer { parts: Checked(parts), after } = read(&json!([{"name": "a"}, {"name": 5}]));
    assert_eq!(
        (parts.unwrap_err().to_string().as_str(), after),
        ("[1].name: invalid type: integer, expected a string", 7)
    );
}
