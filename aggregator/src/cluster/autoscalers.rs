//! HorizontalPodAutoscalers as the API server sends them: what they scale, and which requests their metrics divide by.
//!
//! A metric that cannot be read may use anything: it counts as both resources of all containers.

use std::collections::BTreeSet;

use anyhow::Context;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use plimsoll_contract::Resource;
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient};
use serde::Deserialize;

use super::names::Names;
use crate::facts::{Autoscaled, AutoscalerFacts, WorkloadRef};

/// Metrics that are told apart; an autoscaler with more uses anything.
const MAX_METRICS: usize = 64;

/// The fields of an autoscaler that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AutoscalerObject {
    #[serde(default)]
    metadata: Names,
    spec: AutoscalerSpec,
}

impl Content for AutoscalerObject {
    type Kind = HorizontalPodAutoscaler;
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutoscalerSpec {
    scale_target_ref: Target,
    #[serde(default, deserialize_with = "field::list")]
    metrics: Vec<Lenient<Metric>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Target {
    #[serde(deserialize_with = "field::name")]
    kind: String,
    #[serde(deserialize_with = "field::name")]
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    r#type: String,
    #[serde(default)]
    resource: Lenient<MetricSource>,
    #[serde(default)]
    container_resource: Lenient<MetricSource>,
}

#[derive(Debug, Clone, Deserialize)]
struct MetricSource {
    name: String,
    #[serde(default)]
    container: Lenient<String>,
}

impl AutoscalerObject {
    /// What is kept of the autoscaler.
    ///
    /// # Errors
    /// If it has no name or namespace. The error starts with the field.
    pub(crate) fn facts(&self) -> anyhow::Result<AutoscalerFacts> {
        let Target { kind, name } = self.spec.scale_target_ref.clone();
        Ok(AutoscalerFacts {
            key: self.metadata.key().context("metadata: it has no name or namespace")?,
            target: WorkloadRef { kind, name },
            uses: self.uses(),
        })
    }

    fn uses(&self) -> Vec<Autoscaled> {
        let any = || Resource::ALL.map(|resource| Autoscaled { resource, container: None }).to_vec();
        let metrics = &self.spec.metrics;
        // Kubernetes takes CPU for an autoscaler without metrics.
        if metrics.is_empty() {
            return vec![Autoscaled { resource: Resource::Cpu, container: None }];
        }
        let mut uses = BTreeSet::new();
        for metric in metrics {
            match metric.0.as_ref().and_then(Metric::uses) {
                Some(used) => uses.extend(used),
                None => return any(),
            }
            if uses.len() > MAX_METRICS {
                return any();
            }
        }
        uses.into_iter().map(|(resource, container)| Autoscaled { resource, container }).collect()
    }
}

impl Metric {
    /// The request that it divides by, if any; none where that cannot be told.
    fn uses(&self) -> Option<Option<(Resource, Option<String>)>> {
        let (source, container) = match self.r#type.as_str() {
            "Resource" => (self.resource.0.as_ref()?, None),
            "ContainerResource" => {
                let source = self.container_resource.0.as_ref()?;
                let container = source.container.0.clone().filter(|name| (1..=63).contains(&name.len()))?;
                (source, Some(container))
            }
            // External, Pods and Object.
            _ => return Some(None),
        };
        let resource = Resource::ALL.into_iter().find(|resource| resource.as_str() == source.name);
        Some(resource.map(|resource| (resource, container)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn uses(metrics: &Value) -> Vec<String> {
        let object = json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": metrics},
        });
        let facts = serde_json::from_str::<AutoscalerObject>(&object.to_string()).unwrap().facts().unwrap();
        assert_eq!((facts.target.kind.as_str(), facts.target.name.as_str()), ("Deployment", "web"));
        let words = |used: &Autoscaled| {
            [used.resource.as_str(), used.container.as_deref().unwrap_or("all")].join(" ")
        };
        facts.uses.iter().map(words).collect()
    }

    #[test]
    fn metrics_of_resources_are_told_from_those_that_do_not_depend_on_requests() {
        let resource = |name: &str| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization"}}});
        let of = |name: &str, container: &str| json!({"type": "ContainerResource", "containerResource": {"name": name, "container": container, "target": {}}});
        assert_eq!(
            uses(&json!([resource("cpu"), resource("memory"), resource("cpu")])),
            ["cpu all", "memory all"]
        );
        assert_eq!(uses(&json!([of("cpu", "app")])), ["cpu app"]);
        let elsewhere = ["External", "Pods", "Object", "OfALaterVersion"].map(|kind| json!({"type": kind}));
        assert_eq!(uses(&json!(elsewhere)), [""; 0]);
        assert_eq!(uses(&json!([resource("nvidia.com/gpu")])), [""; 0]);
        for none in [json!(null), json!([])] {
            assert_eq!(uses(&none), ["cpu all"], "Kubernetes' default");
        }
    }

    #[test]
    fn a_metric_that_cannot_be_read_may_use_anything() {
        let many: Vec<_> = (0..65).map(|n| json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": format!("c{n}")}})).collect();
        let long = json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c".repeat(64)}});
        for odd in [
            json!([5]),
            json!([{}]),
            json!([{"type": "Resource"}]),
            json!([{"type": "Resource", "resource": {"name": 5}}]),
            json!([long]),
            json!(many),
        ] {
            assert_eq!(uses(&odd), ["cpu all", "memory all"]);
        }
    }

    #[test]
    fn an_autoscaler_without_a_target_or_name_is_unreadable() {
        assert!(
            serde_json::from_str::<AutoscalerObject>(
                r#"{"metadata": {"name": "a", "namespace": "b"}, "spec": {}}"#
            )
            .is_err()
        );
        let nameless = json!({"metadata": {"name": 5}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        assert!(serde_json::from_str::<AutoscalerObject>(&nameless.to_string()).unwrap().facts().is_err());
    }
}
