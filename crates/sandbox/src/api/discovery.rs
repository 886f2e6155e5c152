//! What the server says of itself: groups, versions, resource types, its version. Made from the table of kinds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kinds::{Kind, Kinds, Resource};

/// The answer for a discovery path, or `None` when the path is none.
pub(super) fn discovery(kinds: &Kinds, path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<Value> =
                versions(kinds).into_iter().map(|(name, versions)| group(&name, &versions)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => {
            let versions = versions(kinds).remove(*name)?;
            let mut group = group(name, &versions);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            Some(group)
        }
        ["api", version] => resources(kinds, "", version),
        ["apis", group, version] => resources(kinds, group, version),
        ["version"] => Some(json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0-plimsoll-sandbox", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
        })),
        _ => None,
    }
}

/// Named groups with their versions, those of the virtual types included.
fn versions(kinds: &Kinds) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let virtual_groups =
        ["authentication.k8s.io", "authorization.k8s.io"].map(|group| (group.to_owned(), "v1".to_owned()));
    let stored = kinds.all().map(|kind| (kind.resource.group.to_string(), kind.resource.version.to_string()));
    for (group, version) in stored.chain(virtual_groups).filter(|(group, _)| !group.is_empty()) {
        let known = groups.entry(group).or_default();
        if !known.contains(&version) {
            known.push(version);
        }
    }
    groups
}

fn group(name: &str, versions: &[String]) -> Value {
    let version = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "versions": all, "preferredVersion": all.last()})
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut rows = Vec::new();
    for kind in kinds.all().filter(|kind| kind.resource.group == group && kind.resource.version == version) {
        let plural = &kind.resource.plural;
        rows.push(json!({
            "name": plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": kind.short_names,
            "categories": if matches!(&**plural, "pods" | "services" | "daemonsets" | "deployments" | "replicasets" | "statefulsets") { json!(["all"]) } else { json!([]) },
        }));
        for subresource in subresources(kind) {
            rows.push(json!({
                "name": format!("{plural}/{subresource}"), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let create_only = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["create"]});
    match group {
        "" => rows.push(create_only("serviceaccounts/token", "TokenRequest", true)),
        "authentication.k8s.io" => {
            rows.push(create_only("selfsubjectreviews", "SelfSubjectReview", false));
            rows.push(create_only("tokenreviews", "TokenReview", false));
        }
        "authorization.k8s.io" => {
            rows.push(create_only("selfsubjectaccessreviews", "SelfSubjectAccessReview", false));
        }
        _ => {}
    }
    let known = rows.len() > usize::from(group.is_empty());
    let at = Resource::new(group, version, "").api_version();
    known.then(
        || json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": at, "resources": rows}),
    )
}

fn subresources(kind: &Kind) -> Vec<&'static str> {
    let resize = kind.resource == Resource::PODS;
    [("status", kind.status), ("resize", resize)]
        .into_iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| name)
        .collect()
}
