//! Strict parsing: into the type of the kind and back, without losing a field.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::files::text;

/// Checks that an object has only fields of its type.
pub(crate) fn check(object: &Value) -> Result<(), String> {
    match (text(object, "/apiVersion"), text(object, "/kind")) {
        ("v1", "ConfigMap") => strict::<ConfigMap>(object),
        ("v1", "Namespace") => strict::<Namespace>(object),
        ("v1", "Secret") => strict::<Secret>(object),
        ("v1", "Service") => strict::<Service>(object),
        ("v1", "ServiceAccount") => strict::<ServiceAccount>(object),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => strict::<CustomResourceDefinition>(object),
        ("apps/v1", "DaemonSet") => strict::<DaemonSet>(object),
        ("apps/v1", "Deployment") => strict::<Deployment>(object),
        ("coordination.k8s.io/v1", "Lease") => strict::<Lease>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => strict::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => strict::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => strict::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => strict::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => strict::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => strict::<RoleBinding>(object),
        ("scheduling.k8s.io/v1", "PriorityClass") => strict::<PriorityClass>(object),
        // Its type is private to the aggregator, whose test of the classes that ship knows every field (cluster/classes/tests.rs).
        ("plimsoll.dev/v1alpha1", "SLAClass") => Ok(()),
        (version, kind) => Err(format!("no type for {kind} in {version}: add it to this table")),
    }
}

/// Checks that a value has only fields of `T`, and no value that `T` parses differently.
pub(crate) fn strict<T: DeserializeOwned + Serialize>(source: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(source.clone()).map_err(|error| error.to_string())?;
    let back = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    compare("", source, Some(&back), &mut lost);
    if lost.is_empty() { Ok(()) } else { Err(format!("unknown or misread: {}", lost.join(", "))) }
}

fn compare(path: &str, source: &Value, back: Option<&Value>, lost: &mut Vec<String>) {
    match (source, back) {
        (Value::Object(source), Some(Value::Object(back))) => {
            for (key, value) in source {
                compare(&format!("{path}/{key}"), value, back.get(key), lost);
            }
        }
        (Value::Array(source), Some(Value::Array(back))) if source.len() == back.len() => {
            for (index, (value, back)) in source.iter().zip(back).enumerate() {
                compare(&format!("{path}/{index}"), value, Some(back), lost);
            }
        }
        (source, Some(back)) if source == back => {}
        (source, back) => lost.push(format!("{path} {source} -> {}", back.unwrap_or(&Value::Null))),
    }
}
