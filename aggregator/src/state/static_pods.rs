//! Which pod of the API is a static pod of a node.
//!
//! The kubelet names the cgroup of a static pod after the hash of its manifest, and creates a copy in the API, the mirror pod, whose
//! annotations hold that hash. Anybody who may create pods can write such annotations, and the hash is unique only on its node: a
//! manifest from a URL has the same on all of them. A mirror pod therefore claims a hash on the node that it is bound to, and the
//! claim counts if
//!
//! - its controller is that Node, with that Node's uid: admission lets a kubelet name no other (NodeRestriction);
//! - its status names a container, or did since the pod is known: the kubelet writes that, a tenant cannot.
//!
//! Where several claims count, the pod whose container the report names in that cgroup is the one; otherwise it remains the one that it
//! was. A claim never takes part in blaming a node.

use std::collections::BTreeSet;

use plimsoll_contract::rejection::PodRejection;
use plimsoll_contract::report::PodReport;
use plimsoll_contract::{NodeName, PodName, PodUid};

use super::State;
use crate::facts::PodFacts;

/// The mirror pods of one node that claim the same hash.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    claimants: BTreeSet<PodName>,
    /// The one that is this static pod; kept while its claim counts.
    holder: Option<PodName>,
}

impl PodFacts {
    fn names_a_container(&self) -> bool {
        self.containers.iter().any(|container| container.id.is_some())
    }

    /// Whether a report names one of its containers.
    fn is_named_by(&self, report: &PodReport) -> bool {
        let mut ids = self.containers.iter().filter_map(|container| container.id.as_ref());
        ids.any(|id| report.containers.iter().any(|container| container.id == *id))
    }
}

impl State {
    /// Records the claim of a mirror pod, which is new or changed.
    pub(super) fn put_claim(&mut self, facts: &PodFacts) {
        let (Some(node), Some(hash), Some(_)) = (&facts.node, &facts.cgroup_uid, &facts.mirror_of) else {
            return;
        };
        let Some(known) = self.nodes.get_mut(node) else { return };
        known.static_pods.entry(hash.clone()).or_default().claimants.insert(facts.pod.clone());
        self.unsettled.insert((node.clone(), hash.clone()));
    }

    /// Withdraws the claim of a mirror pod.
    pub(super) fn drop_claim(&mut self, facts: &PodFacts) {
        let (Some(node), Some(hash), Some(_)) = (&facts.node, &facts.cgroup_uid, &facts.mirror_of) else {
            return;
        };
        let Some(known) = self.nodes.get_mut(node) else { return };
        let Some(claim) = known.static_pods.get_mut(hash) else { return };
        claim.claimants.remove(&facts.pod);
        claim.holder.take_if(|holder| *holder == facts.pod);
        if claim.claimants.is_empty() {
            known.static_pods.remove(hash);
        }
        self.unsettled.insert((node.clone(), hash.clone()));
    }

    /// Every claim on the node is to be settled again: the uid of its Node changed.
    pub(super) fn unsettle_node(&mut self, name: &NodeName) {
        let hashes = self.nodes.get(name).into_iter().flat_map(|node| node.static_pods.keys());
        self.unsettled.extend(hashes.map(|hash| (name.clone(), hash.clone())));
    }

    /// Settles what changed, once all of an event is known: in a list the order of the pods means nothing.
    pub(super) fn settle_claims(&mut self) {
        while let Some((node, hash)) = self.unsettled.pop_first() {
            self.settle(&node, &hash, None);
        }
    }

    /// The pod of a node that the kubelet runs from the manifest of this hash.
    pub(super) fn find_static_pod(
        &mut self,
        node: &NodeName,
        report: &PodReport,
    ) -> Result<PodName, PodRejection> {
        let candidates = self.candidates(node, &report.uid);
        if candidates.len() > 1 {
            let is_named =
                |name: &&PodName| self.pods.get(*name).is_some_and(|pod| pod.facts.is_named_by(report));
            let mut named = candidates.iter().filter(is_named);
            if let (Some(only), None) = (named.next().cloned(), named.next()) {
                self.settle(node, &report.uid, Some(only));
            }
        }
        let claim = self.nodes.get(node).and_then(|node| node.static_pods.get(&report.uid));
        match claim.and_then(|claim| claim.holder.clone()) {
            Some(holder) => Ok(holder),
            None if candidates.len() > 1 => Err(PodRejection::AmbiguousPod),
            None => Err(PodRejection::UnknownPod),
        }
    }

    /// Whether the pod is the static pod that it claims to be; true for every pod that claims nothing.
    pub(super) fn is_what_it_claims(&self, facts: &PodFacts) -> bool {
        if facts.mirror_of.is_none() {
            return true;
        }
        let claims = self.node_of(facts).map(|node| &node.static_pods);
        let claim = claims.zip(facts.cgroup_uid.as_ref()).and_then(|(claims, hash)| claims.get(hash));
        claim.is_some_and(|claim| claim.holder.as_ref() == Some(&facts.pod))
    }

    /// The pods whose claim counts.
    fn candidates(&self, name: &NodeName, hash: &PodUid) -> Vec<PodName> {
        let Some(node) = self.nodes.get(name) else { return Vec::new() };
        let Some(uid) = node.facts.as_ref().and_then(|facts| facts.uid.as_deref()) else { return Vec::new() };
        let Some(claim) = node.static_pods.get(hash) else { return Vec::new() };
        let pods = claim.claimants.iter().filter_map(|name| self.pods.get(name)).map(|pod| &pod.facts);
        let has_run =
            |facts: &PodFacts| facts.names_a_container() || claim.holder.as_ref() == Some(&facts.pod);
        let counts = |facts: &&PodFacts| facts.mirror_of.as_deref() == Some(uid) && has_run(facts);
        pods.filter(counts).map(|facts| facts.pod.clone()).collect()
    }

    /// Decides who holds a hash; the agent is told of another holder.
    fn settle(&mut self, node: &NodeName, hash: &PodUid, proven: Option<PodName>) {
        let candidates = self.candidates(node, hash);
        let claim = self.nodes.get_mut(node).and_then(|node| node.static_pods.get_mut(hash));
        let Some(claim) = claim else { return };
        let remains = claim.holder.clone().filter(|holder| candidates.contains(holder));
        let holder = match (proven.or(remains), &candidates[..]) {
            (Some(holder), _) => Some(holder),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        };
        if claim.holder == holder {
            return;
        }
        claim.holder.clone_from(&holder);
        if let Some(holder) = holder {
            self.renew_roster_entry(&holder);
        }
    }
}
