//! Resizes of containers that are down: the kubelet sets them aside, and the containers start with them. There is no cgroup to be read until
//! then, and nothing else of the pod waits for it.

use std::collections::BTreeMap;

use plimsoll_contract::Moment;
use plimsoll_sizing::size::Sizes;

use super::conditions::{has_seen, of_resizes};
use super::machine::PodResize;
use super::phase::{Accepted, Phase, VERIFIED_WITHIN};
use super::sizes::{resizable, running};
use super::undo::{RecentShrink, WATCHED};
use super::{Purpose, What};
use crate::facts::{ContainerFacts, PodFacts};

/// What a container was started with that is down, or was when a size was set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Started {
    /// How often it had been restarted.
    restarts: u32,
    /// It was started since then.
    again: bool,
    /// Bytes of memory that it may use; absent where it has no limit.
    limit: Option<u64>,
}

impl PodResize {
    /// A container for which a size was set aside while it was down has started: it is to have that size now.
    pub(super) fn take_up_started(&mut self, now: Moment, facts: &PodFacts) {
        let has_started =
            |accepted: &mut Box<Accepted>| !running(facts, &accepted.resize.wanted.sizes).is_empty();
        if self.phase == Phase::Idle
            && let Some(mut accepted) = self.set_aside.take_if(has_started)
        {
            accepted.until = now + VERIFIED_WITHIN;
            self.phase = Phase::Accepted(accepted);
        }
    }

    /// What is left to do of a resize once all that runs has it: for containers that are down it is set aside, and they start with it.
    pub(super) fn wait_for_start(
        &mut self,
        now: Moment,
        facts: &PodFacts,
        accepted: Accepted,
        down: BTreeMap<String, Sizes>,
    ) {
        let mut resize = accepted.resize;
        if !accepted.set_aside {
            self.history.verified(now, &resize.from, &resize.wanted.sizes);
            let containers = down.keys().cloned().collect::<Vec<_>>().join(", ");
            self.say_with_why(&resize, What::SetAside { containers });
            if resize.purpose() == Purpose::Shrink {
                self.shrunk.push(RecentShrink::new(&resize, now + WATCHED));
            }
        }
        self.started.retain(|name, _| !resize.wanted.sizes.contains_key(name) || down.contains_key(name));
        resize.from.retain(|name, _| down.contains_key(name));
        resize.wanted.sizes = down;
        for container in resizable(facts) {
            if let Some(from) = resize.from.get(&container.name) {
                let (restarts, limit) = (container.restarts, from.memory.limit);
                let started = Started { restarts, again: false, limit };
                self.started.entry(container.name.clone()).or_insert(started);
            }
        }
        // How long it is down says nothing of how fast the node resizes.
        let waiting = Accepted::new(resize, None, Moment::NEVER, accepted.generation);
        self.set_aside = Some(Box::new(Accepted { set_aside: true, ..waiting }));
    }

    /// Takes in what containers for which sizes were set aside were started with.
    pub(super) fn note_starts(&mut self, facts: &PodFacts) {
        for container in resizable(facts) {
            let Some(started) = self.started.get_mut(&container.name) else { continue };
            let again = container.restarts > started.restarts;
            // While it is down, its status says what it will be started with.
            if again || container.running {
                let limit = memory_limit(container);
                *started = Started { restarts: container.restarts, again: again || started.again, limit };
            }
        }
    }

    /// Bytes of memory that the pod's own cgroup is to allow at least, once a container was started with a size that was set aside for it: the sum
    /// of what its containers were started with. Absent: none was started yet, one has no limit, or somebody is resizing the pod.
    pub(super) fn started_with(&self, facts: &PodFacts) -> Option<u64> {
        let has_started = self.started.values().any(|started| started.again);
        if !has_started || !of_resizes(facts).is_empty() || !has_seen(facts, facts.generation) {
            return None;
        }
        resizable(facts).try_fold(0_u64, |sum, container| {
            let started = self.started.get(&container.name);
            Some(
                sum.saturating_add(started.map_or_else(|| memory_limit(container), |started| started.limit)?),
            )
        })
    }
}

/// The memory limit of a container as its status says it, or else its spec.
fn memory_limit(container: &ContainerFacts) -> Option<u64> {
    let actual = container.actual.as_ref().and_then(|actual| actual.memory_limit);
    actual.or(container.spec.memory_limit).map(|limit| limit.0)
}
