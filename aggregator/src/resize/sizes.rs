//! Resources as facts hold them, in the whole numbers that sizes are decided in.

use std::collections::BTreeMap;

use plimsoll_contract::{Bytes, Cores, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use crate::facts::{ContainerFacts, PodFacts, Resources};

/// In millicores and bytes. CPU finer than a millicore does not exist: the API server rounds it.
pub(crate) fn sizes_of(resources: &Resources) -> Sizes {
    let millicores = |cores: Cores| (cores.0 * 1000.0).round() as u64;
    let bytes = |bytes: Bytes| bytes.0;
    Sizes {
        cpu: Size {
            request: resources.cpu_request.map(millicores),
            limit: resources.cpu_limit.map(millicores),
        },
        memory: Size {
            request: resources.memory_request.map(bytes),
            limit: resources.memory_limit.map(bytes),
        },
    }
}

/// What a pod's spec says of the containers that can be resized, by name.
pub(crate) fn spec_of(facts: &PodFacts) -> BTreeMap<String, Sizes> {
    resizable(facts).map(|container| (container.name.clone(), sizes_of(&container.spec))).collect()
}

/// App containers and sidecars.
pub(super) fn resizable(facts: &PodFacts) -> impl Iterator<Item = &ContainerFacts> {
    facts.containers.iter().filter(|c| c.kind.counts())
}

/// Those of these containers that run.
pub(super) fn running(facts: &PodFacts, sizes: &BTreeMap<String, Sizes>) -> BTreeMap<String, Sizes> {
    let running = resizable(facts).filter(|container| container.running);
    running.filter_map(|container| Some((container.name.clone(), *sizes.get(&container.name)?))).collect()
}

/// Whether a pod's spec says this of these containers.
pub(super) fn spec_is(facts: &PodFacts, sizes: &BTreeMap<String, Sizes>) -> bool {
    sizes.iter().all(|(name, sizes)| {
        resizable(facts).any(|container| container.name == *name && sizes_of(&container.spec) == *sizes)
    })
}

/// What is set stays set, and what is not stays unset.
pub(super) fn same_shape(before: &Sizes, after: &Sizes) -> bool {
    Resource::ALL.into_iter().all(|resource| {
        let (before, after) = (before[resource], after[resource]);
        before.request.is_some() == after.request.is_some() && before.limit.is_some() == after.limit.is_some()
    })
}

/// Whether more of it is reserved or allowed than before.
pub(super) fn grows(from: Size, to: Size) -> bool {
    to.request > from.request || to.limit > from.limit
}

/// Whether less of it is.
pub(super) fn shrinks(from: Size, to: Size) -> bool {
    to.request < from.request || to.limit < from.limit
}

/// What a node has given to these containers, as far as the kubelet says it; else `from`. Request and limit that were equal stay equal, and
/// what is not set stays unset.
pub(super) fn given_by_node(facts: &PodFacts, from: &BTreeMap<String, Sizes>) -> BTreeMap<String, Sizes> {
    let mut given = from.clone();
    for container in resizable(facts) {
        let Some(sizes) = given.get_mut(&container.name) else { continue };
        let allocated = container.allocated.as_ref().or(container.actual.as_ref()).map(sizes_of);
        let actual = container.actual.as_ref().map(sizes_of);
        for resource in Resource::ALL {
            let before = sizes[resource];
            let of = |sizes: Option<Sizes>| sizes.map(|sizes| sizes[resource]).unwrap_or_default();
            let request = before.request.map(|request| of(allocated).request.unwrap_or(request));
            let limit = match before.request == before.limit {
                true => request,
                false => {
                    before.limit.map(|limit| of(actual).limit.unwrap_or(limit).max(request.unwrap_or(0)))
                }
            };
            sizes[resource] = Size { request, limit };
        }
    }
    given
}
