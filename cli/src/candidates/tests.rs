//! Where a pod stands, and the list.

use serde_json::{Value, from_value, json};

use super::*;
use crate::live::PodId;

fn live(pod: &Value) -> Live {
    let id = PodId { namespace: "shop".into(), name: "web".into(), uid: "u".into() };
    Live { id, pod: serde_json::from_str(&pod.to_string()).unwrap() }
}

fn sized() -> Value {
    json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}}}]}})
}

fn known(fields: Value) -> PodStatus {
    let mut pod = json!({
        "namespace": "shop", "name": "web", "uid": "u", "cpu": {"band": "low"}, "memory": {"band": "low"}, "labeled": {},
    });
    let Value::Object(fields) = fields else { panic!("{fields}") };
    pod.as_object_mut().unwrap().extend(fields);
    from_value(pod).unwrap()
}

fn of(pod: &Value, fields: Value) -> (State, String) {
    let found = candidate(&live(pod), Some(&known(fields)));
    (found.state, found.why)
}

#[test]
fn the_aggregator_decides_about_pods_with_a_class() {
    let resize = |mode: &str| json!({"mode": mode, "state": "idle", "containers": []});
    assert_eq!(
        of(&sized(), json!({"class": "gold", "resize": resize("Apply")})),
        (State::Managed, "resized in place".into())
    );
    let (state, why) = of(&sized(), json!({"class": "gold", "resize": resize("Recommend")}));
    assert!(state == State::Managed && why.contains("nothing is written"), "{why}");
    let mut refused = resize("Apply");
    refused["refused"] = json!("Kueue manages it");
    assert_eq!(
        of(&sized(), json!({"class": "gold", "resize": refused})),
        (State::Refused, "Kueue manages it".into())
    );
    let pending = json!({"spec": {"containers": [{"name": "app"}]}, "status": {"qosClass": "BestEffort"}});
    let (state, why) = of(&pending, json!({"class": "gold", "resize": resize("Apply")}));
    assert!(state == State::Refused && why.contains("BestEffort"), "whether or not it was planned: {why}");
    let mut no_class = resize("Apply");
    (no_class["refused"], no_class["refusal"]) = (json!("no class is chosen"), json!("no_class"));
    assert_eq!(of(&sized(), json!({"resize": no_class})).0, State::Eligible);
    let (state, why) = of(&sized(), json!({"class": "gold"}));
    assert!(state == State::Refused && why.contains("--resize"), "{why}");
}

#[test]
fn without_a_class_a_pod_is_eligible_unless_no_class_can_change_it() {
    let with = |path: &str, value: Value| {
        let mut pod = sized();
        pod.pointer_mut(path).unwrap().as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        of(&pod, json!({}))
    };
    let (state, why) = of(&sized(), json!({}));
    assert!(state == State::Eligible && why.contains(keys::SLA), "{why}");
    for (path, value, expected) in [
        ("", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}), "static pod"),
        ("/spec", json!({"priorityClassName": "system-node-critical"}), "critical"),
        ("/spec", json!({"resources": {"limits": {"cpu": "1"}}}), "spec.resources"),
        (
            "/spec",
            json!({"containers": [{"name": "app", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}),
            "BestEffort",
        ),
        ("", json!({"status": {"qosClass": "BestEffort"}}), "BestEffort"),
        ("", json!({"status": {"phase": "Succeeded"}}), "finished"),
    ] {
        let (state, why) = with(path, value);
        assert!(state == State::Refused && why.contains(expected), "{expected}: {why}");
    }
    assert_eq!(
        of(&sized(), json!({"leftAlone": "pod_ignored"})),
        (State::Refused, "ignored by its label".into())
    );
}

#[test]
fn a_pod_that_the_aggregator_does_not_know_is_not_called_eligible() {
    let found = candidate(&live(&sized()), None);
    assert!(found.state == State::Refused && found.why.contains("does not know it"), "{found:?}");
}

#[test]
fn the_list_ends_with_the_counts() {
    let mut eligible = candidate(&live(&sized()), Some(&known(json!({}))));
    eligible.name = "web\u{1b}".into();
    let managed = json!({"class": "gold", "resize": {"mode": "Apply", "state": "idle", "containers": []}});
    let managed = candidate(&live(&sized()), Some(&known(managed)));
    let expected = "\
POD             CLASS  STATE     WHY
shop/web\\u{1b}  -      eligible  label plimsoll.dev/sla on the pod, its template or its namespace
shop/web        gold   managed   resized in place
1 managed, 1 eligible, 0 refused";
    assert_eq!(lines(&[eligible, managed]).join("\n"), expected);
}
