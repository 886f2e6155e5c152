//! One pod: its cgroups, its roster entry, its two bands, and what survives a restart of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{Band, Basis, Bytes, ContainerId, Moment, PodName, PodUid, Resource};

use super::WithoutRoster;
use super::candidates::Candidate;
use super::container::Container;
use super::roster::{RosterContainer, RosterEntry};
use super::urgency::Urgency;
use crate::classify::Classifier;
use crate::load::Request;
use crate::sample::Target;

/// A container that stopped; its name may come back.
#[derive(Debug, Clone)]
pub(super) struct StoppedContainer {
    pub(super) at: Moment,
    /// The container, where it still runs but is no longer listed: it must not be continued from itself.
    still_running: Option<ContainerId>,
    container: Box<Container>,
}

/// One resource of a pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceState {
    pub(crate) classifier: Classifier,
    /// The hottest candidate of the last sweep.
    pub(crate) hottest: Option<Candidate>,
    /// Why a candidate is unknown, if any is.
    pub(crate) missing: Option<UnknownReason>,
    /// Highest utilization in the last sweep, not smoothed.
    pub(super) highest_latest: f64,
}

/// Everything known of one pod.
#[derive(Debug, Clone)]
pub(crate) struct PodState {
    pub(super) uid: PodUid,
    pub(super) mode: WithoutRoster,
    pub(super) roster: Option<RosterEntry>,
    pub(super) node: Option<Capacity>,
    pub(super) containers: BTreeMap<ContainerId, Box<Container>>,
    /// The pod's own cgroup; absent until it was read, which it is only where it has a limit.
    pub(super) own: Option<Box<Container>>,
    /// By name.
    pub(super) stopped: BTreeMap<Arc<str>, StoppedContainer>,
    pub(super) cpu: ResourceState,
    pub(super) memory: ResourceState,
    /// Its own cgroup was removed while some of its containers still exist.
    pub(super) terminating: bool,
    pub(super) urgency: Urgency,
}

impl PodState {
    pub(super) fn new(uid: PodUid, mode: WithoutRoster) -> Self {
        PodState {
            uid,
            mode,
            roster: None,
            node: None,
            containers: BTreeMap::new(),
            own: None,
            stopped: BTreeMap::new(),
            cpu: ResourceState::default(),
            memory: ResourceState::default(),
            terminating: false,
            urgency: Urgency::default(),
        }
    }

    /// As in the cgroup's name.
    pub(crate) fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// Its name, once the roster lists it.
    pub(crate) fn name(&self) -> Option<&PodName> {
        self.roster.as_ref().map(|entry| &entry.name)
    }

    /// Whether it has an SLA class.
    pub(crate) fn is_managed(&self) -> bool {
        self.roster.as_ref().is_some_and(|entry| entry.managed)
    }

    pub(crate) fn band(&self, resource: Resource) -> Band {
        self.resource(resource).classifier.band()
    }

    pub(crate) fn resource(&self, resource: Resource) -> &ResourceState {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    pub(super) fn resource_mut(&mut self, resource: Resource) -> &mut ResourceState {
        match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
        }
    }

    /// The container's name, once the roster lists it.
    pub(crate) fn container_name(&self, id: &ContainerId) -> Option<&str> {
        self.listed(id).map(|listed| listed.name.as_ref())
    }

    fn listed(&self, id: &ContainerId) -> Option<&RosterContainer> {
        self.roster.as_ref()?.counting.get(id)
    }

    /// The running containers that count.
    pub(crate) fn counting(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.running().filter(|(id, _)| self.is_counting(id))
    }

    /// The containers in a report: those that the roster lists, or all while it does not list the pod.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        let all = self.roster.is_none();
        self.running().filter(move |(id, _)| all || self.listed(id).is_some())
    }

    fn running(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.containers.iter().map(|(id, container)| (id, container.as_ref()))
    }

    pub(super) fn contains(&self, target: &Target) -> bool {
        match &target.container {
            None => self.own.is_some(),
            Some(id) => self.containers.contains_key(id),
        }
    }

    /// Whether the container counts for the pod.
    pub(super) fn is_counting(&self, id: &ContainerId) -> bool {
        self.mode == WithoutRoster::NodeBasis || self.listed(id).is_some()
    }

    /// Smoothed utilization of the hottest candidate relative to each basis that is defined; the request is not floored.
    pub(crate) fn utilizations(&self, resource: Resource) -> BTreeMap<Basis, f64> {
        let mut hottest: BTreeMap<Basis, f64> = BTreeMap::new();
        let containers = self.counting().map(|(id, container)| (Some(id), container));
        for (id, container) in containers.chain(self.own.iter().map(|own| (None, own.as_ref()))) {
            let listed = id.and_then(|id| self.listed(id));
            let (usage, limit, request, node) = match resource {
                Resource::Cpu => (
                    container.cpu.value(),
                    container.cpu_basis(Request::Unknown, self.node, 0.0).ok(),
                    listed.and_then(|listed| listed.cpu_request).map(|cores| cores.0),
                    self.node.map(|node| node.cores.0),
                ),
                Resource::Memory => (
                    container.memory.value(),
                    container.memory_basis(self.node).ok().filter(|of| of.basis == Basis::Limit),
                    listed.and_then(|listed| listed.memory_request).map(Bytes::as_f64),
                    self.node.map(|node| node.bytes.as_f64()),
                ),
            };
            // the pod's own cgroup counts only relative to a limit of its own
            let node = node.filter(|_| id.is_some());
            let limit = limit.map(|of| of.amount);
            for (basis, amount) in [(Basis::Limit, limit), (Basis::Request, request), (Basis::Node, node)] {
                if let (Some(usage), Some(amount)) = (usage, amount.filter(|amount| *amount > 0.0)) {
                    let max = hottest.entry(basis).or_insert(usage / amount);
                    *max = max.max(usage / amount);
                }
            }
        }
        hottest
    }

    /// Adds a container, unless it is known already.
    pub(super) fn add_container(&mut self, id: &ContainerId, now: Moment) {
        if !self.containers.contains_key(id) {
            self.containers.insert(id.clone(), Box::default());
            self.urgency.container_added(now);
        }
        self.continue_stopped();
    }

    /// Removes a container and keeps its state under its name.
    pub(super) fn remove_container(&mut self, id: &ContainerId, now: Moment) {
        let Some(container) = self.containers.remove(id) else {
            return;
        };
        if let Some(name) = self.listed(id).map(|listed| Arc::clone(&listed.name)) {
            self.stopped.insert(name, StoppedContainer { at: now, still_running: None, container });
        }
    }

    pub(super) fn set_roster(&mut self, entry: &RosterEntry, now: Moment) {
        let before = self.roster.replace(entry.clone());
        // a container that was replaced under its name may still be running; its state is passed on to the new one
        for (id, listed) in before.into_iter().flat_map(|before| before.counting) {
            if let (Some(container), false) = (self.containers.get(&id), entry.counting.contains_key(&id)) {
                let container = container.clone();
                let stopped = StoppedContainer { at: now, still_running: Some(id), container };
                self.stopped.insert(listed.name, stopped);
            }
        }
        self.continue_stopped();
        self.cpu.classifier.announce(entry.bands.cpu.unwrap_or_default(), now);
        self.memory.classifier.announce(entry.bands.memory.unwrap_or_default(), now);
    }

    /// Passes the state of each stopped container to the running container of the same name.
    fn continue_stopped(&mut self) {
        let Some(entry) = &self.roster else { return };
        for (id, listed) in &entry.counting {
            let Some(container) = self.containers.get_mut(id) else {
                continue;
            };
            match self.stopped.remove(&listed.name) {
                Some(stopped) if stopped.still_running.as_ref() != Some(id) => {
                    container.continue_from(&stopped.container);
                }
                _ => {}
            }
        }
    }
}
