use serde_json::{Value, json};

use super::*;

fn quota(spec: &Value, status: &Value) -> Result<QuotaFacts, serde_json::Error> {
    let object = json!({"metadata": {"namespace": "shop", "name": "q"}, "spec": spec, "status": status});
    serde_json::from_str::<QuotaObject>(&object.to_string()).map(|object| object.facts().unwrap())
}

fn range(limits: &Value) -> Result<LimitRangeFacts, serde_json::Error> {
    let object = json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"limits": limits}});
    serde_json::from_str::<LimitRangeObject>(&object.to_string()).map(|object| object.facts().unwrap())
}

const fn value(hard: u64, used: Option<u64>) -> Option<QuotaValue> {
    Some(QuotaValue { hard, used })
}

#[test]
fn a_quota_bounds_requests_under_both_names_and_limits_and_rounds_against_us() {
    let hard = json!({"requests.cpu": "4", "cpu": "3500m", "memory": "8Gi", "limits.cpu": "10.0009", "pods": "50", "requests.storage": "1Ti"});
    let used = json!({"requests.cpu": "1", "cpu": "1", "memory": 1000, "limits.cpu": "0.0001"});
    let facts = quota(&json!({"hard": hard}), &json!({"hard": hard, "used": used})).unwrap();
    assert_eq!(
        (facts.requests.cpu, facts.requests.memory),
        (value(3500, Some(1000)), value(8 << 30, Some(1000)))
    );
    assert_eq!((facts.limits.cpu, facts.limits.memory), (value(10_000, Some(1)), None));
    assert_eq!(facts.scopes, []);
}

#[test]
fn what_was_used_is_unknown_until_it_is_there_and_never_zero() {
    let hard = json!({"limits.memory": "1Gi", "requests.cpu": "1"});
    for status in [
        json!(null),
        json!({}),
        json!({"used": {}}),
        json!({"used": {"requests.cpu": "many"}}),
        json!({"used": 5}),
        json!(5),
    ] {
        let facts = quota(&json!({"hard": hard}), &status).unwrap();
        assert_eq!(
            (facts.requests.cpu, facts.limits.memory),
            (value(1000, None), value(1 << 30, None)),
            "{status}"
        );
    }
}

#[test]
fn huge_and_negative_amounts_are_neither_small_nor_a_panic() {
    let hard = json!({"requests.cpu": "9e28", "limits.memory": "-1"});
    let facts = quota(&json!({"hard": hard}), &json!({"used": hard})).unwrap();
    assert_eq!(
        (facts.requests.cpu, facts.limits.memory),
        (value(u64::MAX, Some(u64::MAX)), value(0, Some(0)))
    );
    let odd = quota(&json!({"hard": {"cpu": "a lot"}}), &json!({}));
    assert!(odd.unwrap_err().to_string().contains("quantity"), "the quota is named as unreadable");
}

#[test]
fn scopes_are_kept_as_far_as_they_tell_pods_apart() {
    let expression =
        |scope: &str, values: Value| json!({"scopeName": scope, "operator": "In", "values": values});
    let selector = json!({"matchExpressions": [expression("PriorityClass", json!(["high"])), expression("BestEffort", json!(null)), expression("Later", json!([]))]});
    let facts = quota(
        &json!({"scopes": ["BestEffort", "NotTerminating", "PriorityClass"], "scopeSelector": selector}),
        &json!({}),
    )
    .unwrap();
    let class = |operator: &str, values: &[&str]| QuotaScope::PriorityClass {
        operator: operator.to_owned(),
        values: values.iter().map(|name| (*name).to_owned()).collect(),
    };
    let expected = [
        QuotaScope::BestEffort,
        QuotaScope::Other("NotTerminating".into()),
        class("Exists", &[]),
        class("In", &["high"]),
        QuotaScope::BestEffort,
        QuotaScope::Other("Later".into()),
    ];
    assert_eq!(facts.scopes, expected);
    let many = json!({"matchExpressions": [expression("PriorityClass", json!(vec!["x"; 65]))]});
    let facts = quota(&json!({"scopeSelector": many}), &json!({})).unwrap();
    assert_eq!(facts.scopes, [QuotaScope::Other("PriorityClass".into())]);
}

#[test]
fn a_limit_range_bounds_containers_and_pods_and_several_items_hold_together() {
    let facts = range(&json!([
        {"type": "Container", "min": {"cpu": "50m", "memory": "16Mi"}, "max": {"cpu": "2"}, "default": {"cpu": "1"}},
        {"type": "Container", "max": {"cpu": "1500m", "memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2.5"}, "defaultRequest": {"memory": "8Mi"}},
        {"type": "Pod", "max": {"memory": "4Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}},
    ]))
    .unwrap();
    let cpu = Range {
        min: Some(50),
        max: Some(1500),
        max_ratio: Some(2.5),
        default_request: false,
        default_limit: true,
    };
    let (mib, gib) = (1 << 20, 1 << 30);
    let memory = Range { min: Some(16 * mib), max: Some(gib), default_request: true, ..Range::default() };
    assert_eq!((facts.container.cpu, facts.container.memory), (cpu, memory));
    assert_eq!((facts.pod.cpu, facts.pod.memory.max), (Range::default(), Some(4 << 30)));
}

#[test]
fn a_limit_range_without_limits_bounds_nothing_and_one_that_is_no_limit_range_is_unreadable() {
    for none in [json!(null), json!([]), json!([{"type": "Container"}]), json!([{}])] {
        let facts = range(&none).unwrap();
        assert_eq!((facts.container, facts.pod), (Ranges::default(), Ranges::default()));
    }
    for odd in [json!(5), json!([5]), json!([{"type": "Container", "max": {"cpu": "a lot"}}])] {
        assert!(range(&odd).is_err());
    }
}
