//! Which HorizontalPodAutoscaler divides the usage of a container by its request: that request must not change.

use plimsoll_contract::Resource;

use super::State;
use crate::facts::{AutoscalerFacts, ObjectKey, PodFacts, WorkloadRef};
use crate::input::WatchEvent;

/// The kinds of Kubernetes itself whose pods name them as their controller, or name a ReplicaSet of theirs.
const BUILT_IN: [&str; 5] = ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "DaemonSet"];

impl State {
    /// The watch of autoscalers.
    pub(crate) fn observe_autoscalers(&mut self, event: WatchEvent<AutoscalerFacts, ObjectKey>) {
        for namespace in self.autoscalers.observe(event) {
            self.dirty_namespace(&namespace);
        }
    }

    /// The name of an autoscaler that uses this resource of a container. One that cannot be read may use any of its namespace.
    pub(crate) fn autoscaler_on(
        &self,
        facts: &PodFacts,
        container: &str,
        resource: Resource,
    ) -> Option<&str> {
        let namespace = facts.pod.namespace.as_ref();
        let uses = |autoscaler: &&AutoscalerFacts| {
            let mut used = autoscaler.uses.iter().filter(|used| used.resource == resource);
            used.any(|used| used.container.as_deref().is_none_or(|of| of == container))
                && scales(&autoscaler.target, facts)
        };
        let found = self.autoscalers.of(namespace).find(uses).map(|autoscaler| autoscaler.key.name.as_str());
        found.or_else(|| self.autoscalers.unreadable(namespace))
    }
}

/// Whether a pod belongs to the target. The pod names only its controller: that is the target itself, a ReplicaSet of a Deployment
/// of the target's name, or, for a target of a kind that is not Kubernetes' own, whatever object of its name.
fn scales(target: &WorkloadRef, facts: &PodFacts) -> bool {
    let Some((kind, name)) = facts.controller.as_deref().and_then(|controller| controller.split_once('/'))
    else {
        return false;
    };
    let owner = facts.owner().split_once('/').map(|(_, name)| name);
    match target.kind.as_str() {
        "Deployment" => kind == "ReplicaSet" && owner == Some(&target.name),
        built_in if BUILT_IN.contains(&built_in) => kind == built_in && name == target.name,
        _ => name == target.name || owner == Some(&target.name),
    }
}
