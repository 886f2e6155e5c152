//! Lists in pages, selectors, and subscriptions.

use proptest::prelude::proptest;
use serde_json::{Value, json};

use super::pod;
use crate::api::page::{List, ListOptions};
use crate::api::state::EventKind;
use crate::api::status::ApiError;
use crate::api::{Patch, Resource, Selector, Store, Write};

fn store_with_pods(count: usize) -> Store {
    let store = Store::default();
    for index in 0..count {
        let mut pod = pod(&format!("p{index:03}"), &json!({}));
        pod["metadata"]["labels"]["parity"] = json!(if index % 2 == 0 { "even" } else { "odd" });
        store.create(&Resource::PODS, pod).unwrap();
    }
    store
}

fn labels(text: &str) -> Result<Selector, ApiError> {
    Selector::parse(&Resource::PODS, Some(text), None)
}

fn fields(text: &str) -> Result<Selector, ApiError> {
    Selector::parse(&Resource::PODS, None, Some(text))
}

fn names(list: &List) -> Vec<String> {
    list.items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn page(store: &Store, limit: usize, token: Option<&str>) -> List {
    store.page(&Resource::PODS, &ListOptions { limit, token, ..ListOptions::default() }).unwrap()
}

#[test]
fn the_pages_of_a_list_show_the_state_of_its_first_page() {
    let store = store_with_pods(5);
    let first = page(&store, 2, None);
    assert_eq!((names(&first), first.remaining), (vec!["p000".to_owned(), "p001".to_owned()], Some(3)));
    store.delete(&Resource::PODS, "default", "p003").unwrap();
    store.create(&Resource::PODS, pod("p0025", &json!({}))).unwrap();
    let second = page(&store, 2, first.token.as_deref());
    assert_eq!(names(&second), ["p002", "p003"]);
    assert_eq!(second.version, first.version);
    let third = page(&store, 2, second.token.as_deref());
    assert_eq!((names(&third), third.token, third.remaining), (vec!["p004".to_owned()], None, None));
    assert_eq!(names(&page(&store, 0, None)), ["p000", "p001", "p002", "p0025", "p004"]);
}

#[test]
fn a_continue_token_from_before_a_compaction_is_410() {
    let store = store_with_pods(3);
    let token = page(&store, 1, None).token;
    store.lock().compact();
    let options = ListOptions { limit: 1, token: token.as_deref(), ..ListOptions::default() };
    let error = store.page(&Resource::PODS, &options).unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (410, "Expired"));
}

#[test]
fn a_version_of_the_future_is_504_and_an_exact_one_shows_the_past() {
    let store = store_with_pods(1);
    let version = store.version();
    store.create(&Resource::PODS, pod("later", &json!({}))).unwrap();
    let at = |version, exact| ListOptions { version: Some(version), exact, ..ListOptions::default() };
    assert_eq!(names(&store.page(&Resource::PODS, &at(version, true)).unwrap()), ["p000"]);
    assert_eq!(names(&store.page(&Resource::PODS, &at(version, false)).unwrap()).len(), 2);
    assert_eq!(store.page(&Resource::PODS, &at(version + 9, false)).unwrap_err().code, 504);
}

#[test]
fn label_selectors_support_every_operator() {
    let object =
        json!({"metadata": {"labels": {"app": "web", "tier": "front", "plimsoll.dev/cpu-band": "high"}}});
    for (selector, expected) in [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app!=web", false),
        ("other!=x", true),
        ("app in (api, web),tier notin (back)", true),
        ("app notin (web)", false),
        ("missing in (a)", false),
        ("missing notin (a)", true),
        ("plimsoll.dev/cpu-band", true),
        ("!plimsoll.dev/cpu-band", false),
        ("!missing", true),
    ] {
        assert_eq!(labels(selector).unwrap().matches(&object), expected, "{selector}");
    }
    for broken in ["app in web", "a b", "=x", "app in (x"] {
        assert_eq!(labels(broken).unwrap_err().code, 400, "{broken}");
    }
}

#[test]
fn field_selectors_support_only_indexed_fields() {
    let store = store_with_pods(2);
    let count = |text: &str| {
        let selector = fields(text).unwrap();
        store.list(&Resource::PODS, Some("default"), &selector).unwrap().len()
    };
    assert_eq!(count("spec.nodeName=n1"), 2);
    assert_eq!(count("spec.nodeName!=n1"), 0);
    assert_eq!(count("metadata.name=p001,metadata.namespace=default,status.phase=Pending"), 1);
    let error = fields("spec.dnsPolicy=x").unwrap_err();
    assert_eq!(error.code, 400);
    assert!(error.message.contains("field label not supported: spec.dnsPolicy"), "{error}");
}

proptest! {
    #[test]
    fn no_selector_text_makes_the_parser_panic(text in ".{0,40}") {
        let _ = labels(&text);
        let _ = fields(&text);
    }
}

#[test]
fn a_watcher_with_a_selector_sees_objects_come_and_go_as_their_labels_change() {
    let store = store_with_pods(2);
    let (initial, mut events) =
        store.subscribe(&Resource::PODS, None, &labels("parity=odd").unwrap()).unwrap();
    assert_eq!(initial.items.len(), 1);
    let relabel = |name: &str, parity: &Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"parity": parity}}}));
        store.patch(&Resource::PODS, "default", name, &patch, &Write::default()).unwrap();
    };
    relabel("p000", &json!("odd"));
    relabel("p001", &json!(null));
    relabel("p001", &json!("even"));
    let mut seen =
        || events.try_next().unwrap().map(|event| (event.kind, event.object["metadata"]["name"].clone()));
    assert_eq!(seen(), Some((EventKind::Added, json!("p000"))));
    assert_eq!(seen(), Some((EventKind::Deleted, json!("p001"))));
    assert_eq!(seen(), None);
}

#[tokio::test]
async fn a_subscription_resumes_from_a_version_and_gets_410_when_that_is_compacted() {
    let store = store_with_pods(1);
    let version = store.version();
    store.create(&Resource::PODS, pod("later", &json!({}))).unwrap();
    let from = |version| store.subscribe_from(&Resource::PODS, None, &Selector::default(), version).unwrap();
    let event = from(version).next().await.unwrap();
    assert_eq!((event.kind, &event.object["metadata"]["name"]), (EventKind::Added, &json!("later")));
    store.lock().compact();
    let error = from(version).next().await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (410, "Expired"));
    let mut fresh = from(store.version());
    store.delete(&Resource::PODS, "default", "later").unwrap();
    let event = fresh.next().await.unwrap();
    assert_eq!(event.kind, EventKind::Deleted);
    assert_eq!(event.object["metadata"]["resourceVersion"], json!(store.version().to_string()));
}

#[test]
fn a_bookmark_never_skips_unread_changes() {
    let store = store_with_pods(1);
    let (_, mut events) = store.subscribe(&Resource::PODS, None, &Selector::default()).unwrap();
    assert_eq!(events.bookmark(), Some(store.version()));
    store.create(&Resource::NAMESPACES, json!({"metadata": {"name": "other"}})).unwrap();
    assert_eq!(events.bookmark(), Some(store.version()), "changes elsewhere advance it");
    store.create(&Resource::PODS, pod("new", &json!({}))).unwrap();
    assert_eq!(events.bookmark(), None);
    assert!(events.try_next().unwrap().is_some());
    assert_eq!(events.bookmark(), Some(store.version()));
}
