//! One pod: its cgroups, its roster entry, its two bands, and what survives a restart of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_contract::load::{BoundBy, Cause, UnknownReason};
use plimsoll_contract::report::{Capacity, PodCgroup};
use plimsoll_contract::{Band, Basis, Bytes, ContainerId, Cores, Limit, Moment, PodName, PodUid, Resource};

use super::WithoutRoster;
use super::candidates::Candidate;
use super::container::Container;
use super::events::PodEvents;
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
    /// What the hottest candidate is relative to, whether or not it is shown.
    pub(crate) basis: Option<Basis>,
    /// The hottest candidate of the last sweep, where what is known is all there is.
    pub(crate) hottest: Option<Candidate>,
    /// Why a candidate is unknown, if any is.
    pub(crate) missing: Option<UnknownReason>,
    /// Since when the pod's own cgroup uses more than its containers account for, if it does.
    pub(super) unaccounted_since: Option<Moment>,
    /// What made the band.
    pub(crate) cause: Option<Cause<f64>>,
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
    /// The pod's own cgroup; absent until it was read.
    pub(super) own: Option<Box<Container>>,
    /// Containers that the roster lists and whose cgroups were removed, and when.
    pub(super) ended: BTreeMap<ContainerId, Moment>,
    /// Whether an init or debug container ended since the last sweep.
    pub(super) excluded_ended: bool,
    /// By name.
    pub(super) stopped: BTreeMap<Arc<str>, StoppedContainer>,
    pub(super) cpu: ResourceState,
    pub(super) memory: ResourceState,
    /// Its own cgroup was removed while some of its containers still exist.
    pub(super) terminating: bool,
    pub(super) urgency: Urgency,
    pub(super) events: PodEvents,
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
            ended: BTreeMap::new(),
            excluded_ended: false,
            stopped: BTreeMap::new(),
            cpu: ResourceState::default(),
            memory: ResourceState::default(),
            terminating: false,
            urgency: Urgency::default(),
            events: PodEvents::default(),
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

    /// Its CPU request, where the roster states one.
    pub(crate) fn cpu_request(&self, id: &ContainerId) -> Option<Cores> {
        self.listed(id)?.cpu_request
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

    pub(super) fn running(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
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

    /// Smoothed utilization of the hottest candidate relative to each basis that is defined; the request is not floored. None while
    /// what is known is not all there is.
    pub(crate) fn utilizations(&self, resource: Resource) -> BTreeMap<Basis, f64> {
        let mut hottest: BTreeMap<Basis, f64> = BTreeMap::new();
        if self.resource(resource).hottest.is_none() {
            return hottest;
        }
        let (own_cpu_limit, own_memory_limit) = self.own_limits();
        let own_cpu_limit = own_cpu_limit.unwrap_or(Limit::Unlimited);
        let own_memory_limit = own_memory_limit.unwrap_or(Limit::Unlimited);
        let containers = self.counting().map(|(id, container)| (Some(id), container));
        for (id, container) in containers.chain(self.own.iter().map(|own| (None, own.as_ref()))) {
            let listed = id.and_then(|id| self.listed(id));
            let (usage, limit, request, node) = match resource {
                Resource::Cpu => (
                    container.cpu.value(),
                    container.cpu_basis(own_cpu_limit, Request::Unknown, self.node, 0.0).ok(),
                    listed.and_then(|listed| listed.cpu_request).map(|cores| cores.0),
                    self.node.map(|node| node.cores.0),
                ),
                Resource::Memory => (
                    container.memory.value(),
                    container
                        .memory_basis(own_memory_limit, self.node)
                        .ok()
                        .filter(|of| of.basis == Basis::Limit),
                    listed.and_then(|listed| listed.memory_request).map(Bytes::as_f64),
                    self.node.map(|node| node.bytes.as_f64()),
                ),
            };
            // the pod's own cgroup counts relative to a limit of its own, and below where it is the hottest
            let node = node.filter(|_| id.is_some());
            let limit = limit.map(|of| of.amount);
            for (basis, amount) in [(Basis::Limit, limit), (Basis::Request, request), (Basis::Node, node)] {
                if let (Some(usage), Some(amount)) = (usage, amount.filter(|amount| *amount > 0.0)) {
                    let max = hottest.entry(basis).or_insert(usage / amount);
                    *max = max.max(usage / amount);
                }
            }
        }
        let own = self.resource(resource).hottest.iter().filter(|hottest| hottest.container.is_none());
        for own in own {
            let max = hottest.entry(own.of.basis).or_insert(own.utilization());
            *max = max.max(own.utilization());
        }
        hottest
    }

    /// The limits that the kernel enforces on all of the pod, or why they are not known.
    pub(crate) fn own_limits(
        &self,
    ) -> (Result<Limit<Cores>, UnknownReason>, Result<Limit<Bytes>, UnknownReason>) {
        match self.own.as_ref().filter(|own| !own.is_empty(Resource::Cpu)) {
            Some(own) => (own.cpu_limit.known(), own.memory_limit.known()),
            None => (Ok(Limit::Unlimited), Ok(Limit::Unlimited)),
        }
    }

    /// What its own cgroup enforces, where it is managed: a resize of its containers may leave older limits there.
    pub(crate) fn own_cgroup(&self) -> Option<PodCgroup> {
        let own = self.own.as_ref().filter(|_| self.is_managed())?;
        let (limit_cores, limit_bytes) = (own.cpu_limit.value(), own.memory_limit.value());
        (limit_cores.is_some() || limit_bytes.is_some()).then_some(PodCgroup { limit_cores, limit_bytes })
    }

    /// What limits a container's CPU: its own limit, or that of the pod.
    pub(crate) fn bound_by(&self, container: &Container) -> Option<BoundBy> {
        let own = self.own.as_deref();
        match (own.and_then(Container::bound_by), container.bound_by()) {
            (Some(BoundBy::Limit), _) => Some(BoundBy::Limit),
            (_, Some(BoundBy::Node)) if own.is_some_and(|own| container.may_be_pressed_by(own)) => None,
            (_, bound_by) => bound_by,
        }
    }

    /// Adds a container, unless it is known already. `is_new`: whether it was created while it was watched.
    pub(super) fn add_container(&mut self, id: &ContainerId, now: Moment, is_new: bool) {
        if !self.containers.contains_key(id) {
            if self.counting().next().is_none() {
                // so far nothing ran: that is not the past of what starts now
                self.restart_own();
            }
            self.containers.insert(id.clone(), Box::new(Container::new(is_new)));
            self.urgency.container_added(now);
        }
        self.continue_stopped();
    }

    fn restart_own(&mut self) {
        if let Some(own) = &mut self.own {
            own.cpu.restart();
            own.memory.restart();
        }
    }

    /// Removes a container and keeps its state under its name.
    pub(super) fn remove_container(&mut self, id: &ContainerId, now: Moment) {
        let Some(container) = self.containers.remove(id) else {
            return;
        };
        self.end_events(id, &container.event_counter, now);
        self.excluded_ended |= self.roster.as_ref().is_some_and(|entry| entry.excluded.contains(id));
        if let Some(name) = self.listed(id).map(|listed| Arc::clone(&listed.name)) {
            self.ended.insert(id.clone(), now);
            let at = container.stopped_at.unwrap_or(now);
            self.stopped.insert(name, StoppedContainer { at, still_running: None, container });
        }
    }

    pub(super) fn set_roster(&mut self, entry: &RosterEntry, now: Moment) {
        let before = self.roster.replace(entry.clone());
        self.ended.retain(|id, _| entry.counting.contains_key(id));
        let starts =
            before.as_ref().is_none_or(|before| before.counting.is_empty()) && !entry.counting.is_empty();
        if starts && before.is_some() {
            // so far it was the load of init containers
            self.restart_own();
        }
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
                    container.continue_from(&stopped.container, stopped.at);
                }
                _ => {}
            }
        }
    }
}
