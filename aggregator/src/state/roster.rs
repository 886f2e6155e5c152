//! What an agent is told about its pods: roster entries with versions, so that a lost answer heals itself.
//!
//! A version rises only when the content of an entry changed; it never falls within a process.

use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use plimsoll_contract::roster::{Answer, Bands, RosterContainer, RosterPod};
use plimsoll_contract::{Band, NodeName, PodName, Report, Resource, keys};

use super::State;
use crate::facts::PodFacts;
use crate::labels::{self, PodLabels};
use crate::settings::Output;

impl State {
    /// The answer to a report.
    pub(crate) fn answer_to(&self, report: &Report) -> Answer {
        // Agents of earlier versions name no process: for them versions start at a random number, so that those of two processes do not
        // meet.
        let process = report.roster_process.as_ref();
        let is_ours = process.is_none_or(|process| *process == self.roster_process);
        let mut answer = self.answer(&report.node, if is_ours { report.roster_version } else { 0 });
        if process.is_none() {
            let ambiguous = |pod: &&mut RejectedPod| pod.reason == PodRejection::AmbiguousPod;
            let rejected = answer.rejected.iter_mut().filter(ambiguous);
            rejected.for_each(|pod| pod.reason = PodRejection::UnknownPod);
        }
        answer
    }

    /// Every entry of the node that is newer than `echoed`; all of them when `echoed` cannot be a version of this process.
    pub(crate) fn answer(&self, node: &NodeName, echoed: u64) -> Answer {
        let ours = (self.roster_base..=self.roster_version).contains(&echoed);
        let echoed = if ours { echoed } else { 0 };
        let roster_process = Some(self.roster_process.clone());
        let empty = Answer { roster_version: self.roster_version, roster_process, ..Answer::default() };
        let Some(node) = self.nodes.get(node) else { return empty };
        let pods = node.pods.iter().filter(|_| node.roster_newest > echoed);
        let pods = pods.filter_map(|name| self.pods.get(name)).filter(|pod| pod.roster_version > echoed);
        let roster = pods.filter_map(|pod| self.roster_entry(&pod.facts)).collect();
        Answer { roster, rejected: node.rejected.clone(), ..empty }
    }

    /// The entry of a pod; none while it has no cgroup that an agent could find.
    pub(super) fn roster_entry(&self, facts: &PodFacts) -> Option<RosterPod> {
        if facts.finished || facts.node.is_none() || !self.is_what_it_claims(facts) {
            return None;
        }
        let containers = facts.containers.iter().filter_map(|c| {
            let requests = c.requests();
            Some(RosterContainer {
                id: c.id.clone()?,
                name: c.name.clone(),
                kind: c.kind,
                running: c.running,
                generation: c.restarts,
                cpu_request: requests.cpu_request,
                memory_request: requests.memory_request,
            })
        });
        Some(RosterPod {
            uid: facts.cgroup_uid.clone()?,
            namespace: facts.pod.namespace.as_ref().into(),
            name: facts.pod.name.as_ref().into(),
            managed: self.is_managed(facts),
            bands: bands_on(facts, self.output),
            containers: containers.collect(),
        })
    }

    /// Gives a pod's entry a new version.
    pub(super) fn renew_roster_entry(&mut self, name: &PodName) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        self.roster_version += 1;
        pod.roster_version = self.roster_version;
        if let Some(node) = pod.facts.node.as_ref().and_then(|node| self.nodes.get_mut(node)) {
            node.roster_newest = self.roster_version;
        }
    }

    /// What names the SLA class: the label of the pod, else that of its namespace.
    pub(crate) fn class<'a>(&'a self, facts: &'a PodFacts) -> Option<&'a str> {
        let own = facts.labels.get(keys::SLA);
        let class = own.or_else(|| self.namespaces.get(facts.pod.namespace.as_ref())?.class.as_ref());
        class.map(String::as_str).filter(|class| !class.is_empty())
    }
}

/// The bands that the watch shows on a pod.
pub(crate) fn bands_on(facts: &PodFacts, output: Output) -> Bands {
    let labels = PodLabels::of(facts, output);
    Bands { cpu: labels.cpu.band, memory: labels.memory.band }
}

/// The keys of bands whose value on a pod is no band.
pub(crate) fn not_bands_on(facts: &PodFacts, output: Output) -> Vec<String> {
    let values = labels::values(&facts.labels, &facts.annotations, output);
    let keys = Resource::ALL.map(keys::band_label).into_iter();
    let is_no_band = |key: &&str| values.get(*key).is_some_and(|value| value.parse::<Band>().is_err());
    keys.filter(is_no_band).map(str::to_owned).collect()
}
