//! The pods of a node as a replay looks at them: what its last report said, with what the API server says of them.

use std::collections::BTreeSet;

use plimsoll_contract::{Band, NodeName, PodUid, Resource};
use plimsoll_sizing::replay::recorded::{ContainerSnapshot, PodSnapshot, Snapshot};

use super::Core;
use crate::plan::resize::view::millicores;
use crate::resize::{original_on, sizes_of};

impl Core {
    /// The pods of a node that the last report named, as they are known now; without those that it was refused for.
    pub(crate) fn snapshot(&self, node: &NodeName, full: bool, named: &BTreeSet<PodUid>) -> Snapshot {
        let (state, now) = (&self.state, self.now);
        let known = state.nodes.get(node);
        let all = known.into_iter().flat_map(|node| &node.pods).filter_map(|name| state.pods.get(name));
        let is_named = |uid: &PodUid| named.contains(uid);
        let confirmed =
            all.filter(|pod| pod.confirmed == now && pod.facts.cgroup_uid.as_ref().is_some_and(is_named));
        let pods = confirmed.map(|pod| {
            let originals = original_on(&pod.facts).ok().flatten().unwrap_or_default();
            let cpu = &pod.load(Resource::Cpu).load;
            let containers = pod.facts.containers.iter().filter(|container| container.kind.counts());
            let containers = containers.filter_map(|container| {
                let report =
                    pod.containers.iter().find(|report| Some(&report.id) == container.id.as_ref())?;
                let size = sizes_of(&container.spec).cpu;
                Some(ContainerSnapshot {
                    name: container.name.clone(),
                    size,
                    original: originals.get(&container.name).map_or(size, |sizes| sizes.cpu),
                    hottest: cpu.container.as_ref().is_none_or(|hottest| *hottest == report.id),
                    usage: report.cpu.clone(),
                })
            });
            PodSnapshot {
                uid: pod.facts.uid.clone(),
                name: pod.facts.pod.to_string(),
                cpu: pod.load(Resource::Cpu).band().unwrap_or(Band::Unknown),
                memory: pod.load(Resource::Memory).band().unwrap_or(Band::Unknown),
                class: state.policy(&pod.facts).and_then(Result::ok).cloned(),
                containers: containers.collect(),
            }
        });
        let allocatable = known.and_then(|node| node.facts.as_ref()?.allocatable_cpu).map(millicores);
        Snapshot { at: now.0, node: node.to_string(), allocatable, full, pods: pods.collect() }
    }
}
