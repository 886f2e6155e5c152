//! A pod's roster entry, as the state keeps it: the newest generation of each container name that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_contract::roster::{Bands, RosterPod};
use plimsoll_contract::{Bytes, ContainerId, Cores, Moment, PodName};

/// A container that counts, as the roster lists it.
#[derive(Debug, Clone)]
pub(super) struct RosterContainer {
    pub(super) name: Arc<str>,
    pub(super) running: bool,
    generation: u32,
    pub(super) cpu_request: Option<Cores>,
    pub(super) memory_request: Option<Bytes>,
}

/// A pod as the roster lists it.
#[derive(Debug, Clone)]
pub(super) struct RosterEntry {
    pub(super) name: PodName,
    /// Whether the pod has an SLA class.
    pub(super) managed: bool,
    /// The bands announced on the pod.
    pub(super) bands: Bands,
    /// The newest generation of each name that counts.
    pub(super) counting: BTreeMap<ContainerId, RosterContainer>,
    /// Init and debug containers: what they use is not the pod's load.
    pub(super) excluded: BTreeSet<ContainerId>,
    /// The containers of older generations.
    older: BTreeSet<ContainerId>,
    /// When its pod was last on the node, or the entry arrived.
    pub(super) last_seen: Moment,
}

impl RosterEntry {
    pub(super) fn new(pod: &RosterPod, now: Moment) -> Self {
        let mut newest: BTreeMap<Arc<str>, (ContainerId, RosterContainer)> = BTreeMap::new();
        for container in pod.containers.iter().filter(|container| container.kind.counts()) {
            let name: Arc<str> = container.name.as_str().into();
            if newest.get(&name).is_some_and(|(_, other)| other.generation > container.generation) {
                continue;
            }
            let listed = RosterContainer {
                name: Arc::clone(&name),
                running: container.running,
                generation: container.generation,
                cpu_request: container.cpu_request,
                memory_request: container.memory_request,
            };
            newest.insert(name, (container.id.clone(), listed));
        }
        let counting: BTreeMap<ContainerId, RosterContainer> = newest.into_values().collect();
        let others = pod.containers.iter().filter(|container| !counting.contains_key(&container.id));
        let (older, excluded): (Vec<_>, Vec<_>) = others.partition(|container| container.kind.counts());
        let ids = |containers: Vec<&plimsoll_contract::roster::RosterContainer>| {
            containers.into_iter().map(|container| container.id.clone()).collect()
        };
        RosterEntry {
            name: PodName::new(&pod.namespace, &pod.name),
            managed: pod.managed,
            bands: pod.bands,
            counting,
            excluded: ids(excluded),
            older: ids(older),
            last_seen: now,
        }
    }

    /// Whether the roster lists the container, whatever its kind and generation.
    pub(super) fn lists(&self, id: &ContainerId) -> bool {
        self.counting.contains_key(id) || self.excluded.contains(id) || self.older.contains(id)
    }
}
