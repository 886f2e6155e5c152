//! RBAC, compared with a table: a change of a permission needs a change of the table and a reason in the manifest.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::files::{list, objects, text, yaml_files};

/// Role, API group, resource, names, verbs.
const EXPECTED: &[&str] = &[
    "ClusterRole plimsoll-aggregator: pods [] list watch",
    "ClusterRole plimsoll-aggregator: nodes [] list watch",
    "ClusterRole plimsoll-aggregator: namespaces [] list watch",
    "ClusterRole plimsoll-aggregator: /openid/v1/jwks get",
    "ClusterRole plimsoll-aggregator: /.well-known/openid-configuration get",
    "ClusterRole plimsoll-aggregator: authentication.k8s.io/tokenreviews [] create",
    "ClusterRole plimsoll-aggregator: events.k8s.io/events [] create",
    "Role plimsoll-system/plimsoll-aggregator: secrets [plimsoll-aggregator] get update",
    "Role plimsoll-system/plimsoll-aggregator: configmaps [plimsoll-control] list watch",
    "Role plimsoll-system/plimsoll-aggregator: coordination.k8s.io/leases [plimsoll-aggregator] get update",
    "Role plimsoll-agents/plimsoll-aggregator: configmaps [plimsoll-ca] get update",
    "ClusterRole plimsoll-labeller: pods [] patch",
    "ClusterRole plimsoll-resizer: pods/resize [] patch",
    "ClusterRole plimsoll-resizer: plimsoll.dev/slaclasses [] get list watch",
    "ClusterRole plimsoll-resizer: plimsoll.dev/slaclasses/status [] patch",
    "ClusterRole plimsoll-resizer: autoscaling/horizontalpodautoscalers [] list watch",
    "ClusterRole plimsoll-resizer: resourcequotas [] list watch",
    "ClusterRole plimsoll-resizer: limitranges [] list watch",
];

fn everything() -> Vec<Value> {
    let folders = [
        "base",
        "components/labels",
        "components/resizing",
        "components/prometheus",
        "components/network-policy",
        "examples",
    ];
    folders.into_iter().flat_map(objects).collect()
}

fn words(object: &Value, field: &str) -> Vec<String> {
    list(object, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn rights(role: &Value) -> Vec<String> {
    let kind = text(role, "/kind");
    let name = [text(role, "/metadata/namespace"), text(role, "/metadata/name")];
    let name = name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let mut rights = Vec::new();
    for rule in list(role, "/rules") {
        let names = words(rule, "/resourceNames").join(" ");
        let verbs = words(rule, "/verbs").join(" ");
        for path in words(rule, "/nonResourceURLs") {
            rights.push(format!("{kind} {name}: {path} {verbs}"));
        }
        for group in words(rule, "/apiGroups") {
            for resource in words(rule, "/resources") {
                let resource = if group.is_empty() { resource } else { format!("{group}/{resource}") };
                rights.push(format!("{kind} {name}: {resource} [{names}] {verbs}"));
            }
        }
    }
    rights
}

#[test]
fn the_rights_are_exactly_those_of_the_table() {
    let found: Vec<_> = everything().iter().flat_map(rights).collect();
    assert_eq!(found, EXPECTED);
    let broad = ["*", "delete", "deletecollection", "impersonate", "escalate", "bind"];
    let text = found.join("\n");
    assert!(!broad.iter().any(|word| text.split([' ', '/']).any(|w| w == *word)), "{text}");
}

/// kubernetes/autoscaler#8720: what is not resized is left as it is. Whatever the aggregator decides, the API server lets it do nothing else.
#[test]
fn a_failure_never_evicts_because_nobody_may() {
    let mut verbs_on_pods = BTreeSet::new();
    for right in everything().iter().flat_map(rights) {
        let (_, right) = right.split_once(": ").unwrap();
        let (resource, verbs) = right.split_once(' ').unwrap();
        let verbs = verbs.rsplit_once("] ").map_or(verbs, |(_, verbs)| verbs).split(' ');
        let verbs: Vec<_> = verbs.map(|verb| format!("{resource} {verb}")).collect();
        if resource == "pods" || resource.starts_with("pods/") || resource == "nodes" {
            verbs_on_pods.extend(verbs);
        } else {
            let of_workloads = ["apps/", "batch/", "policy/", "*"];
            assert!(!of_workloads.iter().any(|group| resource.starts_with(group)), "{right}");
        }
    }
    let expected =
        ["nodes list", "nodes watch", "pods list", "pods patch", "pods watch", "pods/resize patch"];
    assert_eq!(verbs_on_pods, expected.map(str::to_owned).into(), "no eviction, no deletion, no taint");
}

#[test]
fn every_right_is_the_aggregators_and_the_agent_has_none() {
    let everything = everything();
    let bindings: Vec<_> = everything.iter().filter(|o| text(o, "/kind").ends_with("RoleBinding")).collect();
    let roles: Vec<_> = everything.iter().filter(|o| text(o, "/kind").ends_with("Role")).collect();
    assert_eq!(bindings.len(), roles.len());
    for binding in bindings {
        let subjects = list(binding, "/subjects");
        assert_eq!(subjects.len(), 1);
        let subject = ["/kind", "/namespace", "/name"].map(|field| text(&subjects[0], field));
        assert_eq!(subject, ["ServiceAccount", "plimsoll-system", "plimsoll-aggregator"]);
        let role = roles.iter().find(|role| {
            text(role, "/kind") == text(binding, "/roleRef/kind")
                && text(role, "/metadata/name") == text(binding, "/roleRef/name")
                && role.pointer("/metadata/namespace") == binding.pointer("/metadata/namespace")
        });
        assert!(role.is_some(), "{} binds a role that is not there", text(binding, "/metadata/name"));
    }
}

#[test]
fn every_rule_has_its_reason_in_the_line_above() {
    let mut rules = 0;
    for file in yaml_files() {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (above, line) in lines.iter().zip(lines.iter().skip(1)) {
            if ["- {apiGroups:", "- apiGroups:", "- {nonResourceURLs:"]
                .iter()
                .any(|start| line.starts_with(start))
            {
                assert!(above.starts_with("# "), "{}: {line} has no reason above it", file.display());
                rules += 1;
            }
        }
    }
    let expected: usize = everything().iter().map(|object| list(object, "/rules").len()).sum();
    assert_eq!(rules, expected, "a rule a line, so that each has its reason");
}
