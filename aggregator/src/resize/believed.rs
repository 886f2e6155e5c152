//! Which sizes a new leader takes from the record on a pod. Anybody who may change the pod may write there: what is believed is what the class
//! could have asked for, what the spec or the node has, and the original as far as it could have been one.

use std::collections::BTreeMap;

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::{NODE_SHARE, Policy};
use plimsoll_sizing::size::{Bounds, Size, Sizes};

use super::annotations::original_on;
use super::sizes::{resizable, same_shape, sizes_of};
use crate::facts::{ContainerFacts, PodFacts};

/// What the sizes of a pod are measured by, where it has a class that changes pods and a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Believed<'a> {
    pub(crate) policy: &'a Policy,
    /// What its node has for pods, in millicores and bytes.
    pub(crate) allocatable: [Option<u64>; 2],
}

impl Believed<'_> {
    /// Whether all of these sizes may be ours.
    pub(super) fn holds(self, facts: &PodFacts, sizes: &BTreeMap<String, Sizes>) -> bool {
        let Ok(Some(original)) = original_on(facts) else { return false };
        sizes.iter().all(|(name, sizes)| {
            let container = resizable(facts).find(|container| container.name == *name);
            container.zip(original.get(name)).is_some_and(|(container, original)| {
                same_shape(&sizes_of(&container.spec), sizes)
                    && Resource::ALL.into_iter().all(|resource| {
                        self.holds_one(container, resource, original[resource], sizes[resource])
                    })
            })
        })
    }

    fn holds_one(
        self,
        container: &ContainerFacts,
        resource: Resource,
        original: Size,
        recorded: Size,
    ) -> bool {
        let given = [Some(&container.spec), container.allocated.as_ref(), container.actual.as_ref()];
        let given: Vec<Size> = given.into_iter().flatten().map(|has| sizes_of(has)[resource]).collect();
        let allocatable = match resource {
            Resource::Cpu => self.allocatable[0],
            Resource::Memory => self.allocatable[1],
        };
        // The original is an annotation too: it widens no bound beyond what a class may give on this node, or the pod has.
        let share = allocatable.map_or(0, |all| (all as f64 * NODE_SHARE) as u64);
        let cap = |original: Option<u64>, of: fn(&Size) -> Option<u64>| {
            original.map(|original| original.min(given.iter().filter_map(of).fold(share, u64::max)))
        };
        let request = |size: &Size| size.request;
        let limit = |size: &Size| size.limit;
        let original = Size { request: cap(original.request, request), limit: cap(original.limit, limit) };
        let bounds = self.policy[resource].bounds(original, original, allocatable);
        let is_ours = |of: fn(&Size) -> Option<u64>, bounds: Bounds| {
            let Some(recorded) = of(&recorded) else { return true };
            (bounds.min..=bounds.max).contains(&recorded)
                || of(&original) == Some(recorded)
                || given.iter().any(|has| of(has) == Some(recorded))
        };
        is_ours(request, bounds.request) && is_ours(limit, bounds.limit)
    }
}
