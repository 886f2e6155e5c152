//! What is kept of Kubernetes objects: each is reduced to its facts as soon as it is read, and nothing else stays in memory.
//!
//! The facts cover what labels need and what resizing needs: resources as declared, as allocated by the kubelet and as enforced;
//! resize policies and conditions; what nodes can allocate. A value that is missing is absent, never zero.

mod bounds;
mod resizing;

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodName, PodUid, keys};
use serde::{Deserialize, Serialize};

pub(crate) use bounds::{PodBounds, UserBounds};
pub(crate) use resizing::{
    Autoscaled, AutoscalerFacts, ClassFacts, LimitRangeFacts, ObjectKey, QuotaFacts, QuotaScope, QuotaValue,
    QuotaValues, Range, Ranges, WorkloadRef,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    pub(crate) pod: PodName,
    /// The API's uid: it goes into every write.
    pub(crate) uid: String,
    /// The uid in the name of its cgroup; absent where it cannot be one.
    pub(crate) cgroup_uid: Option<PodUid>,
    /// Of a mirror pod, whose cgroup carries a config hash: the uid of the Node that its owner reference names.
    #[serde(default)]
    pub(crate) mirror_of: Option<String>,
    pub(crate) node: Option<NodeName>,
    /// `Succeeded` or `Failed`.
    pub(crate) finished: bool,
    pub(crate) terminating: bool,
    /// The labels under our prefix.
    pub(crate) labels: BTreeMap<String, String>,
    /// The annotations under our prefix.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) containers: Vec<ContainerFacts>,
    /// Its controller, as `DaemonSet/plimsoll-agent`.
    pub(crate) controller: Option<String>,
    pub(crate) service_account: String,
    /// The revision of its template, as DaemonSets and StatefulSets put it on their pods. Each ReplicaSet has one template.
    #[serde(default)]
    pub(crate) revision: Option<Box<str>>,
    /// Its quality-of-service class, as the API server says it: `Guaranteed`, `Burstable`, `BestEffort`.
    #[serde(default)]
    pub(crate) qos: Option<String>,
    #[serde(default)]
    pub(crate) generation: Option<i64>,
    /// `status.observedGeneration`: the generation that the kubelet has acted on.
    #[serde(default)]
    pub(crate) observed_generation: Option<i64>,
    /// Pod-level resources (`spec.resources`), where they are set.
    #[serde(default)]
    pub(crate) pod_resources: Option<Resources>,
    /// What its runtime needs beside its containers (`spec.overhead`): CPU and memory.
    #[serde(default)]
    pub(crate) overhead: (Option<Cores>, Option<Bytes>),
    /// The conditions `Ready`, `PodResizePending` and `PodResizeInProgress`.
    #[serde(default)]
    pub(crate) conditions: Vec<ConditionFacts>,
    /// The field manager of the newest resize that is not ours.
    #[serde(default)]
    pub(crate) resized_by: Option<String>,
    /// The field manager that wrote the annotation `plimsoll.dev/original-resources`, where it is there and not ours; empty where none is named.
    #[serde(default)]
    pub(crate) original_by: Option<String>,
    /// `spec.priorityClassName`.
    #[serde(default)]
    pub(crate) priority_class: Option<String>,
    /// Whether it carries a label or annotation of Kueue: its requests were counted when it was admitted.
    #[serde(default)]
    pub(crate) queue_managed: bool,
    /// What its annotation `plimsoll.dev/bounds` says; absent where there is none.
    #[serde(default)]
    pub(crate) bounds: Option<Box<PodBounds>>,
}

impl PodFacts {
    /// Whether a label or annotation of this key is on it.
    pub(crate) fn carries(&self, key: &str) -> bool {
        self.labels.contains_key(key) || self.annotations.contains_key(key)
    }

    /// Its controller, the same for all rollouts and runs: `ReplicaSet/web-5d4f8c7b9` is one of Deployment `web`, and `Job/backup-29384756` one
    /// of CronJob `backup`. Empty where it has none.
    pub(crate) fn owner(&self) -> &str {
        let controller = self.controller.as_deref().unwrap_or_default();
        let generated = controller.starts_with("ReplicaSet/") || controller.starts_with("Job/");
        controller.rsplit_once('-').filter(|_| generated).map_or(controller, |(name, _)| name)
    }

    /// The condition of a resize that the kubelet has not finished.
    pub(crate) fn pending_resize(&self) -> Option<&ConditionFacts> {
        let is_of_resize = |kind: &str| matches!(kind, "PodResizePending" | "PodResizeInProgress");
        self.conditions.iter().find(|condition| is_of_resize(&condition.kind) && condition.status == "True")
    }

    /// Whether the kubelet has acted on the newest spec, as far as it says so.
    pub(crate) fn is_settled(&self) -> bool {
        let has_seen = self.observed_generation.zip(self.generation).is_none_or(|(seen, spec)| seen >= spec);
        has_seen && self.pending_resize().is_none()
    }

    /// What its own label says about ignoring it.
    pub(crate) fn ignore(&self) -> Ignore {
        Ignore::of(self.labels.get(keys::IGNORE).map(String::as_str))
    }
}

/// What `plimsoll.dev/ignore` says on a pod or namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Ignore {
    /// `false`, or there is no such label.
    #[default]
    No,
    /// `true`.
    Yes,
    /// Any other value: nothing is ignored because of it.
    Invalid(String),
}

impl Ignore {
    /// From the value of the label.
    pub(crate) fn of(value: Option<&str>) -> Ignore {
        match value {
            None | Some("false") => Ignore::No,
            Some("true") => Ignore::Yes,
            Some(other) => Ignore::Invalid(other.to_owned()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerFacts {
    pub(crate) name: String,
    pub(crate) kind: ContainerKind,
    /// Id, once it runs.
    pub(crate) id: Option<ContainerId>,
    /// Whether its status says that it is running.
    #[serde(default)]
    pub(crate) running: bool,
    /// Whether it says that it has ended: it is started again at once, or never. One that neither runs nor has ended waits to be started.
    #[serde(default)]
    pub(crate) terminated: bool,
    pub(crate) restarts: u32,
    /// Resources as declared in the spec.
    pub(crate) spec: Resources,
    /// Requests that the kubelet has set aside (`allocatedResources`); they differ from the spec while a resize is pending.
    #[serde(default)]
    pub(crate) allocated: Option<Resources>,
    /// Resources that the runtime enforces (`status.resources`).
    #[serde(default)]
    pub(crate) actual: Option<Resources>,
    /// What a resize of its CPU does: `NotRequired` or `RestartContainer`.
    #[serde(default)]
    pub(crate) cpu_resize_policy: Option<String>,
    /// What a resize of its memory does.
    #[serde(default)]
    pub(crate) memory_resize_policy: Option<String>,
    /// Whether it has a limit of something else than CPU, memory and ephemeral storage: GPUs, huge pages.
    #[serde(default)]
    pub(crate) extended: bool,
    /// When its last run ended, where it was killed for memory, as its status says; a later restart overwrites that. Absent while the run
    /// that ended is not its last state yet: then it is started again at once, or never.
    #[serde(default)]
    pub(crate) oom_killed_at: Option<Timestamp>,
}

impl ContainerFacts {
    /// The requests in force, of each resource: allocated, else actual, else declared. A status may lack one of the two
    /// (kubernetes/kubernetes#141814), and no resize removes a request.
    pub(crate) fn requests(&self) -> Resources {
        let mut requests = Resources::default();
        for known in [self.allocated, self.actual, Some(self.spec)].into_iter().flatten() {
            requests.cpu_request = requests.cpu_request.or(known.cpu_request);
            requests.memory_request = requests.memory_request.or(known.memory_request);
        }
        requests
    }
}

/// Requests and limits of CPU and memory; absent where none is set.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) cpu_request: Option<Cores>,
    pub(crate) cpu_limit: Option<Cores>,
    pub(crate) memory_request: Option<Bytes>,
    pub(crate) memory_limit: Option<Bytes>,
}

/// One condition of a pod or node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConditionFacts {
    /// Type, such as `Ready`.
    pub(crate) kind: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// Machine-readable reason, such as `Deferred`.
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    /// The generation of the object that it is about.
    #[serde(default)]
    pub(crate) observed_generation: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeFacts {
    pub(crate) name: NodeName,
    /// The API's uid, for Events about it.
    #[serde(default)]
    pub(crate) uid: Option<String>,
    /// CPU that pods may request in total.
    #[serde(default)]
    pub(crate) allocatable_cpu: Option<Cores>,
    /// Memory that pods may request in total.
    #[serde(default)]
    pub(crate) allocatable_memory: Option<Bytes>,
    /// The condition `Ready`.
    #[serde(default)]
    pub(crate) conditions: Vec<ConditionFacts>,
}

impl NodeFacts {
    /// Whether its kubelet says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespaceFacts {
    pub(crate) name: String,
    /// The API's uid, for Events about it.
    #[serde(default)]
    pub(crate) uid: Option<String>,
    pub(crate) ignore: Ignore,
    /// `plimsoll.dev/sla`.
    pub(crate) class: Option<String>,
}

#[cfg(test)]
impl PodFacts {
    /// A pod of which only its names are known.
    pub(crate) fn bare(namespace: &str, name: &str, uid: &str) -> PodFacts {
        PodFacts {
            pod: PodName::new(namespace, name),
            uid: uid.to_owned(),
            cgroup_uid: None,
            mirror_of: None,
            node: None,
            finished: false,
            terminating: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers: Vec::new(),
            controller: None,
            service_account: "default".to_owned(),
            revision: None,
            qos: None,
            generation: None,
            observed_generation: None,
            pod_resources: None,
            overhead: (None, None),
            conditions: Vec::new(),
            resized_by: None,
            original_by: None,
            priority_class: None,
            queue_managed: false,
            bounds: None,
        }
    }
}

#[cfg(test)]
impl NamespaceFacts {
    /// A namespace without labels.
    pub(crate) fn bare(name: &str) -> NamespaceFacts {
        NamespaceFacts { name: name.to_owned(), uid: None, ignore: Ignore::No, class: None }
    }
}

#[cfg(test)]
impl NodeFacts {
    /// A node of which only its name is known.
    pub(crate) fn bare(name: &str) -> NodeFacts {
        NodeFacts {
            name: NodeName::new(name).unwrap(),
            uid: None,
            allocatable_cpu: None,
            allocatable_memory: None,
            conditions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ignore;

    #[test]
    fn only_the_word_true_ignores_and_every_other_word_than_false_is_invalid() {
        for (value, expected) in
            [(None, Ignore::No), (Some("false"), Ignore::No), (Some("true"), Ignore::Yes)]
        {
            assert_eq!(Ignore::of(value), expected);
        }
        for other in ["", "True", "yes", "1"] {
            assert_eq!(Ignore::of(Some(other)), Ignore::Invalid(other.to_owned()));
        }
    }
}
