//! Discovery: groups, versions and resource types, from the table of kinds, without the reviews; and the version of the server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kinds::{Kinds, Resource};

/// The answer for a discovery path, or `None` for another path.
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

/// The named groups with their versions.
fn versions(kinds: &Kinds) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in kinds.all().filter(|kind| !kind.resource.group.is_empty()) {
        let versions = groups.entry(kind.resource.group.to_string()).or_default();
        if !versions.contains(&kind.resource.version.to_string()) {
            versions.push(kind.resource.version.to_string());
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
        }));
        let subresources = [("status", kind.status), ("resize", kind.resource == Resource::PODS)];
        for (subresource, _) in subresources.into_iter().filter(|(_, exists)| *exists) {
            rows.push(json!({
                "name": format!("{plural}/{subresource}"), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let at = Resource::new(group, version, "").api_version();
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": at, "resources": rows});
    Some(list).filter(|_| !rows.is_empty())
}
