//! What a watch makes of its events.

use kube::core::{ObjectList, WatchEvent as KubeEvent};
use plimsoll_contract::{PodName, keys};
use prometheus::Registry;
use serde_json::{Value, json};

use super::*;
use crate::facts::ObjectKey;
use crate::facts::{NamespaceFacts, PodFacts};
use crate::input::PodKey;

fn new<K: Kind>() -> Watch<K> {
    Watch::new(Metrics::register(&Registry::new()).unwrap())
}

fn object<T: Content>(object: &Value) -> Object<T> {
    serde_json::from_str(&object.to_string()).unwrap()
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid of {name}"), "resourceVersion": "7"},
        "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

fn key(name: &str) -> PodKey {
    PodKey { pod: PodName::new("shop", name), uid: format!("uid of {name}") }
}

/// An input in short.
fn short(input: &Input) -> String {
    let names =
        |all: &[PodFacts]| all.iter().map(|facts| facts.pod.to_string()).collect::<Vec<_>>().join(" ");
    match input {
        Input::Pods(WatchEvent::Listed(all)) => format!("listed {}", names(all)),
        Input::Pods(WatchEvent::Changed(facts)) => format!("changed {}", facts.pod),
        Input::Pods(WatchEvent::Deleted(key)) => format!("deleted {}", key.pod),
        Input::Pods(WatchEvent::Unreadable(key, problem)) => format!("unreadable {}: {problem}", key.pod),
        other => format!("{other:?}"),
    }
}

/// What pods do in a watch, and the inputs that follow.
fn apply(watch: &mut Watch<Pods>, event: Event<Value>) -> Vec<String> {
    let event = match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(pod) => Event::InitApply(object(&pod)),
        Event::Apply(pod) => Event::Apply(object(&pod)),
        Event::Delete(pod) => Event::Delete(object(&pod)),
    };
    watch.apply(event, &Readiness::new()).iter().map(short).collect()
}

fn list(watch: &mut Watch<Pods>, pods: &[Value]) -> Vec<String> {
    assert!(apply(watch, Event::Init).is_empty());
    for pod in pods {
        assert!(apply(watch, Event::InitApply(pod.clone())).is_empty());
    }
    apply(watch, Event::InitDone)
}

const PROBLEM: &str = "spec.containers[0].resources.requests.cpu: not an amount, such as 500m or 1.5Gi";

#[test]
fn a_try_that_has_only_begun_is_not_a_recovery() {
    let readiness = Readiness::new();
    readiness.failed(Part::Pods, "nobody answers");
    let mut watch = Watch::<Pods> { failing: true, ..new() };
    watch.apply(Event::Init, &readiness);
    assert!(readiness.text().contains("pods: not yet (nobody answers)"), "{}", readiness.text());
    watch.apply(Event::InitDone, &readiness);
    assert!(readiness.text().contains("pods: ready\n"), "{}", readiness.text());
}

#[test]
fn one_unreadable_pod_does_not_keep_a_list_from_being_ready_and_is_handed_over_once() {
    let mut watch = new();
    let pods = [pod("a", "1"), pod("b", "much"), json!(5), pod("c", "1")];
    let unreadable = format!("unreadable shop/b: {PROBLEM}");
    assert_eq!(list(&mut watch, &pods), ["listed shop/a shop/c".to_owned(), unreadable]);
    assert_eq!(watch.unreadable.len(), 2, "the one without a name too");
    assert_eq!(list(&mut watch, &pods), ["listed shop/a shop/c"], "a list after a lost watch");
    assert_eq!(list(&mut watch, &[pod("a", "1"), pod("b", "2")]), ["listed shop/a shop/b"]);
    assert_eq!(watch.unreadable.len(), 0);
    list(&mut watch, &pods);
    assert_eq!(list(&mut watch, &[pod("a", "1")]), ["listed shop/a", "deleted shop/b"]);
    assert_eq!(watch.unreadable.len(), 0);
}

#[test]
fn a_pod_that_becomes_unreadable_is_handed_over_with_each_new_problem_until_it_can_be_read() {
    let mut watch = new();
    assert_eq!(list(&mut watch, &[pod("a", "1")]), ["listed shop/a"]);
    let unreadable = [format!("unreadable shop/a: {PROBLEM}")];
    assert_eq!(apply(&mut watch, Event::Apply(pod("a", "much"))), unreadable);
    assert!(apply(&mut watch, Event::Apply(pod("a", "much"))).is_empty(), "nothing new");
    let mut other = pod("a", "1");
    other["status"] = json!({"containerStatuses": [{"name": 5}]});
    let expected =
        "unreadable shop/a: status.containerStatuses[0].name: invalid type: integer, expected a string";
    assert_eq!(apply(&mut watch, Event::Apply(other)), [expected]);
    let mut again = pod("a", "much");
    again["metadata"]["uid"] = json!("another");
    assert_eq!(apply(&mut watch, Event::Apply(again)), unreadable, "another pod of its name");
    assert_eq!(apply(&mut watch, Event::Apply(pod("a", "1"))), ["changed shop/a"]);
    assert_eq!(apply(&mut watch, Event::Apply(pod("a", "much"))), unreadable);
    assert_eq!(watch.unreadable.len(), 1);
}

#[test]
fn the_deletion_of_a_pod_is_noticed_also_when_the_rest_of_it_is_unreadable() {
    let mut watch = new();
    list(&mut watch, &[pod("web", "much")]);
    let deleted = watch.apply(Event::Delete(object(&pod("web", "much"))), &Readiness::new());
    assert_eq!(deleted, [Input::Pods(WatchEvent::Deleted(key("web")))]);
    assert_eq!(watch.unreadable.len(), 0);
}

#[test]
fn the_log_names_many_unreadable_objects_and_not_each_of_ten_thousand() {
    let mut watch = new::<Pods>();
    let now = Instant::now().into_std();
    let mut named = |now| (0..10_000).filter(|_| watch.log.try_acquire(now)).count();
    assert_eq!(named(now), MAX_LOGGED as usize);
    assert_eq!(named(now + LOG_WINDOW / 2), MAX_LOGGED as usize / 2);
    assert_eq!(named(now + LOG_WINDOW * 2), MAX_LOGGED as usize);
}

#[test]
fn a_namespace_is_read_from_its_metadata_alone() {
    let labels = json!({keys::IGNORE: "true", keys::SLA: "gold", "other": "x"});
    let namespace = json!({"metadata": {"name": "shop", "uid": "u", "labels": labels, "managedFields": [{"time": "10000-01-01T23:58:59Z"}]}});
    let inputs = new::<Namespaces>().apply(Event::Apply(object(&namespace)), &Readiness::new());
    let facts = NamespaceFacts {
        uid: Some("u".into()),
        ignore: crate::facts::Ignore::Yes,
        class: Some("gold".into()),
        ..NamespaceFacts::bare("shop")
    };
    assert_eq!(inputs, [Input::Namespaces(WatchEvent::Changed(Box::new(facts)))]);
    assert!(<Object<<Namespaces as Kind>::Object> as kube::Resource>::metadata_api());
}

#[test]
fn writes_continue_only_while_the_pause_switch_is_false_or_absent() {
    let table = [
        (json!({}), false),
        (json!({"data": null}), false),
        (json!({"data": {"paused": ""}}), false),
        (json!({"data": {"paused": "false", "other": "true"}}), false),
        (json!({"data": {"paused": " true\n"}}), true),
        (json!({"data": {"paused": "yes"}}), true),
        (json!({"data": {"paused": "y".repeat(1 << 20)}}), true),
        (json!({"data": {"paused": 5}}), true),
        (json!({"data": 5}), true),
    ];
    for (map, paused) in table {
        let inputs = new::<PauseSwitch>().apply(Event::Apply(object(&map)), &Readiness::new());
        assert_eq!(inputs, [Input::Paused(paused)], "{inputs:?}");
    }
    assert_eq!(PauseSwitch::input(WatchEvent::Listed(Vec::new())), Input::Paused(false));
    assert_eq!(PauseSwitch::input(WatchEvent::Deleted(())), Input::Paused(false));
}

#[test]
fn a_class_that_is_wrong_is_listed_with_its_problem_beside_those_that_are_whole() {
    let resource = json!({"targetOfLimit": 0.5, "targetOfRequest": 0.75});
    let class = |name: &str, rank: Value| json!({"metadata": {"name": name, "uid": "u", "generation": 1}, "spec": {"rank": rank, "cpu": resource, "memory": resource}});
    let list = json!({"kind": "SLAClassList", "apiVersion": "plimsoll.dev/v1alpha1", "metadata": {}, "items": [class("a", json!(1)), class("b", json!("x")), json!(5)]});
    let events = [
        json!({"type": "MODIFIED", "object": class("a", json!(-1))}),
        json!({"type": "DELETED", "object": class("b", json!(null))}),
    ];
    let said: Vec<_> = inputs::<Classes>(&list, &events)
        .into_iter()
        .map(|input| match input {
            Input::Classes(WatchEvent::Listed(all)) => all
                .iter()
                .map(|facts| (facts.name.clone(), facts.policy.clone().map(|policy| policy.rank)))
                .collect(),
            Input::Classes(WatchEvent::Changed(facts)) => {
                vec![(facts.name, facts.policy.map(|policy| policy.rank))]
            }
            Input::Classes(WatchEvent::Deleted(name)) => vec![(name, Err("deleted".to_owned()))],
            other => panic!("{other:?}"),
        })
        .collect();
    let wrong = |text: &str| Err(text.to_owned());
    let listed = vec![
        ("a".to_owned(), Ok(1)),
        ("b".to_owned(), wrong("spec.rank: invalid type: string, expected i32")),
    ];
    assert_eq!(
        said,
        [
            listed,
            vec![("a".to_owned(), wrong("spec.rank: below 0"))],
            vec![("b".to_owned(), wrong("deleted"))]
        ]
    );
}

#[test]
fn an_odd_autoscaler_quota_or_limit_range_leaves_the_others_untouched() {
    let named =
        |name: &str, spec: Value| json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
    let list = |specs: [Value; 2]| {
        let [odd, whole] = specs;
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [named("odd", odd), json!(5), named("whole", whole)]})
    };
    fn words<F: std::fmt::Debug>(event: &WatchEvent<F, ObjectKey>) -> String {
        match event {
            WatchEvent::Listed(all) => format!("{} listed", all.len()),
            WatchEvent::Unreadable(key, problem) => format!("{}: {problem}", key.name),
            other => format!("{other:?}"),
        }
    }
    let target = json!({"scaleTargetRef": {"kind": "Deployment", "name": "web"}});
    let said = inputs::<Autoscalers>(&list([json!({}), target]), &[]);
    let said: Vec<_> = said
        .iter()
        .map(|input| if let Input::Autoscalers(event) = input { words(event) } else { panic!("{input:?}") })
        .collect();
    assert_eq!(said, ["1 listed", "odd: spec: missing field `scaleTargetRef`"]);

    let said = inputs::<Quotas>(
        &list([json!({"hard": {"limits.cpu": [1]}}), json!({"hard": {"limits.cpu": 1}})]),
        &[],
    );
    let said: Vec<_> = said
        .iter()
        .map(|input| if let Input::Quotas(event) = input { words(event) } else { panic!("{input:?}") })
        .collect();
    assert!(said[0] == "1 listed" && said[1].starts_with("odd: spec.hard.limits.cpu: "), "{said:?}");

    let said = inputs::<LimitRanges>(&list([json!({"limits": 5}), json!({"limits": []})]), &[]);
    let said: Vec<_> = said
        .iter()
        .map(|input| if let Input::LimitRanges(event) = input { words(event) } else { panic!("{input:?}") })
        .collect();
    assert!(said[0] == "1 listed" && said[1].starts_with("odd: spec.limits: "), "{said:?}");
}

/// The inputs that follow from a list and from the events of a watch after it, both as the API server sends them.
pub(crate) fn inputs<K: Kind>(list: &Value, events: &[Value]) -> Vec<Input> {
    let (mut watch, readiness) = (new::<K>(), Readiness::new());
    let list: ObjectList<Object<K::Object>> = serde_json::from_str(&list.to_string()).unwrap();
    let mut inputs = watch.apply(Event::Init, &readiness);
    for object in list.items {
        inputs.extend(watch.apply(Event::InitApply(object), &readiness));
    }
    inputs.extend(watch.apply(Event::InitDone, &readiness));
    for event in events {
        let event = match serde_json::from_str(&event.to_string()).unwrap() {
            KubeEvent::Added(object) | KubeEvent::Modified(object) => Event::Apply(object),
            KubeEvent::Deleted(object) => Event::Delete(object),
            other => panic!("{other:?}"),
        };
        inputs.extend(watch.apply(event, &readiness));
    }
    inputs
}

#[test]
fn lists_and_events_are_read_from_their_text() {
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod("a", "1"), pod("b", "much")]});
    let events = [
        json!({"type": "MODIFIED", "object": pod("a", "much")}),
        json!({"type": "DELETED", "object": pod("b", "much")}),
    ];
    let inputs = inputs::<Pods>(&list, &events);
    let (a, b) = (format!("unreadable shop/a: {PROBLEM}"), format!("unreadable shop/b: {PROBLEM}"));
    let expected = ["listed shop/a".to_owned(), b, a, "deleted shop/b".to_owned()];
    assert_eq!(inputs.iter().map(short).collect::<Vec<_>>(), expected);
}
