//! The manifests against the types they are made from, and classes as an API server may hold them.

use std::fs;
use std::path::PathBuf;

use kube::CustomResourceExt;
use plimsoll_sizing::policy::{Bound, Mode, Policy, Window};
use serde_json::{Value, json};

use super::*;

/// Set to write the manifest of the CustomResourceDefinition instead of comparing it.
const REGENERATE: &str = "PLIMSOLL_REGENERATE";

fn manifest(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "manifests", "components", "resizing", name].iter().collect()
}

fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(manifest(name)).unwrap()).unwrap()
}

fn facts(object: &Value) -> ClassFacts {
    serde_json::from_str::<ClassObject>(&object.to_string()).unwrap().facts().unwrap()
}

fn problem(object: &Value) -> String {
    facts(object).policy.unwrap_err()
}

/// A class with the least that it must say.
fn least() -> Value {
    json!({
        "metadata": {"name": "batch", "uid": "u1", "generation": 3},
        "spec": {
            "rank": 7,
            "cpu": {"targetOfLimit": 0.5, "targetOfRequest": 1},
            "memory": {"targetOfLimit": 0.8, "targetOfRequest": 0.9},
        },
    })
}

#[test]
fn the_manifest_of_the_definition_is_what_the_types_say() {
    let generated = serde_json::to_value(SLAClass::crd()).unwrap();
    if std::env::var_os(REGENERATE).is_some() {
        let head = format!(
            "# Made from aggregator/src/cluster/classes/schema.rs by\n#   {REGENERATE}=1 cargo test -p plimsoll-aggregator --lib the_manifest_of_the_definition\n"
        );
        let text = head + &serde_saphyr::to_string(&generated).unwrap();
        fs::write(manifest("slaclass-definition.yaml"), text).unwrap();
    }
    assert_eq!(documents("slaclass-definition.yaml"), [generated], "run it with {REGENERATE}=1");
}

#[test]
fn the_classes_that_ship_are_those_that_the_demo_and_the_benchmarks_use() {
    let shipped = documents("classes.yaml");
    let names: Vec<&str> = shipped.iter().map(|class| class["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gold", "silver", "bronze"]);
    for class in &shipped {
        let facts = facts(class);
        assert_eq!(facts.policy.as_ref().ok(), Policy::builtin(&facts.name).as_ref(), "{}", facts.name);
        let known: Value =
            serde_json::to_value(serde_json::from_value::<SlaClassSpec>(class["spec"].clone()).unwrap())
                .unwrap();
        let typed = class["spec"].as_object().unwrap();
        assert!(typed.keys().all(|key| known.get(key).is_some()), "{}: a field that is none", facts.name);
    }
}

#[test]
fn what_a_class_does_not_say_is_the_safe_choice() {
    let ClassFacts { name, uid, generation, policy } = facts(&least());
    assert_eq!((name.as_str(), uid.as_deref(), generation), ("batch", Some("u1"), Some(3)));
    let policy = policy.unwrap();
    assert_eq!((policy.rank, policy.weight, policy.mode), (7, 1.0, Mode::Recommend));
    for resource in [&policy.cpu, &policy.memory] {
        assert_eq!((resource.min_allowed, resource.max_allowed), (Bound::OfOriginal(100), None));
        assert_eq!((resource.max_step, resource.allow_increase), (1.0, true));
    }
    assert_eq!((policy.cpu.allow_decrease, policy.memory.allow_decrease), (true, false));
    let seconds = [policy.up_cooldown, policy.down_hold, policy.memory_window].map(|time| time.as_secs());
    assert_eq!((seconds, policy.allow_restart, policy.schedule), ([20, 1200, 21_600], false, vec![]));
}

#[test]
fn bounds_are_quantities_in_text_or_number_and_percentages() {
    let bound = |resource: &str, value: Value| {
        let mut class = least();
        class["spec"][resource]["minAllowed"] = value;
        let policy = facts(&class).policy.unwrap();
        if resource == "cpu" { policy.cpu.min_allowed } else { policy.memory.min_allowed }
    };
    assert_eq!(bound("cpu", json!("10m")), Bound::Amount(10));
    assert_eq!(bound("cpu", json!(2)), Bound::Amount(2000));
    assert_eq!(bound("cpu", json!(0.5)), Bound::Amount(500));
    assert_eq!(bound("memory", json!("16Mi")), Bound::Amount(16 << 20));
    assert_eq!(bound("memory", json!("150%")), Bound::OfOriginal(150));
}

#[test]
fn windows_are_days_and_times() {
    let mut class = least();
    class["spec"]["schedule"] = json!([
        {"days": ["Sunday", "Monday", "Sunday"], "from": "22:30", "to": "06:00"},
        {"from": "00:00", "to": "00:00"},
    ]);
    let expected =
        [Window { days: vec![1, 7], from: 1350, to: 360 }, Window { days: vec![], from: 0, to: 0 }];
    assert_eq!(facts(&class).policy.unwrap().schedule, expected);
}

#[test]
fn the_field_that_is_wrong_is_named_and_the_class_keeps_its_name() {
    let table = [
        ("/rank", json!(-1), "spec.rank: below 0"),
        ("/rank", json!("first"), "spec.rank: invalid type: string, expected i32"),
        ("/rank", json!(1e300), "spec.rank: "),
        ("/weight", json!(0), "spec.weight: not above 0 and at most 1000"),
        ("/mode", json!("Auto"), "spec.mode: unknown variant, expected `Recommend` or `Apply`"),
        ("/cpu", json!(null), "spec.cpu: invalid type: null, expected struct ResourceSpec"),
        ("/cpu/targetOfLimit", json!(0), "spec.cpu.targetOfLimit: not above 0 and at most 1"),
        ("/cpu/targetOfRequest", json!(1.01), "spec.cpu.targetOfRequest: not above 0 and at most 1"),
        (
            "/memory/targetOfLimit",
            json!("0.7"),
            "spec.memory.targetOfLimit: invalid type: string, expected f64",
        ),
        ("/cpu/maxStep", json!(2), "spec.cpu.maxStep: not above 0 and at most 1"),
        ("/cpu/minAllowed", json!("-1"), "spec.cpu.minAllowed: neither a quantity above 0"),
        ("/cpu/minAllowed", json!("a lot"), "spec.cpu.minAllowed: neither a quantity above 0"),
        ("/memory/minAllowed", json!("+50%"), "spec.memory.minAllowed: not a percentage of digits"),
        ("/memory/minAllowed", json!("9999999999%"), "spec.memory.minAllowed: not a percentage of digits"),
        ("/memory/minAllowed", json!(["1"]), "spec.memory.minAllowed: not a quantity or a percentage"),
        ("/memory/maxAllowed", json!("50%"), "spec.memory.minAllowed: above maxAllowed"),
        ("/cpu/maxAllowed", json!("1".repeat(33)), "spec.cpu.maxAllowed: longer than 32 characters"),
        ("/upCooldown", json!("10"), "spec.upCooldown: not hours, minutes and seconds"),
        ("/upCooldown", json!(""), "spec.upCooldown: not hours, minutes and seconds"),
        ("/downHold", json!("-5m"), "spec.downHold: not hours, minutes and seconds"),
        ("/downHold", json!("5s1h"), "spec.downHold: not hours, minutes and seconds"),
        ("/memoryWindow", json!(6), "spec.memoryWindow: invalid type: integer, expected a string"),
        (
            "/schedule",
            json!([{"from": "24:00", "to": "06:00"}]),
            "spec.schedule[0].from: not a time such as 22:30",
        ),
        (
            "/schedule",
            json!([{"from": "22:00", "to": "6:00"}]),
            "spec.schedule[0].to: not a time such as 22:30",
        ),
        (
            "/schedule",
            json!([{"days": ["Mon"], "from": "22:00", "to": "06:00"}]),
            "spec.schedule[0].days[0]: unknown variant",
        ),
        (
            "/schedule",
            json!(vec![json!({"from": "22:00", "to": "06:00"}); 33]),
            "spec.schedule: more than 32 windows",
        ),
    ];
    for (field, value, expected) in table {
        let mut class = least();
        let (parent, key) = field.rsplit_once('/').unwrap();
        class["spec"].pointer_mut(parent).unwrap()[key] = value.clone();
        assert_eq!(facts(&class).name, "batch");
        let problem = problem(&class);
        assert!(problem.starts_with(expected), "{field} {value}: {problem}");
    }
}

#[test]
fn a_class_without_a_spec_or_with_an_odd_status_is_still_a_class() {
    assert_eq!(problem(&json!({"metadata": {"name": "batch"}})), "spec: it has none");
    assert!(problem(&json!({"metadata": {"name": "batch"}, "spec": 5})).starts_with("spec..: invalid type"));
    assert!(
        problem(&json!({"metadata": {"name": "batch"}, "spec": {}})).starts_with("spec..: missing field")
    );
    let mut odd = least();
    odd["status"] = json!({"pods": "many", "conditions": 5});
    odd["metadata"]["generation"] = json!("three");
    assert!(facts(&odd).policy.is_ok());
    assert!(serde_json::from_str::<ClassObject>("{}").unwrap().facts().is_err(), "it has no name");
}
