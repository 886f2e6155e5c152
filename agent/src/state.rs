//! The state of the node's pods: fed by sweeps and rosters, read by reports and metrics.
//!
//! ```text
//!   appeared, gone, observe  ->  containers, by id and (across restarts) by name   -> classify -> bands, transitions
//!   apply_roster             ->  names, kinds, requests, which pods are managed     -> full_report, partial_report, urgent_pods
//! ```
//!
//! Pure: time and readings are arguments, maps are ordered, the same calls give the same results. Nothing is guessed: a
//! container that the roster does not list does not count for any band. Proof: the files in `state/tests`.

mod candidates;
mod classification;
mod collect;
mod container;
mod events;
mod pod;
mod roster;
mod urgency;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Band, Basis, ContainerId, Cores, Moment, PodName, PodUid, Resource};
use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::sample::{Reading, Target};
use candidates::Candidates;
use classification::SweepContext;
pub(crate) use container::Container;
pub(crate) use events::{AcceptedEvents, ReportedEvents};
pub(crate) use pod::{PodState, ResourceState};
use roster::RosterEntry;

/// How long the roster entry of a pod that is not on the node is kept, in multiples of `Profile::retention`.
const ROSTER_RETENTION: u32 = 10;

/// What the CPU utilization of a container without a quota is relative to while no roster contains its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithoutRoster {
    /// The node. For agents without an aggregator, which never get a roster; every container counts.
    NodeBasis,
    /// Nothing: the utilization is unknown until the roster lists the container.
    Unknown,
}

/// A band that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The pod.
    pub pod: PodUid,
    /// Its name, once the roster lists it.
    pub name: Option<PodName>,
    /// The resource.
    pub resource: Resource,
    /// The band before.
    pub from: Band,
    /// The band now.
    pub to: Band,
    /// What the utilization is relative to, where it is known.
    pub basis: Option<Basis>,
    /// Smoothed utilization of the hottest candidate, where it is known.
    pub utilization: Option<f64>,
}

/// Everything known of the node's pods.
#[derive(Debug, Clone)]
pub struct NodeState {
    profile: Profile,
    mode: WithoutRoster,
    node: Option<Capacity>,
    /// No rate can exceed this many.
    cpus: Option<Cores>,
    pods: BTreeMap<PodUid, PodState>,
    roster: BTreeMap<PodUid, RosterEntry>,
    /// Whether the aggregator ever answered with a roster.
    has_roster: bool,
    /// Number of the sweep in progress.
    sweep: u64,
    /// Pods with a transition, until they are reported.
    changed: BTreeSet<PodUid>,
    candidates: Candidates,
    /// Cgroups that were removed lately: one that comes back under its name was only found again, as after a change of the mounts.
    gone: BTreeMap<Target, Moment>,
}

impl NodeState {
    /// A node without pods.
    pub fn new(profile: Profile, mode: WithoutRoster) -> NodeState {
        NodeState {
            profile,
            mode,
            node: None,
            cpus: None,
            pods: BTreeMap::new(),
            roster: BTreeMap::new(),
            has_roster: false,
            sweep: 1,
            changed: BTreeSet::new(),
            candidates: Candidates::default(),
            gone: BTreeMap::new(),
        }
    }

    /// Sets the node's capacity, and the CPUs that no rate can exceed, if that is known. Until then, limits are not reduced to the
    /// capacity, and no utilization is relative to the node.
    pub fn set_capacity(&mut self, capacity: Capacity, cpus: Option<Cores>) {
        (self.node, self.cpus) = (Some(capacity), cpus);
    }

    /// A cgroup was created.
    pub fn appeared(&mut self, target: &Target, now: Moment) {
        let pod = self.pods.entry(target.pod.clone()).or_insert_with(|| {
            let mut pod = PodState::new(target.pod.clone(), self.mode);
            if let Some(entry) = self.roster.get(&target.pod) {
                pod.set_roster(entry, now);
            }
            pod
        });
        // those of the first sweep were there before
        let is_new = self.sweep > 1 && !self.gone.contains_key(target);
        match &target.container {
            None => (pod.own, pod.terminating, pod.events.own_from_zero) = (None, false, is_new),
            Some(id) => pod.add_container(id, now, is_new),
        }
    }

    /// A cgroup was removed. What is known of a container is kept for a while under its name.
    pub fn gone(&mut self, target: &Target, now: Moment) {
        let Some(pod) = self.pods.get_mut(&target.pod) else {
            return;
        };
        self.gone.insert(target.clone(), now);
        match &target.container {
            Some(id) => pod.remove_container(id, now),
            None => (pod.own, pod.terminating) = (None, true),
        }
        // a container that outlives its pod's cgroup (left over by the runtime) keeps the pod until it is removed too
        if pod.terminating && pod.containers.is_empty() {
            self.pods.remove(&target.pod);
            self.changed.remove(&target.pod);
            if let Some(entry) = self.roster.get_mut(&target.pod) {
                entry.last_seen = now;
            }
        }
    }

    /// Processes one reading of the sweep in progress.
    pub fn observe(&mut self, target: &Target, reading: &Reading) {
        if !self.pods.get(&target.pod).is_some_and(|pod| pod.contains(target)) {
            self.appeared(target, reading.at);
        }
        let Some(pod) = self.pods.get_mut(&target.pod) else {
            return;
        };
        let managed = pod.is_managed();
        let counts = target.container.as_ref().is_none_or(|id| pod.is_counting(id));
        let container = match &target.container {
            None => Some(pod.own.get_or_insert_with(|| Box::new(Container::new(pod.events.own_from_zero)))),
            Some(id) => pod.containers.get_mut(id),
        };
        let Some(container) = container else { return };
        let limits_changed = container.observe(reading, self.sweep, &self.profile, self.cpus);
        container.observe_recent(reading, managed && counts && target.container.is_some());
        if counts {
            pod.urgency.record_limits(limits_changed);
        }
        pod.count_events(target, reading.memory_events);
    }

    /// Updates the bands after all readings of a sweep. Returns those that changed.
    pub fn classify(&mut self, now: Moment, wall: Timestamp) -> Vec<Transition> {
        let context = SweepContext {
            now,
            wall,
            sweep: self.sweep,
            node: self.node,
            profile: &self.profile,
            has_roster: self.has_roster,
        };
        self.gone.retain(|_, at| now.since(*at) < self.profile.retention);
        let mut transitions = Vec::new();
        for pod in self.pods.values_mut() {
            transitions.extend(pod.classify(&context, &mut self.candidates));
        }
        self.changed.extend(transitions.iter().map(|transition| transition.pod.clone()));
        self.sweep += 1;
        transitions
    }

    /// Applies the aggregator's answer to a report. Returns all pods that are known to be managed.
    pub fn apply_roster(&mut self, answer: &Answer, now: Moment) -> BTreeSet<PodUid> {
        self.has_roster = true;
        for listed in &answer.roster {
            let entry = RosterEntry::new(listed, now);
            if let Some(pod) = self.pods.get_mut(&listed.uid) {
                pod.set_roster(&entry, now);
            }
            self.roster.insert(listed.uid.clone(), entry);
        }
        // the answer does not name pods that are gone: their entries expire
        let retention = self.profile.retention.saturating_mul(ROSTER_RETENTION);
        self.roster.retain(|uid, entry| {
            if self.pods.contains_key(uid) {
                entry.last_seen = now;
            }
            now.since(entry.last_seen) < retention
        });
        self.roster.iter().filter(|(_, entry)| entry.managed).map(|(uid, _)| uid.clone()).collect()
    }

    /// The containers that no roster lists, although it has had time to: their pods' own cgroups include them.
    pub(crate) fn unlisted_containers(&self, now: Moment) -> BTreeSet<ContainerId> {
        self.pods.values().flat_map(|pod| pod.unlisted(now)).cloned().collect()
    }

    /// The pods to report at once, since the last call: those with a transition, managed ones whose limits changed, managed
    /// ones under pressure (once a second), and those with new containers that the roster does not list (every 2 s).
    pub fn urgent_pods(&mut self, now: Moment) -> BTreeSet<PodUid> {
        let mut urgent = std::mem::take(&mut self.changed);
        let high = self.profile.thresholds[1];
        for (uid, pod) in &mut self.pods {
            if pod.is_urgent(now, high) {
                urgent.insert(uid.clone());
            }
        }
        urgent
    }

    /// Every pod, ordered by uid.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodState> {
        self.pods.values()
    }

    pub(crate) fn pod(&self, uid: &PodUid) -> Option<&PodState> {
        self.pods.get(uid)
    }
}

#[cfg(test)]
pub(crate) mod tests;
