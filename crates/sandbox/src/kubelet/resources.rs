//! The resources in a pod's spec: containers, quality of service, and the limits of its cgroups.
//!
//! Pure; the rules are the kubelet's (`kuberuntime`, `cm/helpers_linux`, `qos`).

use plimsoll_contract::{Bytes, Cores, Limit, PodName, PodUid, Quantity, keys};
use serde_json::{Map, Value, json};

use crate::host::{Limits, Qos};
use crate::load::{ANNOTATION, Load};

/// Amounts of the two resources; absent if not set.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Amounts {
    pub cpu: Option<Quantity>,
    pub memory: Option<Quantity>,
}

/// Requests and limits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Resources {
    pub requests: Amounts,
    pub limits: Amounts,
}

/// Kind of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    App,
    /// An init container that keeps running.
    Sidecar,
    /// An init container that completes; here it does so immediately.
    Init,
}

/// A container of the spec.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub kind: Kind,
    pub resources: Resources,
    pub load: Load,
}

/// The spec of a pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodSpec {
    pub name: PodName,
    /// The uid in the name of the cgroup: for a static pod its config hash.
    pub uid: PodUid,
    pub generation: i64,
    pub containers: Vec<ContainerSpec>,
    /// `spec.resources`.
    pub own: Option<Resources>,
    /// Whether containers that end are restarted.
    pub restarts: bool,
}

impl Amounts {
    fn read(value: &Value) -> Amounts {
        let amount = |name: &str| serde_json::from_value(value.get(name)?.clone()).ok();
        Amounts { cpu: amount("cpu"), memory: amount("memory") }
    }

    fn or(self, other: Amounts) -> Amounts {
        Amounts { cpu: self.cpu.or(other.cpu), memory: self.memory.or(other.memory) }
    }

    fn json(self) -> Option<Value> {
        let both = [("cpu", self.cpu), ("memory", self.memory)];
        let set: Map<String, Value> =
            both.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), json!(amount?)))).collect();
        (!set.is_empty()).then_some(Value::Object(set))
    }

    fn is_set(self) -> bool {
        let positive = |amount: Option<Quantity>| amount.is_some_and(|amount| amount.as_f64() > 0.0);
        positive(self.cpu) || positive(self.memory)
    }

    /// The middle between these amounts and `other`, in millicores and bytes.
    fn halfway(self, other: Amounts) -> Amounts {
        let cpu = self
            .cpu
            .zip(other.cpu)
            .map(|(a, b)| Quantity::from_millicores(((a.as_f64() + b.as_f64()) * 500.0).round() as u64));
        let memory = self
            .memory
            .zip(other.memory)
            .map(|(a, b)| Quantity::from_bytes(Bytes(((a.as_f64() + b.as_f64()) / 2.0).round() as u64)));
        Amounts { cpu, memory }.or(self)
    }
}

impl Resources {
    /// Reads a `resources` field; a limit without a request is also the request.
    pub(super) fn read(value: &Value) -> Resources {
        let limits = Amounts::read(&value["limits"]);
        Resources { requests: Amounts::read(&value["requests"]).or(limits), limits }
    }

    /// The `resources` field.
    pub(super) fn json(self) -> Value {
        let parts = [("requests", self.requests.json()), ("limits", self.limits.json())];
        parts
            .into_iter()
            .filter_map(|(name, amounts)| Some((name.to_owned(), amounts?)))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The `allocatedResources` field: the requests alone.
    pub(super) fn requests_json(self) -> Value {
        self.requests.json().unwrap_or_else(|| json!({}))
    }

    /// The limits of the container's cgroup.
    pub(super) fn limits(self) -> Limits {
        let set = |amount: Option<Quantity>| amount.filter(|amount| amount.as_f64() > 0.0);
        Limits {
            cpu: set(self.limits.cpu).map_or(Limit::Unlimited, |cpu| Limit::Of(Cores::from(cpu))),
            memory: set(self.limits.memory).map_or(Limit::Unlimited, |memory| Limit::Of(Bytes::from(memory))),
            cpu_request: set(self.requests.cpu).map(Cores::from),
        }
    }

    /// The middle between these resources and `other`.
    pub(super) fn halfway(self, other: Resources) -> Resources {
        Resources {
            requests: self.requests.halfway(other.requests),
            limits: self.limits.halfway(other.limits),
        }
    }

    fn is_set(self) -> bool {
        self.requests.is_set() || self.limits.is_set()
    }

    fn is_fixed(self) -> bool {
        let Resources { requests, limits } = self;
        limits.cpu.is_some() && limits.memory.is_some() && requests == limits
    }
}

impl PodSpec {
    /// Reads a Pod; absent when its uid or config hash cannot be the name of a cgroup.
    pub(super) fn read(pod: &Value) -> Option<PodSpec> {
        let metadata = &pod["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = metadata["annotations"].get(keys::CONFIG_HASH).unwrap_or(&metadata["uid"]);
        let spec = &pod["spec"];
        let list = |name: &str| spec[name].as_array().cloned().unwrap_or_default();
        let inits = list("initContainers").into_iter().map(|container| {
            let kind = if container["restartPolicy"] == "Always" { Kind::Sidecar } else { Kind::Init };
            (container, kind)
        });
        let apps = list("containers").into_iter().map(|container| (container, Kind::App));
        let first = text(&spec["containers"][0]["name"]);
        let containers = inits.chain(apps).map(|(container, kind)| {
            let name = text(&container["name"]);
            let load = load_of(&metadata["annotations"], &name, name == first);
            let resources = Resources::read(&container["resources"]);
            ContainerSpec { image: text(&container["image"]), name, kind, resources, load }
        });
        Some(PodSpec {
            name: PodName::new(&text(&metadata["namespace"]), &text(&metadata["name"])),
            uid: PodUid::new(uid.as_str()?).ok()?,
            generation: metadata["generation"].as_i64().unwrap_or(1),
            containers: containers.collect(),
            own: spec.get("resources").filter(|own| own.is_object()).map(Resources::read),
            restarts: spec["restartPolicy"].as_str().unwrap_or("Always") == "Always",
        })
    }

    /// The quality-of-service class.
    pub(super) fn qos(&self) -> Qos {
        let all = || self.containers.iter().map(|container| container.resources);
        match self.own {
            Some(own) if own.is_set() => {
                if own.is_fixed() {
                    Qos::Guaranteed
                } else {
                    Qos::Burstable
                }
            }
            _ if !all().any(Resources::is_set) => Qos::BestEffort,
            _ if all().all(Resources::is_fixed) => Qos::Guaranteed,
            _ => Qos::Burstable,
        }
    }
}

/// The limits of the pod's own cgroup: a limit exists only if every container has one; `own` (`spec.resources`) takes
/// precedence.
pub(super) fn pod_limits(own: Option<Resources>, containers: &[(Kind, Resources)]) -> Limits {
    let amount =
        |pick: fn(Amounts) -> Option<Quantity>, own: Option<Quantity>, each: fn(Resources) -> Amounts| {
            own.map(Quantity::as_f64)
                .or_else(|| total(containers, |resources| pick(each(resources)).map(Quantity::as_f64)))
        };
    let own = own.unwrap_or_default();
    let cpu = amount(|a| a.cpu, own.limits.cpu, |r| r.limits);
    let memory = amount(|a| a.memory, own.limits.memory, |r| r.limits);
    Limits {
        cpu: cpu.map_or(Limit::Unlimited, |cores| Limit::Of(Cores(cores))),
        memory: memory.map_or(Limit::Unlimited, |bytes| Limit::Of(Bytes(bytes as u64))),
        cpu_request: Some(request(own, containers).0).filter(|cores| cores.0 > 0.0),
    }
}

/// The request of a pod, which counts against the allocatable resources of the node.
pub(super) fn request(own: Resources, containers: &[(Kind, Resources)]) -> (Cores, Bytes) {
    let sum = |own: Option<Quantity>, pick: fn(Amounts) -> Option<Quantity>| {
        let zero_if_none =
            |resources: Resources| Some(pick(resources.requests).map_or(0.0, Quantity::as_f64));
        own.map_or_else(|| total(containers, zero_if_none).unwrap_or_default(), Quantity::as_f64)
    };
    (Cores(sum(own.requests.cpu, |a| a.cpu)), Bytes(sum(own.requests.memory, |a| a.memory) as u64))
}

/// The sum over the containers that run at the same time, at least the largest init container; absent if one has none.
fn total(containers: &[(Kind, Resources)], amount: impl Fn(Resources) -> Option<f64>) -> Option<f64> {
    let (mut running, mut largest) = (0.0, 0.0_f64);
    for (kind, resources) in containers {
        let amount = amount(*resources)?;
        match kind {
            Kind::Init => largest = largest.max(amount),
            Kind::App | Kind::Sidecar => running += amount,
        }
    }
    Some(largest.max(running))
}

/// The load of a container in the annotations; idle if there is none or it is invalid.
fn load_of(annotations: &Value, container: &str, first: bool) -> Load {
    let named = annotations.get(format!("{ANNOTATION}.{container}"));
    let text = named.or_else(|| annotations.get(ANNOTATION).filter(|_| first)).and_then(Value::as_str);
    text.map_or_else(Load::default, |text| {
        Load::parse(text).unwrap_or_else(|error| {
            let error = format!("{error:#}");
            tracing::warn!(container, error, "invalid load annotation; the container is idle");
            Load::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &Value) -> PodSpec {
        let uid = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
        let metadata = json!({"namespace": "a", "name": "b", "uid": uid, "generation": 3});
        PodSpec::read(&json!({"metadata": metadata, "spec": {"containers": containers}})).unwrap()
    }

    fn limits(pod: &PodSpec) -> Limits {
        let all: Vec<_> = pod.containers.iter().map(|c| (c.kind, c.resources)).collect();
        pod_limits(pod.own, &all)
    }

    #[test]
    fn a_pod_has_a_limit_only_where_every_container_has_one() {
        let both = pod(&json!([
            {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "200m"}}},
            {"name": "b", "resources": {"limits": {"cpu": 1}}},
        ]));
        let limits = limits(&both);
        assert_eq!(limits.cpu, Limit::Of(Cores(1.5)));
        assert_eq!(limits.memory, Limit::Unlimited);
        assert_eq!(limits.cpu_request, Some(Cores(1.2)), "a limit without a request is also the request");
        assert_eq!(both.qos(), Qos::Burstable);
    }

    #[test]
    fn quality_of_service_follows_what_is_set() {
        assert_eq!(pod(&json!([{"name": "a"}])).qos(), Qos::BestEffort);
        let fixed = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        assert_eq!(pod(&json!([{"name": "a", "resources": fixed}])).qos(), Qos::Guaranteed);
        assert_eq!(pod(&json!([{"name": "a", "resources": fixed}, {"name": "b"}])).qos(), Qos::Burstable);
    }

    #[test]
    fn the_cgroup_of_a_static_pod_is_named_by_its_config_hash() {
        let hash = "0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e";
        let object = json!({"metadata": {"uid": "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2f", "annotations": {keys::CONFIG_HASH: hash}}});
        assert_eq!(PodSpec::read(&object).unwrap().uid.as_str(), hash);
        assert_eq!(PodSpec::read(&json!({"metadata": {"uid": "../etc"}})), None);
    }

    #[test]
    fn a_partial_resize_is_half_way_between_old_and_new() {
        let (old, new) = (
            json!({"limits": {"cpu": "500m", "memory": "64Mi"}}),
            json!({"limits": {"cpu": "1", "memory": "128Mi"}}),
        );
        let half = Resources::read(&old).halfway(Resources::read(&new));
        assert_eq!(half.limits, Amounts::read(&json!({"cpu": "750m", "memory": "96Mi"})));
    }

    #[test]
    fn the_load_of_the_first_container_needs_no_name_in_the_annotation() {
        let annotations = json!({ANNOTATION: r#"{"cpu":{"constant":0.1}}"#, "sandbox.plimsoll.dev/load.side": r#"{"cpu":{"constant":0.2}}"#});
        let cores = |name, first| load_of(&annotations, name, first).cpu.max();
        assert_eq!([cores("app", true), cores("side", false), cores("other", false)], [0.1, 0.2, 0.0]);
    }
}
