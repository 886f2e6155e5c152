//! The rules of pods: defaults, quality of service, and the fields of a spec that may change after creation. Pure.
//!
//! Not all defaults of a real server are set, only those that a recorded answer contains.

use serde_json::{Value, json};

use super::quantity::{canonicalize, nanos};
use super::status::ApiError;

/// The lists of containers that have resources.
pub(super) const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// The items of a list of the spec; empty if it is absent.
pub(super) fn containers<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Converts the resources of every container to canonical quantities.
pub(super) fn canonicalize_resources(pod: &mut Value) {
    for list in CONTAINER_LISTS {
        let items = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in items.into_iter().flatten() {
            for part in ["limits", "requests"] {
                let amounts = container.get_mut("resources").and_then(|resources| resources.get_mut(part));
                let amounts = amounts.and_then(Value::as_object_mut).into_iter().flatten();
                amounts.for_each(|(_, amount)| canonicalize(amount));
            }
        }
    }
}

pub(super) fn prepare_create(pod: &mut Value) -> Result<(), ApiError> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if containers(pod, "containers").is_empty() {
        return Err(ApiError::invalid("Pod", &name, "spec.containers", "Required value", ""));
    }
    if let Some(members) = pod.as_object_mut() {
        members.shift_remove("status");
    }
    set_defaults(pod);
    for (index, container) in containers(pod, "containers").iter().enumerate() {
        for required in ["name", "image"] {
            if container[required].as_str().unwrap_or_default().is_empty() {
                let field = format!("spec.containers[{index}].{required}");
                return Err(ApiError::invalid("Pod", &name, &field, "Required value", ""));
            }
        }
        if containers(pod, "containers")[..index].iter().any(|other| other["name"] == container["name"]) {
            let (field, rule) =
                (format!("spec.containers[{index}].name"), format!("Duplicate value: {}", container["name"]));
            return Err(ApiError::invalid("Pod", &name, &field, &rule, ""));
        }
        check_resources(&name, index, &container["resources"])?;
    }
    Ok(())
}

/// Sets the fields that have no owner: the service account, and the status of a pod that no kubelet has seen yet.
pub(super) fn complete(pod: &mut Value) {
    if pod["spec"]["serviceAccountName"].is_null() {
        pod["spec"]["serviceAccountName"] = json!("default");
    }
    pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(pod)});
}

fn check_resources(name: &str, index: usize, resources: &Value) -> Result<(), ApiError> {
    let mut found = Vec::new();
    for part in ["limits", "requests"] {
        for (resource, amount) in resources[part].as_object().into_iter().flatten() {
            if nanos(amount).is_some_and(|amount| amount < 0) {
                let field = format!("spec.containers[{index}].resources.{part}[{resource}]");
                let rule = format!("Invalid value: {amount}");
                let why = "must be greater than or equal to 0";
                found.push(ApiError::invalid("Pod", name, &field, &rule, why));
            }
            let limit = nanos(&resources["limits"][resource.as_str()]);
            if let (Some(limit), Some(amount)) = (limit, nanos(amount))
                && part == "requests"
                && amount > limit
            {
                let field = format!("spec.containers[{index}].resources.requests");
                let rule = format!("Invalid value: {}", resources["requests"][resource.as_str()]);
                let why = format!(
                    "must be less than or equal to {resource} limit of {}",
                    resources["limits"][resource.as_str()]
                );
                found.push(ApiError::invalid("Pod", name, &field, &rule, &why));
            }
        }
    }
    ApiError::all(found)
}

/// Sets the defaults, in every write.
pub(super) fn set_defaults(pod: &mut Value) {
    let spec = &mut pod["spec"];
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
        ("securityContext", json!({})),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    for list in CONTAINER_LISTS {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            set_container_defaults(container);
        }
        if spec[list].is_null()
            && let Some(map) = spec.as_object_mut()
        {
            map.shift_remove(list);
        }
    }
}

fn set_container_defaults(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let is_fixed = tag.is_some_and(|tag| tag != "latest");
    for (field, value) in [
        ("imagePullPolicy", json!(if is_fixed { "IfNotPresent" } else { "Always" })),
        ("resources", json!({})),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
    ] {
        if container[field].is_null() {
            container[field] = value;
        }
    }
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        if port["protocol"].is_null() {
            port["protocol"] = json!("TCP");
        }
    }
    if container["ports"].is_null()
        && let Some(map) = container.as_object_mut()
    {
        map.shift_remove("ports");
    }
    let limits = container["resources"].get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
    for (resource, amount) in limits {
        // A limit without a request is also the request.
        if container["resources"]["requests"][&resource].is_null() {
            container["resources"]["requests"][&resource] = amount;
        }
    }
}

/// Guaranteed, Burstable or BestEffort, as the kubelet determines it.
pub(super) fn qos_class(pod: &Value) -> &'static str {
    // Resources of the pod itself take precedence.
    let own = std::slice::from_ref(&pod["spec"]);
    let is_own = ["requests", "limits"].iter().any(|part| own[0]["resources"].get(part).is_some());
    let all = || {
        let lists = CONTAINER_LISTS.iter().filter(|_| !is_own).flat_map(|list| containers(pod, list));
        lists.chain(own.iter().filter(|_| is_own))
    };
    let amount = |container: &Value, part: &str, resource: &str| {
        nanos(&container["resources"][part][resource]).filter(|amount| *amount > 0)
    };
    let is_set = |container: &Value| {
        ["requests", "limits"]
            .iter()
            .any(|part| ["cpu", "memory"].iter().any(|resource| amount(container, part, resource).is_some()))
    };
    let is_fixed = |container: &Value| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = amount(container, "limits", resource);
            limit.is_some() && limit == amount(container, "requests", resource)
        })
    };
    if !all().any(is_set) {
        "BestEffort"
    } else if all().all(is_fixed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A write of the pod itself: only images, tolerations and two numbers of the spec may change.
pub(super) fn prepare_update(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    if changeable_removed(old) == changeable_removed(new) {
        return Ok(());
    }
    let name = old["metadata"]["name"].as_str().unwrap_or_default();
    if containers(new, "containers").is_empty() {
        return Err(ApiError::invalid("Pod", name, "spec.containers", "Required value", ""));
    }
    let count = |pod: &Value, list: &str| containers(pod, list).len();
    if let Some(list) = CONTAINER_LISTS.into_iter().find(|list| count(old, list) != count(new, list)) {
        let why = "pod updates may not add or remove containers";
        return Err(ApiError::invalid("Pod", name, &format!("spec.{list}"), "Forbidden", why));
    }
    let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    Err(ApiError::invalid("Pod", name, "spec", "Forbidden", why))
}

fn changeable_removed(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    for list in CONTAINER_LISTS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(map) = container.as_object_mut() {
                map.shift_remove("image");
            }
        }
    }
    if let Some(map) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            map.shift_remove(field);
        }
    }
    spec
}
