//! What the last plan of the sizes of a node's pods found.

use plimsoll_contract::{Bytes, Cores, Moment};
use plimsoll_sizing::size::Sizes;

use crate::facts::{NodeFacts, PodFacts};
use crate::resize::sizes_of;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LastPlan {
    /// How many of the pods have a class that can be used.
    pub(crate) managed: usize,
    pub(crate) room: Option<Room>,
    /// When the first cooldown of a container ends.
    pub(crate) cooldown_ends: Option<Moment>,
}

/// What the kubelet has set aside, and of how much: what is asked for and not given counts as nothing, or else whoever stops asking would seem to
/// make room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Room {
    /// Requests, in millicores and bytes.
    set_aside: [u64; 2],
    allocatable: (Option<Cores>, Option<Bytes>),
}

impl Room {
    /// Of a node with these pods.
    pub(crate) fn of<'a>(node: Option<&NodeFacts>, pods: impl IntoIterator<Item = &'a PodFacts>) -> Room {
        let pods = pods.into_iter().filter(|pod| !pod.finished);
        let containers = pods.flat_map(|pod| &pod.containers).filter(|container| container.kind.counts());
        let mut set_aside = [0_u64; 2];
        for container in containers {
            let Sizes { cpu, memory } = sizes_of(&container.requests());
            set_aside[0] = set_aside[0].saturating_add(cpu.request.unwrap_or(0));
            set_aside[1] = set_aside[1].saturating_add(memory.request.unwrap_or(0));
        }
        let cpu = node.and_then(|node| node.allocatable_cpu);
        let memory = node.and_then(|node| node.allocatable_memory);
        Room { set_aside, allocatable: (cpu, memory) }
    }

    /// Whether something that did not fit may fit now.
    pub(crate) fn has_more_than(&self, before: &Room) -> bool {
        self.set_aside.iter().zip(before.set_aside).any(|(now, before)| *now < before)
            || self.allocatable.0 > before.allocatable.0
            || self.allocatable.1 > before.allocatable.1
    }
}
