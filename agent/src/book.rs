//! The book of a node's pods: what the sweep feeds, what reports and metrics are written from.
//!
//! ```text
//!   appeared, gone, observe  ->  containers, by id and (across restarts) by name   -> settle -> bands, transitions
//!   apply_roster             ->  names, kinds, requests, who is managed             -> full_report, partial_report, urgent
//! ```
//!
//! Pure: time and readings are arguments, maps are ordered, the same calls give the same answers. It refuses to guess: a container that the
//! roster does not list feeds no band. Proof: `book/tests.rs` and the files beside it.

mod container;
mod hottest;
mod listing;
mod pod;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Band, Basis, PodName, PodUid, Resource};

use crate::profile::Profile;
pub use crate::report::ReportHead;
use crate::sample::{Moment, NodeCapacity, Reading, Target};
pub(crate) use container::Container;
use listing::Listing;
pub use pod::{ContainerNumbers, PodEntry};
use settle::{Scene, Scratch};

/// What a container without quota is a share of when no roster names its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutRoster {
    /// Of the node: no aggregator is configured, there is nobody to ask. Every container counts.
    NodeBasis,
    /// Of nothing until the roster answers.
    Unknown,
}

/// A band that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The pod.
    pub pod: PodUid,
    /// Its name, once the roster named it.
    pub name: Option<PodName>,
    /// Which resource.
    pub resource: Resource,
    /// The band it had.
    pub from: Band,
    /// The band it has.
    pub to: Band,
    /// What the utilization is of, where it is known.
    pub basis: Option<Basis>,
    /// Smoothed utilization of the hottest candidate, where it is known.
    pub utilization: Option<f64>,
}

/// A listing, and when its pod was last seen on the node (or the listing came).
#[derive(Debug, Clone)]
struct Entry {
    listing: Listing,
    bands: plimsoll_contract::roster::Bands,
    seen: Moment,
}

/// Everything known about the node's pods.
#[derive(Debug, Clone)]
pub struct Book {
    profile: Profile,
    mode: WithoutRoster,
    node: Option<NodeCapacity>,
    pods: BTreeMap<PodUid, PodEntry>,
    roster: BTreeMap<PodUid, Entry>,
    /// Whether the roster ever answered.
    answered: bool,
    /// The sweep being read.
    sweep: u64,
    urgent: BTreeSet<PodUid>,
    scratch: Scratch,
}

/// How long a listing is kept, in multiples of `Profile::memory`, for a pod that is not on the node (any more).
const LISTING_MEMORY: u32 = 10;

impl Book {
    /// An empty book.
    pub fn new(profile: Profile, basis_without_roster: WithoutRoster) -> Book {
        Book {
            profile,
            mode: basis_without_roster,
            node: None,
            pods: BTreeMap::new(),
            roster: BTreeMap::new(),
            answered: false,
            sweep: 1,
            urgent: BTreeSet::new(),
            scratch: Scratch::default(),
        }
    }

    /// What the node has. Until this is known limits are not clipped and there is no share of the node.
    pub fn set_node(&mut self, facts: &NodeCapacity) {
        self.node = Some(*facts);
    }

    /// A cgroup came.
    pub fn appeared(&mut self, target: &Target, now: Moment) {
        let pod = self.pod(&target.pod, now);
        match &target.container {
            None => (pod.own, pod.leaving) = (None, false),
            Some(id) => pod.admit(id, now),
        }
    }

    /// A cgroup went. What is known of a container is kept a while under its name.
    pub fn gone(&mut self, target: &Target, now: Moment) {
        let Some(pod) = self.pods.get_mut(&target.pod) else {
            return;
        };
        match &target.container {
            Some(id) => pod.retire(id, now),
            None => (pod.own, pod.leaving) = (None, true),
        }
        // A container that outlives its pod's cgroup (a runtime's leftover) keeps the entry until it goes too.
        if pod.leaving && pod.containers.is_empty() {
            self.pods.remove(&target.pod);
            self.urgent.remove(&target.pod);
            if let Some(entry) = self.roster.get_mut(&target.pod) {
                entry.seen = now;
            }
        }
    }

    /// Takes in one reading.
    pub fn observe(&mut self, target: &Target, reading: &Reading) {
        let (sweep, node) = (self.sweep, self.node);
        if !self.pods.get(&target.pod).is_some_and(|pod| pod.knows(target)) {
            self.appeared(target, reading.at);
        }
        let Some(pod) = self.pods.get_mut(&target.pod) else {
            return;
        };
        let counts = pod.counts(target);
        let container = match &target.container {
            None => Some(pod.own.get_or_insert_default()),
            Some(id) => pod.containers.get_mut(id),
        };
        let Some(container) = container else { return };
        let news = container.observe(reading, sweep, &self.profile, node);
        pod.limits_changed |= counts && news.limits_changed;
        pod.memory_events |= counts && news.memory_events;
    }

    /// After all readings of a sweep: updates the bands. Answers with those that changed.
    pub fn settle(&mut self, now: Moment, wall: Timestamp) -> Vec<Transition> {
        let scene = Scene {
            now,
            wall,
            sweep: self.sweep,
            node: self.node,
            profile: &self.profile,
            answered: self.answered,
        };
        let mut transitions = Vec::new();
        for pod in self.pods.values_mut() {
            transitions.extend(pod.settle(&scene, &mut self.scratch));
        }
        self.urgent.extend(transitions.iter().map(|transition| transition.pod.clone()));
        self.sweep += 1;
        transitions
    }

    /// Takes in what the aggregator answered. Answers with the pods that are managed, all that are known.
    pub fn apply_roster(&mut self, answer: &Answer, now: Moment, _wall: Timestamp) -> BTreeSet<PodUid> {
        self.answered = true;
        for listed in &answer.roster {
            let entry = Entry { listing: Listing::from(listed), bands: listed.bands, seen: now };
            if let Some(pod) = self.pods.get_mut(&listed.uid) {
                entry.introduce(pod, now);
            }
            self.roster.insert(listed.uid.clone(), entry);
        }
        self.forget_listings(now);
        self.roster.iter().filter(|(_, entry)| entry.listing.managed).map(|(uid, _)| uid.clone()).collect()
    }

    /// The pods to report at once, since the last call: those with a transition, managed ones whose limits changed, managed
    /// ones under pressure (these once a second), and new ones that the roster has not named (these every 2 s).
    pub fn urgent(&mut self, now: Moment) -> BTreeSet<PodUid> {
        let mut urgent = std::mem::take(&mut self.urgent);
        let high = self.profile.high.on;
        for (uid, pod) in &mut self.pods {
            if pod.is_urgent(now, high) | pod.asks(now) {
                urgent.insert(uid.clone());
            }
        }
        urgent
    }

    /// Every pod, in order of uid.
    pub fn pods(&self) -> impl Iterator<Item = &PodEntry> {
        self.pods.values()
    }

    /// One pod.
    pub fn get(&self, uid: &PodUid) -> Option<&PodEntry> {
        self.pods.get(uid)
    }

    fn pod(&mut self, uid: &PodUid, now: Moment) -> &mut PodEntry {
        let mode = self.mode;
        let roster = &mut self.roster;
        self.pods.entry(uid.clone()).or_insert_with(|| {
            let mut pod = PodEntry::new(uid.clone(), mode);
            if let Some(entry) = roster.get(uid) {
                entry.introduce(&mut pod, now);
            }
            pod
        })
    }

    /// The answer says nothing of pods that went: their listings are dropped some time after.
    fn forget_listings(&mut self, now: Moment) {
        let pods = &self.pods;
        let kept = self.profile.memory.saturating_mul(LISTING_MEMORY);
        self.roster.retain(|uid, entry| {
            if pods.contains_key(uid) {
                entry.seen = now;
            }
            now.since(entry.seen) < kept
        });
    }
}

impl Entry {
    fn introduce(&self, pod: &mut PodEntry, now: Moment) {
        pod.list(&self.listing, now);
        pod.cpu.classifier.announce(self.bands.cpu.unwrap_or_default(), now);
        pod.memory.classifier.announce(self.bands.memory.unwrap_or_default(), now);
    }
}

#[cfg(test)]
pub(crate) mod tests;
