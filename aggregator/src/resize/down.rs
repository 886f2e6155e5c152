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
use crate::facts::PodFacts;

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
            self.history.verified(&resize.from, &resize.wanted.sizes);
            let containers = down.keys().cloned().collect::<Vec<_>>().join(", ");
            self.happened.push(What::SetAside { containers });
            if resize.purpose() == Purpose::Shrink {
                self.shrunk = Some(Box::new(RecentShrink::new(&resize, now + WATCHED)));
            }
        }
        resize.from.retain(|name, _| down.contains_key(name));
        resize.wanted.sizes = down;
        for container in
            resizable(facts).filter(|container| resize.wanted.sizes.contains_key(&container.name))
        {
            self.restarts_then.entry(container.name.clone()).or_insert(container.restarts);
        }
        // How long it is down says nothing of how fast the node resizes.
        let waiting = Accepted::new(resize, None, Moment::NEVER, accepted.generation);
        self.set_aside = Some(Box::new(Accepted { set_aside: true, ..waiting }));
    }

    /// Whether a container was started since a size was set aside for it, and nobody has resized the pod since: the pod's own cgroup is to hold
    /// what the spec says.
    pub(super) fn have_restarted_with_spec(&self, facts: &PodFacts) -> bool {
        let has_restarted = resizable(facts).any(|container| {
            self.restarts_then.get(&container.name).is_some_and(|then| container.restarts > *then)
        });
        has_restarted && of_resizes(facts).is_empty() && has_seen(facts, facts.generation)
    }
}
