//! Gives one pod its original resources back: `plimsoll.dev/original-resources`, by a PATCH of `pods/resize`.
//!
//! The body names the pod's uid and the version that was read, and only the cpu and memory that differ: nothing unset is set, nothing is
//! removed, and neither another pod nor a size that changed meanwhile is overwritten. A failure is reported; a pod is never evicted.

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::Status;
use plimsoll_contract::api_status::is_pod_gone;
use plimsoll_contract::resize::{ContainerResources, PodResources};
use plimsoll_contract::{Quantity, keys};
use plimsoll_objects::{Nothing, Object};
use serde_json::{Value, json};

use crate::connect::{Failure, Operation, escaped};
use crate::live::{Container, LivePod, PodId};
use crate::requests::Requests;
use crate::size::{self, Change};

/// The field manager of a person's resize.
const MANAGER: &str = "plimsoll-cli";
/// How often a pod that changed meanwhile is read again.
const MAX_CONFLICTS: usize = 3;

const READ: Operation = Operation::on_api_server("reading the pod", "get pods");
const RESIZE: Operation = Operation::on_api_server("restoring its original resources", "patch pods/resize");

/// What became of one pod.
#[derive(Debug, PartialEq)]
pub(crate) enum Restored {
    /// The API server accepted these changes, or would.
    Done(Vec<Change>),
    /// It has its original resources.
    Already,
    /// It has no original resources: Plimsoll never resized it.
    Never,
    /// It has finished or is being deleted.
    Finishing,
    /// It is gone, or another one has its name.
    Gone,
    Failed {
        why: String,
        /// The annotation, where it is known.
        original: Option<String>,
    },
}

/// Restores one pod; in a dry run the API server only says whether it would.
pub(crate) async fn restore(client: &Client, pod: &PodId, requests: &Requests, dry_run: bool) -> Restored {
    let read: Api<Object<LivePod>> = Api::namespaced(client.clone(), &pod.namespace);
    // Of the answer nothing is used.
    let write: Api<Object<Nothing<k8s_openapi::api::core::v1::Pod>>> =
        Api::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams { dry_run, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let failed =
        |why: String, original: Option<&String>| Restored::Failed { why, original: original.cloned() };
    let mut conflicts = 0;
    loop {
        let object = match requests.send(READ, || read.get(&pod.name)).await {
            Ok(Ok(object)) => object,
            Ok(Err(status)) if status.code == 404 => return Restored::Gone,
            Ok(Err(status)) => return failed(refused(READ, status).to_string(), None),
            Err(failure) => return failed(failure.to_string(), None),
        };
        if object.names().uid.as_deref() != Some(&pod.uid) {
            return Restored::Gone;
        }
        let live = match &object.content {
            Ok(live) => live,
            Err(problem) => {
                return failed(format!("it cannot be read: {}", escaped(&problem.to_string())), None);
            }
        };
        let annotation = live.metadata.annotations.get(keys::ORIGINAL_RESOURCES);
        let original = match live.original() {
            None => return Restored::Never,
            Some(_) if live.is_finishing() => return Restored::Finishing,
            // Anybody who may annotate the pod can write one, and may not be allowed to resize it: that would be done with our rights.
            Some(_) if !live.owner_of_original().ours => return failed(written_by_others(live), annotation),
            Some(Err(why)) => return failed(escaped(&why), annotation),
            Some(Ok(original)) => original,
        };
        let (changes, spec) = match plan(&original, live) {
            Ok((changes, _)) if changes.is_empty() => return Restored::Already,
            Ok(planned) => planned,
            Err(why) => return failed(why, annotation),
        };
        let version = object.names().resource_version.as_deref();
        let body = json!({"metadata": {"uid": pod.uid, "resourceVersion": version}, "spec": spec});
        let patch = Patch::Strategic(body);
        match requests.send(RESIZE, || write.patch_subresource("resize", &pod.name, &params, &patch)).await {
            Ok(Ok(_)) => return Restored::Done(changes),
            Ok(Err(status)) if is_gone(&status) => return Restored::Gone,
            Ok(Err(status)) if status.code == 409 && conflicts < MAX_CONFLICTS => conflicts += 1,
            Ok(Err(status)) => return failed(refused(RESIZE, status).to_string(), annotation),
            Err(failure) => return failed(failure.to_string(), annotation),
        }
    }
}

/// Why the record on a pod is not followed.
fn written_by_others(pod: &LivePod) -> String {
    let owners = pod.owner_of_original().others;
    let by =
        if owners.is_empty() { String::new() } else { format!(" but by {}", escaped(&owners.join(", "))) };
    let key = keys::ORIGINAL_RESOURCES;
    format!("annotation {key} was not written by Plimsoll{by}; if it is right, resize the pod by hand")
}

/// The changes, and the spec of the body.
fn plan(original: &PodResources, pod: &LivePod) -> Result<(Vec<Change>, Value), String> {
    let mut changes = Vec::new();
    let mut spec = json!({});
    for (list, containers) in
        [("containers", &pod.spec.containers), ("initContainers", &pod.spec.init_containers)]
    {
        let mut bodies = Vec::new();
        for container in containers {
            let Some(wanted) = original.get(&container.name) else { continue };
            let (differing, resources) = differing(container, wanted)?;
            if !differing.is_empty() {
                bodies.push(json!({"name": container.name, "resources": resources}));
                changes.extend(differing);
            }
        }
        if !bodies.is_empty() {
            spec[list] = Value::Array(bodies);
        }
    }
    Ok((changes, spec))
}

/// What of one container differs from what it had.
fn differing(
    container: &Container,
    wanted: &ContainerResources,
) -> Result<(Vec<Change>, ContainerResources), String> {
    let name = &container.name;
    let (mut changes, mut resources) = (Vec::new(), ContainerResources::default());
    for (resource, part) in size::amounts() {
        let Some(to) = size::amount(wanted, resource, part) else { continue };
        let what = || format!("{} {resource} {part}", escaped(name));
        if to.parse::<Quantity>().is_err() {
            return Err(format!(
                "annotation {} has no valid {}: `{}`; correct it, or resize the pod by hand",
                keys::ORIGINAL_RESOURCES,
                what(),
                escaped(to)
            ));
        }
        match size::amount(&container.resources, resource, part) {
            Some(from) if size::same(from, to) => {}
            Some(from) => {
                let (from, to) = (Some(from.to_owned()), to.to_owned());
                size::set(&mut resources, resource, part, to.clone());
                changes.push(Change { container: name.clone(), resource, part, from, to });
            }
            // A resize must not set what is not set.
            None => return Err(format!("{} was {to} and is not set any more; recreate the pod", what())),
        }
    }
    Ok((changes, resources))
}

/// Why the API server refuses. Admission answers 403 too, where there is no room or a rule of the namespace is against it: that is no missing
/// right.
fn refused(operation: Operation, status: Box<Status>) -> Failure {
    let says =
        |words: &[&str]| status.code == 403 && words.iter().any(|words| status.message.contains(words));
    let message = escaped(&status.message);
    let problem = if says(&["didn't have enough allocatable resources"]) {
        format!("there is no room for it ({message}); try again when there is, or recreate the pod elsewhere")
    } else if says(&["exceeded quota"]) {
        format!(
            "the namespace's quota has no room for it ({message}); raise the ResourceQuota or delete pods, and try again"
        )
    } else if says(&["maximum", "minimum"]) {
        format!(
            "a LimitRange of the namespace is against it ({message}); change the LimitRange, and try again"
        )
    } else {
        return operation.failure(&kube::Error::Api(status));
    };
    Failure::other(operation.action, problem)
}

fn is_gone(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    is_pod_gone(status.code, &status.message, causes.map(|cause| cause.field.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value, original: &Value) -> LivePod {
        let mut pod = json!({"metadata": {"annotations": {keys::ORIGINAL_RESOURCES: original.to_string()}}});
        pod["spec"] = spec;
        serde_json::from_str(&pod.to_string()).unwrap()
    }

    fn planned(pod: &LivePod) -> Result<(Vec<String>, Value), String> {
        let (changes, spec) = plan(&pod.original().unwrap()?, pod)?;
        Ok((changes.iter().map(ToString::to_string).collect(), spec))
    }

    #[test]
    fn the_body_has_only_the_cpu_and_memory_that_differ() {
        let pod = pod(
            json!({
                "containers": [
                    {"name": "app", "resources": {
                        "requests": {"cpu": "600m", "memory": "256Mi", "nvidia.com/gpu": "1"},
                        "limits": {"cpu": "890m", "memory": "512Mi", "nvidia.com/gpu": "1"}}},
                    {"name": "new", "resources": {"limits": {"cpu": "1"}}},
                ],
                "initContainers": [{"name": "proxy", "resources": {"requests": {"cpu": "40m"}}}],
            }),
            &json!({
                "app": {"requests": {"cpu": "250m", "memory": "268435456", "nvidia.com/gpu": "2"}, "limits": {"cpu": "0.5", "memory": "512Mi"}},
                "proxy": {"requests": {"cpu": "20m"}},
                "gone": {"limits": {"cpu": "1"}},
            }),
        );
        let (changes, spec) = planned(&pod).unwrap();
        assert_eq!(
            changes,
            ["app cpu request 600m -> 250m", "app cpu limit 890m -> 500m", "proxy cpu request 40m -> 20m"]
        );
        let expected = json!({
            "containers": [{"name": "app", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "0.5"}}}],
            "initContainers": [{"name": "proxy", "resources": {"requests": {"cpu": "20m"}}}],
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn a_pod_at_its_original_size_needs_nothing() {
        let size = json!({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}});
        let pod = pod(
            json!({"containers": [{"name": "app", "resources": size}]}),
            &json!({"app": {"requests": {"cpu": "1000m"}, "limits": {"memory": "1024Mi"}}}),
        );
        assert_eq!(planned(&pod).unwrap(), (vec![], json!({})));
    }

    #[test]
    fn what_cannot_be_restored_is_named_with_the_cure() {
        let unset = json!({"containers": [{"name": "app", "resources": {}}]});
        let why = planned(&pod(unset.clone(), &json!({"app": {"limits": {"cpu": "1"}}}))).unwrap_err();
        assert_eq!(why, "app cpu limit was 1 and is not set any more; recreate the pod");
        let why = planned(&pod(unset.clone(), &json!({"app": {"limits": {"cpu": "lots"}}}))).unwrap_err();
        assert!(
            why.contains("no valid app cpu limit: `lots`") && why.contains(keys::ORIGINAL_RESOURCES),
            "{why}"
        );
        let why = planned(&pod(unset, &json!([1]))).unwrap_err();
        assert!(why.contains("cannot be read") && why.contains("by hand"), "{why}");
    }
}
