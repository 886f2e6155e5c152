//! Cases from the field: what is sent to the API server, whatever happens.

use super::*;
use crate::cluster::apply::request;
use crate::input::RefusalKind;

/// The path and the body of the request of a write, which is a patch.
fn patched(write: &Write) -> (String, serde_json::Value) {
    let request = request(write).unwrap();
    assert_eq!(request.method().as_str(), "PATCH", "{write:?}");
    (request.uri().path().to_owned(), serde_json::from_slice(request.body()).unwrap())
}

/// Every answer to a write that there is, but for success.
fn failures() -> Vec<WriteResult> {
    use RefusalKind::{
        Forbidden, Invalid, LimitRange, MemoryLimit, NodeCapacity, Policy, QosClass, Quota, Removal, Stale,
        Unsupported,
    };
    let kinds = [
        Stale,
        NodeCapacity,
        Quota,
        LimitRange,
        Forbidden,
        Policy,
        MemoryLimit,
        Unsupported,
        QosClass,
        Removal,
        Invalid,
    ];
    let refused = kinds.map(|kind| WriteResult::Refused(kind, "the words of the server".into()));
    let theirs = KeyConflict { key: keys::DECISION.to_owned(), manager: Some("helm".to_owned()) };
    let others = [
        WriteResult::Gone,
        WriteResult::NoAnswer,
        WriteResult::Throttled(Some(Duration::from_secs(3))),
        WriteResult::Failed(0, "the connection broke".into()),
        WriteResult::Failed(400, "not understood".into()),
        WriteResult::Failed(500, "it failed".into()),
        WriteResult::Conflict(vec![theirs]),
    ];
    refused.into_iter().chain(others).collect()
}

/// Pod 1, bare and alone, throttled for two minutes while every write is answered so, and then the kubelet says so. All paths that were
/// written to, and how many resizes were sent.
fn failing(
    answer: impl Fn(&Write) -> Option<WriteResult>,
    condition: Option<&ConditionFacts>,
) -> (std::collections::BTreeSet<String>, usize) {
    let mut harness = Harness::resizing(vec![PodFacts { controller: None, ..sized(1) }]);
    let (mut paths, mut resizes) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..120 {
        let mut actions = harness.wait(1);
        actions.extend(harness.throttled(1));
        let mut open: std::collections::VecDeque<_> = actions.into();
        while let Some(action) = open.pop_front() {
            // There is no third kind.
            let write = match action {
                Action::Write(write) => write,
                Action::Publish(_) => continue,
            };
            paths.insert(patched(&write).0);
            let is_resize = write.is_resize();
            resizes += usize::from(is_resize);
            open.extend(match answer(&write) {
                Some(result) => harness.outcome(&write, result),
                None => harness.land(&write),
            });
            if let Some(condition) = condition.filter(|_| is_resize) {
                open.extend(harness.edit(1, |pod| {
                    pod.observed_generation = pod.generation;
                    let observed_generation = pod.generation;
                    pod.conditions = vec![ConditionFacts { observed_generation, ..condition.clone() }];
                }));
            }
        }
    }
    (paths, resizes)
}

/// kubernetes/autoscaler#8720
#[test]
fn a_bare_single_replica_that_cannot_be_resized_is_only_ever_patched_whatever_fails() {
    let all = |paths: [&str; 2]| paths.map(str::to_owned).into();
    let pod = "/api/v1/namespaces/shop/pods/p1";
    let subresource = "/api/v1/namespaces/shop/pods/p1/resize";
    for failure in failures() {
        let (paths, resizes) = failing(|write| write.is_resize().then(|| failure.clone()), None);
        assert_eq!(paths, all([pod, subresource]), "{failure:?}");
        assert!(resizes > 0, "{failure:?}");
        let (paths, resizes) = failing(|write| (!write.is_resize()).then(|| failure.clone()), None);
        assert!(paths.iter().all(|path| path == pod), "{failure:?}: {paths:?}");
        assert_eq!(resizes, 0, "{failure:?}");
    }
    let conditions = [
        ("PodResizePending", Some("Deferred")),
        ("PodResizePending", Some("Infeasible")),
        ("PodResizePending", Some("AnotherReason")),
        ("PodResizeInProgress", Some("Error")),
        ("PodResizeInProgress", None),
    ];
    for (kind, reason) in conditions {
        let condition = ConditionFacts {
            kind: kind.into(),
            status: "True".into(),
            reason: reason.map(str::to_owned),
            message: Some("the words of the kubelet".into()),
            observed_generation: None,
        };
        let (paths, resizes) = failing(|_| None, Some(&condition));
        assert_eq!(paths, all([pod, subresource]), "{condition:?}");
        assert!(resizes > 0, "{condition:?}");
    }
}

/// attune#800
#[test]
fn the_body_for_a_container_with_a_gpu_has_cpu_only() {
    let mut pod = sized(1);
    pod.containers[0].extended = true;
    let mut harness = Harness::resizing(vec![pod]);
    let record = only(&harness.throttled(1));
    let (path, body) = patched(&only(&harness.land(&record)));
    assert_eq!(path, "/api/v1/namespaces/shop/pods/p1/resize");
    let containers = body["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    for kind in ["requests", "limits"] {
        let amounts = containers[0]["resources"][kind].as_object().unwrap();
        assert_eq!(amounts.keys().collect::<Vec<_>>(), ["cpu"], "{body}");
    }
    assert_eq!(body["spec"].as_object().unwrap().keys().collect::<Vec<_>>(), ["containers"]);
}
