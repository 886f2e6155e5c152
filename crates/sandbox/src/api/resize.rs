//! `pods/resize`: the fields of the body that are used, the rules of a resize, and the capacity of the node. Pure.
//!
//! The error messages are those of a real server.

use serde_json::{Value, json};

use super::pod::{CONTAINER_LISTS, containers, qos_class};
use super::quantity::nanos;
use super::status::ApiError;

/// Reduces the new pod to the old one with new container resources, and rejects changes that a resize must not make.
pub(super) fn prepare(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let invalid = |field: &str, rule: &str, why: &str| Err(ApiError::invalid("Pod", &name, field, rule, why));
    let wanted = new.clone();
    let managed = new["metadata"]["managedFields"].take();
    *new = old.clone();
    new["metadata"]["managedFields"] = managed;
    for list in CONTAINER_LISTS {
        let (before, after) = (containers(old, list), containers(&wanted, list));
        if before.len() != after.len() {
            return invalid(
                &format!("spec.{list}"),
                "Forbidden",
                "containers may not be added or removed on resize",
            );
        }
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            if before["name"] != after["name"] {
                let why = "containers may not be renamed or reordered on resize";
                return invalid(&format!("spec.{list}[{index}].name"), "Forbidden", why);
            }
            if before["resizePolicy"] != after["resizePolicy"] {
                return invalid("spec", "Forbidden", "only cpu and memory resources are mutable");
            }
            let mut resources =
                after.get("resources").filter(|it| it.is_object()).cloned().unwrap_or(json!({}));
            if let Some(map) = resources.as_object_mut() {
                map.retain(|_, amounts| !amounts.is_null());
            }
            new["spec"][list][index]["resources"] = resources;
        }
    }
    let (was, is) = (qos_class(old), qos_class(new));
    if was != is {
        let rule = format!("Invalid value: {was:?}");
        return invalid("spec", &rule, "Pod QOS Class may not change as a result of resizing");
    }
    let lists = CONTAINER_LISTS.iter();
    ApiError::all(lists.flat_map(|list| check_list(&name, list, old, new)).collect())
}

fn check_list(name: &str, list: &str, old: &Value, new: &Value) -> Vec<ApiError> {
    let mut found = Vec::new();
    let mut reject =
        |field: String, rule: &str, why: &str| found.push(ApiError::invalid("Pod", name, &field, rule, why));
    for (index, (before, after)) in containers(old, list).iter().zip(containers(new, list)).enumerate() {
        let (before, after) = (&before["resources"], &after["resources"]);
        for part in ["limits", "requests"] {
            let field = format!("spec.{list}[{index}].resources.{part}");
            let keys = |value: &Value| -> Vec<String> {
                value[part].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
            };
            if keys(before).iter().any(|key| after[part][key].is_null()) {
                reject(field, "Forbidden", &format!("resource {part} cannot be removed"));
                continue;
            }
            for key in keys(after) {
                let (was, is) = (nanos(&before[part][&key]), nanos(&after[part][&key]));
                if is.is_none() || is.is_some_and(|amount| amount < 0) {
                    let rule = format!("Invalid value: {}", after[part][&key]);
                    reject(format!("{field}[{key}]"), &rule, "must be greater than or equal to 0");
                    continue;
                }
                if was != is && !matches!(key.as_str(), "cpu" | "memory") {
                    reject("spec".to_owned(), "Forbidden", "only cpu and memory resources are mutable");
                    continue;
                }
                let limit = nanos(&after["limits"][&key]);
                if part == "requests" && limit.is_some_and(|limit| is > Some(limit)) {
                    let text = |part: &str| after[part][&key].as_str().unwrap_or_default().to_owned();
                    let rule = format!("Invalid value: {:?}", text("requests"));
                    let why = format!("must be less than or equal to {key} limit of {}", text("limits"));
                    reject(field.clone(), &rule, &why);
                }
            }
        }
    }
    found
}

/// Rejects a pod whose requests exceed its node, as the admission of Kubernetes 1.36 does, and one whose node does not exist.
/// Accepts an unbound pod, and one on a node without allocatable resources.
pub(super) fn check_capacity(pod: &Value, node: Option<&Value>) -> Result<(), ApiError> {
    let bound = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    let (node, name) = match (bound, node) {
        (None, _) => return Ok(()),
        (Some(_), Some(node)) => (node, pod["metadata"]["name"].as_str().unwrap_or_default()),
        (Some(absent), None) => {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            return Err(ApiError::forbidden("pods", name, &format!("node {absent:?} not found")));
        }
    };
    for (resource, unit) in [("cpu", 1_000_000), ("memory", 1_000_000_000)] {
        let requests = containers(pod, "containers")
            .iter()
            .map(|container| nanos(&container["resources"]["requests"][resource]));
        let sidecars = containers(pod, "initContainers")
            .iter()
            .filter(|container| container["restartPolicy"] == "Always");
        let sidecars = sidecars.map(|container| nanos(&container["resources"]["requests"][resource]));
        let requested: i128 = requests.chain(sidecars).flatten().sum();
        let Some(allocatable) = nanos(&node["status"]["allocatable"][resource]) else {
            continue;
        };
        if requested > allocatable {
            let why = format!(
                "node didn't have enough allocatable resources: {resource}, requested: {}, allocatable: {}",
                requested / unit,
                allocatable / unit
            );
            let mut error = ApiError::forbidden("pods", name, &why);
            if let Some(details) = &mut error.details {
                details["causes"] = json!([{"reason": "NodeCapacity", "message": why}]);
            }
            return Err(error);
        }
    }
    Ok(())
}
