//! `pods/resize`: what of the body counts, what it may not do, and whether the node is large enough.
//!
//! Pure. The wordings are a real server's.

use serde_json::{Value, json};

use super::pod::{CONTAINER_LISTS, containers, qos_class};
use super::quantity::nanos;
use super::status::ApiError;

/// Reduces the new pod to the old one with new container resources, and refuses what a resize may not change.
pub(super) fn prepare(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let name = old["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let refuse = |field: &str, rule: &str, why: &str| Err(ApiError::invalid("Pod", &name, field, rule, why));
    let wanted = new.clone();
    let managed = new["metadata"]["managedFields"].take();
    *new = old.clone();
    new["metadata"]["managedFields"] = managed;
    if old["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return refuse("metadata.annotations", "Forbidden", "static pods cannot be resized");
    }
    for list in CONTAINER_LISTS {
        let (before, after) = (containers(old, list), containers(&wanted, list));
        if before.len() != after.len() {
            return refuse(
                &format!("spec.{list}"),
                "Forbidden",
                "containers may not be added or removed on resize",
            );
        }
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            if before["name"] != after["name"] {
                let why = "containers may not be renamed or reordered on resize";
                return refuse(&format!("spec.{list}[{index}].name"), "Forbidden", why);
            }
            take_resources(&mut new["spec"][list][index], before, after);
        }
    }
    let (was, is) = (qos_class(old), qos_class(new));
    if was != is {
        let rule = format!("Invalid value: {was:?}");
        return refuse("spec", &rule, "Pod QOS Class may not change as a result of resizing");
    }
    CONTAINER_LISTS.iter().try_for_each(|list| check_list(&name, list, old, new))
}

fn take_resources(target: &mut Value, before: &Value, after: &Value) {
    let mut resources = after["resources"].clone();
    // a new limit without a request is also the request, as at creation
    for (resource, amount) in resources["limits"].as_object().cloned().into_iter().flatten() {
        if resources["requests"][&resource].is_null() && before["resources"]["requests"][&resource].is_null()
        {
            resources["requests"][&resource] = amount;
        }
    }
    if resources["requests"].is_null()
        && let Some(map) = resources.as_object_mut()
    {
        map.shift_remove("requests");
        if map.get("limits").is_some_and(Value::is_null) {
            map.shift_remove("limits");
        }
    }
    if let Some(target) = target.as_object_mut() {
        for (field, value) in [("resources", &resources), ("resizePolicy", &after["resizePolicy"])] {
            if !value.is_null() {
                target.insert(field.to_owned(), value.clone());
            }
        }
    }
}

fn check_list(name: &str, list: &str, old: &Value, new: &Value) -> Result<(), ApiError> {
    let refuse =
        |field: String, rule: &str, why: &str| Err(ApiError::invalid("Pod", name, &field, rule, why));
    for (index, (before, after)) in containers(old, list).iter().zip(containers(new, list)).enumerate() {
        let (before, after) = (&before["resources"], &after["resources"]);
        for part in ["limits", "requests"] {
            let field = format!("spec.{list}[{index}].resources.{part}");
            let keys = |value: &Value| -> Vec<String> {
                value[part].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
            };
            if keys(before).iter().any(|key| after[part][key].is_null()) {
                return refuse(field, "Forbidden", &format!("resource {part} cannot be removed"));
            }
            for key in keys(after) {
                let (was, is) = (nanos(&before[part][&key]), nanos(&after[part][&key]));
                if is.is_none() || is.is_some_and(|amount| amount < 0) {
                    let rule = format!("Invalid value: {}", after[part][&key]);
                    return refuse(format!("{field}[{key}]"), &rule, "must be greater than or equal to 0");
                }
                if was != is && !matches!(key.as_str(), "cpu" | "memory") {
                    return refuse(
                        "spec".to_owned(),
                        "Forbidden",
                        "only cpu and memory resources are mutable",
                    );
                }
                let limit = nanos(&after["limits"][&key]);
                if part == "requests" && limit.is_some_and(|limit| is > Some(limit)) {
                    let text = |part: &str| after[part][&key].as_str().unwrap_or_default().to_owned();
                    let rule = format!("Invalid value: {:?}", text("requests"));
                    let why = format!("must be less than or equal to {key} limit of {}", text("limits"));
                    return refuse(field, &rule, &why);
                }
            }
        }
    }
    Ok(())
}

/// Refuses a pod whose requests are larger than its node, as the admission of 1.36 does. A node that does not exist, or that
/// reports no allocatable resources, refuses nothing.
pub(super) fn check_capacity(pod: &Value, node: Option<&Value>) -> Result<(), ApiError> {
    let Some(node) = node else { return Ok(()) };
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
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let mut error = ApiError::forbidden("pods", name, &why);
            if let Some(details) = &mut error.details {
                details["causes"] = json!([{"reason": "NodeCapacity", "message": why}]);
            }
            return Err(error);
        }
    }
    Ok(())
}
