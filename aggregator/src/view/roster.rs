//! What an agent is told about its pods: entries with versions, so that a lost answer heals itself.
//!
//! A version is raised only when the content of an entry changed; it never falls within a process.

use plimsoll_contract::roster::{Answer, Bands, RosterContainer, RosterPod};
use plimsoll_contract::{NodeName, keys};

use super::View;
use crate::input::PodFacts;
use crate::marks::carried;
use crate::settings::Output;

impl View {
    /// Everything of this node newer than `echoed`; everything when `echoed` cannot be a version of ours.
    pub(crate) fn answer(&self, node: &NodeName, echoed: u64) -> Answer {
        let known = (self.roster_base..=self.roster_version).contains(&echoed);
        let echoed = if known { echoed } else { 0 };
        let Some(node) = self.nodes.get(node) else {
            return Answer { roster_version: self.roster_version, ..Answer::default() };
        };
        let roster = if node.roster_newest > echoed { self.newer(node, echoed) } else { Vec::new() };
        Answer { roster_version: self.roster_version, roster, refused: node.refused.clone() }
    }

    fn newer(&self, node: &super::Node, echoed: u64) -> Vec<RosterPod> {
        let pods = node.pods.iter().filter_map(|name| self.pods.get(name));
        pods.filter(|pod| pod.roster_version > echoed).filter_map(|pod| self.entry(&pod.facts)).collect()
    }

    /// The entry of a pod; none while it has no cgroup an agent could find.
    pub(super) fn entry(&self, facts: &PodFacts) -> Option<RosterPod> {
        if facts.finished || facts.node.is_none() {
            return None;
        }
        let has_id = facts.containers.iter().filter_map(|c| {
            Some(RosterContainer {
                id: c.id.clone()?,
                name: c.name.clone(),
                kind: c.kind,
                generation: c.restarts,
                cpu_request: c.cpu_request,
                memory_request: c.memory_request,
            })
        });
        Some(RosterPod {
            uid: facts.cgroup_uid.clone()?,
            namespace: facts.pod.namespace.as_ref().into(),
            name: facts.pod.name.as_ref().into(),
            managed: self.class(facts).is_some(),
            bands: announced(facts, self.output),
            containers: has_id.collect(),
        })
    }

    /// The SLA class: the pod's, else its namespace's.
    pub(crate) fn class<'a>(&'a self, facts: &'a PodFacts) -> Option<&'a str> {
        let own = facts.labels.get(keys::SLA);
        let class = own.or_else(|| self.namespaces.get(facts.pod.namespace.as_ref())?.class.as_ref());
        class.map(String::as_str).filter(|class| !class.is_empty())
    }
}

/// The bands on the pod; what is no band is none.
pub(crate) fn announced(facts: &PodFacts, output: Output) -> Bands {
    let marks = carried(facts, output);
    Bands { cpu: marks.cpu.band, memory: marks.memory.band }
}
