//! One object that cannot be read, among others that can: from the text of the API server's responses to the planned writes.

use std::collections::BTreeSet;

use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;
use crate::cluster::watch::Pods;
use crate::cluster::watch::tests::inputs;

const PODS: usize = 4;
const PROBLEM: &str = "status.phase: invalid type: integer, expected a string";

fn key(n: usize) -> PodKey {
    PodKey { pod: name(n), uid: uid(n).as_str().into() }
}

fn unreadable(n: usize) -> Input {
    Input::Pods(WatchEvent::Unreadable(key(n), PROBLEM.into()))
}

#[test]
fn a_pod_that_becomes_unreadable_is_forgotten_without_blame_and_labeled_again_once_it_can_be_read() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 0)]);
    for n in [1, 2] {
        harness.see(0, load(n, Band::Low, Band::Low));
    }
    assert_eq!(writes(&harness.live(20)).len(), 2);

    let said = harness.step(unreadable(1));
    let note = "Plimsoll cannot read this object: status.phase: invalid type: integer, expected a string. Until that field is corrected, its \
                load is not known to Plimsoll, and its labels do not change. Others are not affected.";
    let about = Subject::Pod { pod: name(1), uid: uid(1).as_str().into() };
    assert_eq!(said, [Action::Publish(KubeEvent::warning(about, "Unreadable", note.into()))]);
    assert_eq!(harness.core.pod(&name(1)), None);
    let status = harness.core.status(harness.now(), "one", None, None);
    assert_eq!(status.unreadable, [format!("pod shop/p1: {PROBLEM}")]);

    // Its node goes on reporting it, for long enough to be suspected of lies.
    for n in [1, 2] {
        harness.see(0, load(n, Band::High, Band::Low));
    }
    let all = writes(&harness.live(120));
    assert_eq!(
        all.iter().map(|write| &write.pod).collect::<Vec<_>>(),
        [&name(2)],
        "no label is written on it"
    );
    let rejected = [RejectedPod { uid: uid(1), reason: PodRejection::UnknownPod }];
    assert_eq!(harness.core.state.answer(&node(0), 0).rejected, rejected);

    let again = harness.show(&name(1));
    assert_eq!(again, [], "nothing is known of it yet");
    let all = writes(&harness.live(60));
    assert!(
        all.iter().any(|write| write.pod == name(1) && write.labels()[keys::CPU_BAND] == "high"),
        "{all:?}"
    );
    assert!(harness.core.status(harness.now(), "one", None, None).unreadable.is_empty());
}

#[test]
fn an_outcome_that_arrives_after_its_pod_became_unreadable_changes_nothing() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::Low)]));
    harness.step(unreadable(1));
    assert_eq!(harness.outcome(&write, WriteResult::written()), []);
    assert_eq!(harness.live(60), []);
}

#[test]
fn a_pod_that_is_readable_again_gets_no_second_write_beside_one_in_flight() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let high = || vec![load(1, Band::High, Band::Low)];
    let write = only(&harness.report(0, true, high()));
    harness.step(unreadable(1));
    assert_eq!(writes(&harness.show(&name(1))), []);
    assert_eq!(writes(&harness.report(0, true, high())), []);
    assert_eq!(writes(&harness.outcome(&write, WriteResult::written())), [], "it was the right one");
}

#[test]
fn a_pod_that_is_deleted_or_listed_is_no_longer_unreadable() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let count = |harness: &Harness| harness.core.state.unreadable.iter().count();
    for input in [
        Input::Pods(WatchEvent::Deleted(key(1))),
        Input::Pods(WatchEvent::Listed(vec![facts(1, 0)])),
        Input::Pods(WatchEvent::Changed(Box::new(facts(1, 0)))),
    ] {
        harness.step(unreadable(1));
        assert_eq!(count(&harness), 1);
        harness.step(input);
        assert_eq!(count(&harness), 0);
    }
}

#[test]
fn an_unreadable_node_or_namespace_does_not_stop_the_others() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 1)]);
    let said = harness.step(Input::Nodes(WatchEvent::Unreadable(node(1), "metadata.name: odd".into())));
    assert_eq!(events(&said)[0].about, Subject::Node { node: node(1), uid: None });
    let lab = Input::Namespaces(WatchEvent::Unreadable("lab".into(), "metadata.labels: odd".into()));
    assert_eq!(events(&harness.step(lab))[0].about, Subject::Namespace { name: "lab".into(), uid: None });
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(write.pod, name(1));
    let report = harness.next_report(1, true, vec![load(2, Band::High, Band::Low)]);
    assert!(harness.admits(&report).is_err(), "nothing is known of that node");
    harness.step(node_changed(&node(1)));
    assert_eq!(harness.admits(&report), Ok(()));
    harness.step(Input::Namespaces(WatchEvent::Changed(Box::new(namespace("lab")))));
    assert_eq!(harness.core.state.unreadable.iter().count(), 0);
}

#[test]
fn many_unreadable_pods_are_announced_ten_a_minute_by_the_leader_and_namespaces_take_turns() {
    let mut harness = Harness::new(Vec::new());
    harness.step(Input::Leading(None));
    let odd = |namespace: &str, n: usize| {
        let pod = PodName::new(namespace, &format!("p{n}"));
        Input::Pods(WatchEvent::Unreadable(PodKey { pod, uid: "u".into() }, PROBLEM.into()))
    };
    for n in 0..25 {
        assert_eq!(harness.step(odd("aaa", n)), []);
    }
    harness.step(odd("zzz", 1));
    let told = events(&harness.step(Input::Leading(Some(9))));
    assert_eq!(told.len(), 10);
    let is_other =
        |event: &KubeEvent| matches!(&event.about, Subject::Pod { pod, .. } if &*pod.namespace == "zzz");
    assert!(told.iter().any(is_other), "{told:?}");
    assert_eq!(events(&harness.wait(59)), []);
    assert_eq!(events(&harness.wait(121)).len(), 16);
}

// One pod of a list, mutated.

/// Pod `n` on node n0 as the API server sends it.
fn pod(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("p{n}"), "namespace": "shop", "uid": uid(n).as_str(), "resourceVersion": "7", "generation": 1,
            "creationTimestamp": "2026-01-01T10:00:00Z",
            "labels": {"app": "web", keys::CPU_BAND: "low", keys::CPU_BASIS: "limit", keys::IGNORE: "false"},
            "annotations": {keys::EVIDENCE: "cpu low", keys::EPOCH: "3", "kubernetes.io/config.hash": "x", "other": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}],
            "managedFields": [{"manager": "plimsoll", "operation": "Apply", "time": "2026-01-01T10:00:00Z", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {
            "nodeName": "n0", "serviceAccountName": "default", "resources": {"limits": {"cpu": "1"}},
            "containers": [{
                "name": "app", "image": "app:1", "env": [{"name": "A", "value": "b"}],
                "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m"}},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            }],
            "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
        },
        "status": {
            "phase": "Running", "qosClass": "Burstable", "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T10:00:00Z"}],
            "containerStatuses": [{
                "name": "app", "containerID": format!("containerd://{}", container(n).as_str()), "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T10:00:00Z"}}, "allocatedResources": {"cpu": "250m"},
                "resources": {"requests": {"cpu": "250m"}},
            }],
        },
    })
}

/// The pointers of every value inside of a value.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let here = format!("{at}/{key}");
        all.push(here.clone());
        pointers(value, &here, all);
    }
}

/// Values of every type, and those that hostile objects had or may have.
fn odd_value() -> impl Strategy<Value = Value> {
    let of_others =
        [uid(0).as_str().to_owned(), uid(0).as_str().replace('-', ""), container(0).as_str().to_owned()];
    let texts = [
        "",
        "true",
        "n0",
        "elsewhere",
        "Not A Name",
        "10000-01-01T23:58:59Z",
        "1e999",
        "-5",
        "\u{1b}[2J\u{0}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        prop::sample::select(of_others.to_vec()).prop_map(Value::from),
        Just(Value::from("x".repeat(256 << 10))),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z:/.]{1,9}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What is written on the pods other than `odd`: after a list, after what the watch shows then, and in the minute after that.
fn writes_on_others(list: &[Value], changed: Option<&Value>, odd: usize) -> BTreeSet<String> {
    let list =
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": list});
    let event = changed.map(|pod| json!({"type": "MODIFIED", "object": pod}));
    let mut harness = Harness::with(Settings::default(), Vec::new(), 2);
    let mut all = Vec::new();
    let mut step = |harness: &mut Harness, actions: Vec<Action>| {
        let mut open = writes(&actions);
        while let Some(write) = open.pop() {
            open.extend(writes(&harness.outcome(&write, WriteResult::written())));
            all.push(write);
        }
    };
    for input in inputs::<Pods>(&list, event.as_slice()) {
        let actions = harness.step(input);
        step(&mut harness, actions);
    }
    let bands = [Band::High, Band::Moderate, Band::Low, Band::High];
    let loads = (0..PODS).map(|n| load(n, bands[n], Band::Low)).collect();
    let actions = harness.report(0, true, loads);
    step(&mut harness, actions);
    for _ in 0..30 {
        let actions = harness.wait(1);
        step(&mut harness, actions);
    }
    // It may have got another name, or another uid.
    let others = all.iter().filter(|write| write.pod != name(odd) && write.uid != uid(odd).as_str());
    others
        .map(|write| format!("{} {:?} {} {}", write.pod, write.labels(), write.from, write.reason.as_str()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_random_object_of_a_list_mutated_in_any_field_never_changes_what_is_decided_for_the_others(
        odd in 0..PODS,
        at in any::<Index>(),
        value in odd_value(),
        later in any::<bool>(),
    ) {
        let all: Vec<Value> = (0..PODS).map(pod).collect();
        let mut places = Vec::new();
        pointers(&all[odd], "", &mut places);
        let place = at.get(&places);
        // The API server gives no uid twice, and no name.
        prop_assume!(!(place == "/metadata/uid" && value == uid(0).as_str()));
        let mut mutated = all[odd].clone();
        *mutated.pointer_mut(place).unwrap() = value;

        let expected = writes_on_others(&all, None, odd);
        prop_assert_eq!(expected.len(), PODS - 1, "{:?}", expected);
        let got = if later {
            writes_on_others(&all, Some(&mutated), odd)
        } else {
            let mut list = all;
            list[odd] = mutated;
            writes_on_others(&list, None, odd)
        };
        prop_assert_eq!(got, expected, "{}", place);
    }
}
