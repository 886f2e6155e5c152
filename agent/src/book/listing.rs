//! What the roster says of a pod, as the book keeps it: of each container name that counts, the newest generation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_contract::roster::RosterPod;
use plimsoll_contract::{Bytes, ContainerId, Cores, PodName};

/// A container as the roster lists it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: Arc<str>,
    generation: u32,
    pub(super) cpu_request: Option<Cores>,
    pub(super) memory_request: Option<Bytes>,
}

/// A pod as the roster lists it.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) name: PodName,
    pub(super) managed: bool,
    /// Of each name that counts, the newest generation.
    pub(super) counting: BTreeMap<ContainerId, Listed>,
    /// The other ids: of other kinds, or of older generations.
    others: BTreeSet<ContainerId>,
}

impl Listing {
    /// Whether the roster has said what this container is.
    pub(super) fn names(&self, id: &ContainerId) -> bool {
        self.counting.contains_key(id) || self.others.contains(id)
    }
}

impl From<&RosterPod> for Listing {
    fn from(pod: &RosterPod) -> Self {
        let mut newest: BTreeMap<Arc<str>, (ContainerId, Listed)> = BTreeMap::new();
        for container in pod.containers.iter().filter(|container| container.kind.counts()) {
            let listed = Listed {
                name: container.name.as_str().into(),
                generation: container.generation,
                cpu_request: container.cpu_request,
                memory_request: container.memory_request,
            };
            let older =
                newest.get(&listed.name).is_some_and(|(_, other)| other.generation > listed.generation);
            if !older {
                newest.insert(Arc::clone(&listed.name), (container.id.clone(), listed));
            }
        }
        let counting: BTreeMap<ContainerId, Listed> = newest.into_values().collect();
        let ids = pod.containers.iter().map(|container| &container.id);
        let others = ids.filter(|id| !counting.contains_key(*id)).cloned().collect();
        Listing { name: PodName::new(&pod.namespace, &pod.name), managed: pod.managed, counting, others }
    }
}
