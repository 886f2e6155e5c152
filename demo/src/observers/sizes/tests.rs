use plimsoll_contract::{Bytes, Cores};
use serde_json::{Value, json};

use super::*;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A running pod whose container requests this much CPU, and may use no more, with a decision.
fn pod(cpu: &str, decision: Option<Value>) -> Pod {
    let amounts = json!({"cpu": cpu, "memory": "64Mi"});
    let id = format!("containerd://{}", "a".repeat(64));
    let mut pod = json!({
        "metadata": {"name": "api", "uid": UID},
        "spec": {"containers": [{"name": "app", "resources": {"requests": amounts, "limits": amounts}}]},
        "status": {"containerStatuses": [
            {"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "containerID": id},
        ]},
    });
    if let Some(decision) = decision {
        pod["metadata"]["annotations"] = json!({keys::DECISION: decision.to_string()});
    }
    serde_json::from_value(pod).unwrap()
}

fn decision(cpu: &str) -> Option<Value> {
    Some(json!({
        "at": "2026-01-01T00:00:00Z", "reason": "grow", "class": "gold", "from": {},
        "to": {"app": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}},
        "why": "app +100m (100->200): U 0.45 [...], gold",
    }))
}

fn limits(cores: f64) -> impl Fn(&CgroupId) -> Option<Limits> {
    move |cgroup| {
        assert_eq!(cgroup.pod.as_str(), UID);
        let (cpu, memory) = (Limit::Of(Cores(cores)), Limit::Of(Bytes(64 << 20)));
        Some(Limits { cpu, memory, cpu_request: None })
    }
}

fn load(resource: Resource) -> LoadChange {
    LoadChange {
        namespace: pods::NAMESPACE.into(),
        pod: "api".into(),
        container: "app".into(),
        resource,
        value: 0.2,
        at: Duration::ZERO,
    }
}

#[test]
fn a_resize_is_told_with_its_arithmetic_and_then_what_the_kernel_enforces_with_the_times() {
    let mut sizes = Sizes::default();
    assert!(sizes.watched(&pod("100m", None), at(0)).is_empty(), "what was there at first is no resize");
    assert!(sizes.enforced(limits(0.1), at(100)).is_empty());
    sizes.loaded(&load(Resource::Cpu), at(1000));
    sizes.loaded(&load(Resource::Memory), at(4000));
    assert!(sizes.watched(&pod("100m", decision("200m")), at(4400)).is_empty(), "only recorded");
    let resized = sizes.watched(&pod("200m", decision("0.2")), at(4500));
    let [What::Resize { resource: Resource::Cpu, from, to, why: Some(why), .. }] = resized.as_slice() else {
        panic!("{resized:?}")
    };
    assert_eq!((from.to_string(), to.to_string()), ("100m/100m".into(), "200m/200m".into()));
    assert!(why.ends_with("gold"), "{why}");

    let enforced = sizes.enforced(limits(0.2), at(4700));
    let [What::Kernel { resource: Resource::Cpu, from, to, since_resize, since_load, .. }] =
        enforced.as_slice()
    else {
        panic!("{enforced:?}")
    };
    assert_eq!((from.as_str(), to.as_str()), ("100m", "200m"));
    assert_eq!((*since_resize, *since_load), (Some(0.2), Some(3.7)));
    assert!(sizes.enforced(limits(0.2), at(4800)).is_empty(), "once");
}

#[test]
fn a_resize_that_the_decision_does_not_ask_for_has_no_arithmetic() {
    let mut sizes = Sizes::default();
    sizes.watched(&pod("100m", decision("200m")), at(0));
    let resized = sizes.watched(&pod("300m", decision("200m")), at(1));
    assert!(matches!(resized.as_slice(), [What::Resize { why: None, .. }]), "{resized:?}");
}

#[test]
fn a_limit_that_is_enforced_before_the_watch_shows_the_resize_waits_for_it_but_not_for_ever() {
    let mut sizes = Sizes::default();
    sizes.watched(&pod("100m", None), at(0));
    sizes.enforced(limits(0.1), at(0));
    assert!(sizes.enforced(limits(0.2), at(100)).is_empty());
    assert_eq!(sizes.watched(&pod("200m", None), at(150)).len(), 1);
    assert_eq!(sizes.enforced(limits(0.2), at(200)).len(), 1);
    // No resize: somebody wrote into the cgroup.
    assert!(sizes.enforced(limits(0.3), at(300)).is_empty());
    assert_eq!(sizes.enforced(limits(0.3), at(1300)).len(), 1);
}

#[test]
fn a_container_that_does_not_run_and_one_whose_cgroup_is_gone_have_no_limits() {
    let mut sizes = Sizes::default();
    let mut down = pod("100m", None);
    down.status = None;
    sizes.watched(&down, at(0));
    assert!(sizes.enforced(limits(0.1), at(0)).is_empty());
    sizes.watched(&pod("100m", None), at(1));
    assert!(sizes.enforced(|_| None, at(1)).is_empty());
    // The first limits that are read are no change.
    assert!(sizes.enforced(limits(0.1), at(2)).is_empty());
}
