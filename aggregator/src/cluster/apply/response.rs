//! The API server's response to a write, from its status and body. Pure.
//!
//! The messages in the tests are those of a real Kubernetes 1.37 server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::core::Status;
use kube::core::response::StatusCause;
use plimsoll_contract::api_status::is_pod_gone;
use plimsoll_contract::keys;
use plimsoll_contract::status::KeyConflict;

use serde::Deserialize;

use crate::input::{PodVersion, RefusalKind, WriteResult};

/// Characters of a message that are kept.
const SHOWN: usize = 300;
/// The longest wait that a server is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Classifies the response to a write of labels. `retry_after` is the header; a body that is not a Status is taken for a message.
pub(crate) fn classify(status: u16, retry_after: Option<&str>, body: &[u8]) -> WriteResult {
    if (200..300).contains(&status) {
        return WriteResult::Written(version(body));
    }
    let said = said(body);
    // A webhook chooses the status of its refusal, also that of a busy server or of a pod that is gone: it is never more than a refusal.
    if said.message.starts_with("admission webhook ") {
        return WriteResult::Failed(status, short(&said.message));
    }
    if is_pod_gone(status, &said.message, causes(&said).map(|cause| cause.field.as_str())) {
        return WriteResult::Gone;
    }
    match status {
        409 => match conflicts(&said) {
            conflicts if conflicts.is_empty() => WriteResult::Failed(409, short(&said.message)),
            conflicts => WriteResult::Conflict(conflicts),
        },
        429 => WriteResult::Throttled(pause(retry_after, &said)),
        _ => WriteResult::Failed(status, short(&said.message)),
    }
}

/// Classifies the response to a resize or its dry run.
pub(crate) fn classify_resize(status: u16, retry_after: Option<&str>, body: &[u8]) -> WriteResult {
    if (200..300).contains(&status) {
        return WriteResult::Written(version(body));
    }
    let said = said(body);
    let refused = |why| WriteResult::Refused(why, short(&said.message));
    // Whatever status it chooses: see above.
    if said.message.starts_with("admission webhook ") || said.message.contains("ValidatingAdmissionPolicy") {
        return refused(RefusalKind::Policy);
    }
    if is_pod_gone(status, &said.message, causes(&said).map(|cause| cause.field.as_str())) {
        return WriteResult::Gone;
    }
    match status {
        409 => refused(RefusalKind::Stale),
        429 => WriteResult::Throttled(pause(retry_after, &said)),
        400 | 403 | 405 | 422 => match resize_refusal(status, &said) {
            Some(why) => refused(why),
            None => WriteResult::Failed(status, short(&said.message)),
        },
        _ => WriteResult::Failed(status, short(&said.message)),
    }
}

/// Why a resize is refused, by the words of the server; the first that fits. `None`: for a reason that passes.
fn resize_refusal(status: u16, said: &Status) -> Option<RefusalKind> {
    let message = said.message.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let cause = |reason: &str| causes(said).any(|cause| cause.reason == reason);
    Some(if cause("NodeCapacity") || says(&["node didn't have enough allocatable resources"]) {
        RefusalKind::NodeCapacity
    } else if cause("UnsupportedPlatform")
        || says(&[
            "without support for resize",
            "static pods",
            "windows pods",
            "pod-level resources",
            "declared feature",
        ])
    {
        RefusalKind::Unsupported
    } else if says(&["exceeded quota"]) {
        RefusalKind::Quota
    } else if says(&["not yet ready to handle request"])
        || (status == 403 && says(&["node \""]) && says(&["not found"]))
    {
        // A cache of the API server that is not filled yet.
        return None;
    } else if says(&["cannot patch resource"]) {
        RefusalKind::Forbidden
    } else if status == 403 && says(&[" usage per ", "limit to request ratio"]) {
        RefusalKind::LimitRange
    } else if says(&["qos class"]) {
        RefusalKind::QosClass
    } else if says(&["memory limits cannot be decreased", "memory limits cannot be added"]) {
        RefusalKind::MemoryLimit
    } else if says(&["cannot be removed"]) {
        RefusalKind::Removal
    } else if status == 405 {
        // A server without the subresource.
        RefusalKind::Unsupported
    } else {
        RefusalKind::Invalid
    })
}

/// The version in the body, the metadata of the pod. A body that cannot be read says none: that the write was done is in the status line.
fn version(body: &[u8]) -> PodVersion {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Metadata {
        resource_version: Option<String>,
        generation: Option<i64>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Object {
        metadata: Metadata,
    }
    let Metadata { resource_version, generation } =
        serde_json::from_slice::<Object>(body).unwrap_or_default().metadata;
    PodVersion { resource_version: resource_version.filter(|version| !version.is_empty()), generation }
}

fn said(body: &[u8]) -> Status {
    serde_json::from_slice(body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(body).trim().to_owned(),
        ..Status::default()
    })
}

fn causes(said: &Status) -> impl Iterator<Item = &StatusCause> {
    said.details.iter().flat_map(|details| &details.causes)
}

/// The keys that other field managers own, in order, each once.
fn conflicts(said: &Status) -> Vec<KeyConflict> {
    let mut owners: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for cause in causes(said) {
        if let Some(key) = key(&cause.field) {
            owners.entry(key).or_default().extend(manager(&cause.message));
        }
    }
    if owners.is_empty() {
        // Without details there is still the message: `conflict with "helm" using v1: .metadata.labels.plimsoll.dev/cpu-band`, or
        // several lines, each manager above its fields.
        let mut owner = None;
        for part in said.message.split_inclusive("conflict") {
            owner = manager(part).or(owner);
            for key in part.split(|c: char| c.is_whitespace() || c == ',' || c == '"').filter_map(key) {
                owners.entry(key).or_default().extend(owner);
            }
        }
    }
    let conflict = |(key, managers): (String, BTreeSet<&str>)| {
        let managers = managers.into_iter().collect::<Vec<_>>().join(", ");
        KeyConflict { key, manager: Some(managers).filter(|managers| !managers.is_empty()) }
    };
    owners.into_iter().map(conflict).collect()
}

/// The manager in `conflict with "kubectl-label" using v1`.
fn manager(message: &str) -> Option<&str> {
    let (_, name) = message.split_once("with \"")?;
    name.split('"').next().filter(|name| !name.is_empty())
}

/// `.metadata.labels.plimsoll.dev/cpu-band` and `metadata.annotations[plimsoll.dev/epoch]` name a key of ours.
fn key(field: &str) -> Option<String> {
    let field = field.trim_start_matches('.');
    let rest = ["metadata.labels", "metadata.annotations"].iter().find_map(|map| field.strip_prefix(map))?;
    let key = rest.trim_matches(|c| matches!(c, '.' | '[' | ']' | '"' | '\''));
    // A key that we never write cannot be in conflict: such a response is a failure.
    let mut written = keys::WRITTEN_LABELS.iter().chain(&keys::WRITTEN_ANNOTATIONS);
    written.find(|written| **written == key).map(|key| (*key).to_owned())
}

fn pause(header: Option<&str>, said: &Status) -> Option<Duration> {
    let header = header.and_then(|seconds| seconds.trim().parse().ok());
    let details = said.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
    let seconds = header.or(details).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn short(message: &str) -> String {
    message.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(code: u16, message: &str, causes: &[(&str, &str)]) -> Vec<u8> {
        let cause = |(reason, field): &(&str, &str)| {
            // The manager of the kubelet's fields has a subresource; an update has the version that it used.
            let message = match field.ends_with("evidence") {
                true => "conflict with \"kubelet\" with subresource \"status\" using v1",
                false => "conflict with \"kubectl-label\" using v1",
            };
            json!({"reason": reason, "message": message, "field": field})
        };
        let causes: Vec<_> = causes.iter().map(cause).collect();
        let details = json!({"name": "web", "kind": "pods", "causes": causes});
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "message": message, "details": details});
        status.to_string().into_bytes()
    }

    fn conflict(key: &str, manager: &str) -> KeyConflict {
        KeyConflict { key: key.to_owned(), manager: Some(manager.to_owned()) }
    }

    #[test]
    fn a_conflict_names_the_keys_that_others_own_and_their_managers() {
        let causes = [
            ("FieldManagerConflict", ".metadata.labels.plimsoll.dev/memory-band"),
            ("FieldManagerConflict", ".metadata.annotations.plimsoll.dev/evidence"),
            ("FieldManagerConflict", ".metadata.labels.plimsoll.dev/memory-band"),
        ];
        let body = status(409, "Apply failed with 3 conflicts", &causes);
        let conflicts =
            vec![conflict(keys::EVIDENCE, "kubelet"), conflict(keys::MEMORY_BAND, "kubectl-label")];
        assert_eq!(classify(409, None, &body), WriteResult::Conflict(conflicts));
    }

    #[test]
    fn a_key_of_two_managers_names_both_and_one_of_a_manager_that_is_not_said_names_none() {
        let field = ".metadata.labels.plimsoll.dev/cpu-band";
        let cause =
            |message: &str| json!({"reason": "FieldManagerConflict", "message": message, "field": field});
        let said = |causes: Vec<serde_json::Value>| {
            let body =
                json!({"code": 409, "message": "Apply failed", "details": {"causes": causes}}).to_string();
            classify(409, None, body.as_bytes())
        };
        let both = said(vec![cause("conflict with \"b\" using v1"), cause("conflict with \"a\"")]);
        assert_eq!(both, WriteResult::Conflict(vec![conflict(keys::CPU_BAND, "a, b")]));
        let none = WriteResult::Conflict(vec![KeyConflict { key: keys::CPU_BAND.to_owned(), manager: None }]);
        assert_eq!(said(vec![cause("it is not yours")]), none);
    }

    #[test]
    fn a_conflict_without_details_is_read_from_its_message() {
        let message =
            "Apply failed with 1 conflict: conflict with \"helm\": .metadata.labels.plimsoll.dev/cpu-band";
        let want = WriteResult::Conflict(vec![conflict(keys::CPU_BAND, "helm")]);
        assert_eq!(classify(409, None, &status(409, message, &[])), want);
        assert_eq!(classify(409, None, message.as_bytes()), want);
        let several = "Apply failed with 2 conflicts: conflicts with \"helm\":\n- .metadata.labels.plimsoll.dev/cpu-band\n\
                       conflicts with \"kubectl-edit\" using v1:\n- .metadata.labels.plimsoll.dev/memory-band";
        let want = vec![conflict(keys::CPU_BAND, "helm"), conflict(keys::MEMORY_BAND, "kubectl-edit")];
        assert_eq!(classify(409, None, several.as_bytes()), WriteResult::Conflict(want));
    }

    #[test]
    fn a_conflict_of_another_kind_names_no_key() {
        let body = status(409, "the object has been modified", &[]);
        assert_eq!(
            classify(409, None, &body),
            WriteResult::Failed(409, "the object has been modified".into())
        );
        let foreign = status(409, "Apply failed", &[("FieldManagerConflict", ".spec.nodeName")]);
        assert!(matches!(classify(409, None, &foreign), WriteResult::Failed(409, _)));
        let never_ours = status(409, "", &[("FieldManagerConflict", ".metadata.labels.plimsoll.dev/sla")]);
        assert!(matches!(classify(409, None, &never_ours), WriteResult::Failed(409, _)));
    }

    #[test]
    fn a_pod_that_is_gone_or_another_one_is_gone() {
        let mismatch = "Operation cannot be fulfilled on pods \"web\": uid mismatch: the provided object specified uid a, and no existing object was found";
        assert_eq!(classify(409, None, &status(409, mismatch, &[])), WriteResult::Gone);
        let immutable = "Pod \"web\" is invalid: metadata.uid: Invalid value: \"a\": field is immutable";
        let cause = [("FieldValueInvalid", "metadata.uid")];
        assert_eq!(classify(422, None, &status(422, immutable, &cause)), WriteResult::Gone);
        assert_eq!(classify(404, None, b"404 page not found"), WriteResult::Gone);
        let other = status(422, "Pod \"web\" is invalid: metadata.labels: Invalid value", &[]);
        assert!(matches!(classify(422, None, &other), WriteResult::Failed(422, _)));
    }

    #[test]
    fn a_busy_server_says_how_long_to_wait_in_its_header_or_its_body() {
        let second = |n| Some(Duration::from_secs(n));
        let too_many = b"Too many requests, please try again later.";
        assert_eq!(classify(429, Some("7"), too_many), WriteResult::Throttled(second(7)));
        let body = json!({"kind": "Status", "details": {"retryAfterSeconds": 2}}).to_string();
        assert_eq!(classify(429, None, body.as_bytes()), WriteResult::Throttled(second(2)));
        assert_eq!(classify(429, Some("soon"), b""), WriteResult::Throttled(None));
        assert_eq!(classify(429, Some("99999999"), b""), WriteResult::Throttled(Some(LONGEST_PAUSE)));
    }

    #[test]
    fn whatever_status_a_webhook_chooses_it_refuses_one_write_and_no_more() {
        let message = "admission webhook \"quota.example.com\" denied the request: uid mismatch";
        let cause = [("FieldManagerConflict", ".metadata.labels.plimsoll.dev/cpu-band")];
        for code in [400, 403, 404, 409, 422, 429, 500, 503] {
            let result = classify(code, Some("300"), &status(code, message, &cause));
            assert_eq!(result, WriteResult::Failed(code, message.into()));
        }
    }

    #[test]
    fn every_other_answer_is_a_failure_with_its_status_and_a_bounded_message() {
        for status in [400, 401, 403, 500, 503] {
            let WriteResult::Failed(code, message) = classify(status, None, &[b'x'; 5000]) else {
                panic!("{status}")
            };
            assert_eq!((code, message.len()), (status, SHOWN));
        }
        assert_eq!(classify(200, None, b"not json"), WriteResult::written());
    }

    #[test]
    fn a_success_says_the_version_of_the_pod() {
        let body =
            json!({"kind": "PartialObjectMetadata", "metadata": {"resourceVersion": "812", "generation": 3}});
        let version = PodVersion { resource_version: Some("812".into()), generation: Some(3) };
        for classify in [classify, classify_resize] {
            let result = classify(200, None, body.to_string().as_bytes());
            assert_eq!(result, WriteResult::Written(version.clone()));
            assert_eq!(
                classify(200, None, b"{\"metadata\": {\"resourceVersion\": 5}}"),
                WriteResult::written()
            );
        }
    }

    #[test]
    fn each_refusal_of_a_resize_is_told_from_the_others_by_the_servers_words() {
        use RefusalKind::*;
        let forbidden = |text: &str| format!("pods \"web\" is forbidden: {text}");
        let invalid = |text: &str| format!("Pod \"web\" is invalid: {text}");
        let table = [
            (403, forbidden("node didn't have enough allocatable resources: cpu, requested: 5000, allocatable: 1000"), NodeCapacity),
            (403, forbidden("exceeded quota: compute, requested: requests.cpu=400m, used: requests.cpu=1, limited: requests.cpu=1200m"), Quota),
            (403, forbidden("maximum cpu usage per Container is 800m, but limit is 1"), LimitRange),
            (403, forbidden("cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"), LimitRange),
            (403, forbidden("User \"system:serviceaccount:plimsoll-system:plimsoll-aggregator\" cannot patch resource \"pods/resize\" in API group \"\" in the namespace \"shop\""), Forbidden),
            (422, invalid("spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing"), QosClass),
            (422, invalid("spec.containers[0].resources.limits: Forbidden: memory limits cannot be decreased unless resizePolicy is RestartContainer"), MemoryLimit),
            (422, invalid("spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"), Removal),
            (403, forbidden("Pod running on node without support for resize"), Unsupported),
            (422, invalid("spec: Forbidden: static pods cannot be resized"), Unsupported),
            (405, "the server does not allow this method on the requested resource".to_owned(), Unsupported),
            (409, "Operation cannot be fulfilled on pods \"web\": the object has been modified; please apply your changes to the latest version and try again".to_owned(), Stale),
            (403, "admission webhook \"size.example.com\" denied the request: exceeded quota".to_owned(), Policy),
            (422, "pods \"web\" is invalid: : ValidatingAdmissionPolicy 'plimsoll-resize' with binding 'plimsoll-resize' denied request: at most double".to_owned(), Policy),
            (422, invalid("spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"), Invalid),
        ];
        for (code, message, why) in table {
            let want = WriteResult::Refused(why, message.chars().take(SHOWN).collect());
            assert_eq!(classify_resize(code, None, &status(code, &message, &[])), want);
        }
        let capacity = status(403, &forbidden("no"), &[("NodeCapacity", "")]);
        assert!(matches!(classify_resize(403, None, &capacity), WriteResult::Refused(NodeCapacity, _)));
    }

    #[test]
    fn a_resize_that_fails_for_a_reason_that_passes_is_no_refusal() {
        let mismatch = "Pod \"web\" is invalid: metadata.uid: Invalid value: \"a\": field is immutable";
        assert_eq!(classify_resize(422, None, &status(422, mismatch, &[])), WriteResult::Gone);
        assert_eq!(classify_resize(404, None, b"404 page not found"), WriteResult::Gone);
        assert_eq!(
            classify_resize(429, Some("2"), b"busy"),
            WriteResult::Throttled(Some(Duration::from_secs(2)))
        );
        let passing = [
            (500, "etcdserver: request timed out"),
            (503, "apiserver not ready"),
            (401, "Unauthorized"),
            (403, "pods \"web\" is forbidden: node \"n1\" not found"),
            (403, "pods \"web\" is forbidden: not yet ready to handle request"),
        ];
        for (code, message) in passing {
            let want = WriteResult::Failed(code, message.into());
            assert_eq!(classify_resize(code, None, &status(code, message, &[])), want);
        }
    }
}
