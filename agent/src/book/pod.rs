//! One pod: its cgroups, what the roster says of it, its two bands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::report::UnknownReason;
use plimsoll_contract::{Band, Basis, Bytes, ContainerId, Cores, Limit, PodName, PodUid, Resource};

use super::WithoutRoster;
use super::container::Container;
use super::hottest::Hottest;
use super::listing::{Listed, Listing};
use crate::classify::Classifier;
use crate::load::Request;
use crate::sample::{Moment, NodeCapacity, Target};

/// A container that stopped; its name may come back.
#[derive(Debug, Clone)]
pub(super) struct Retired {
    pub(super) at: Moment,
    /// The container, where it still runs but is no longer listed: it must not be united with itself.
    lingering: Option<ContainerId>,
    state: Box<Container>,
}

/// One resource of a pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    pub(crate) classifier: Classifier,
    pub(crate) hottest: Option<Hottest>,
    /// Why the utilization is not known.
    pub(crate) missing: Option<UnknownReason>,
    /// Highest utilization of the last sweep, not smoothed.
    pub(super) instant: f64,
}

/// Everything known of one pod.
#[derive(Debug, Clone)]
pub struct PodEntry {
    pub(super) uid: PodUid,
    pub(super) mode: WithoutRoster,
    pub(super) listing: Option<Listing>,
    pub(super) node: Option<NodeCapacity>,
    pub(super) containers: BTreeMap<ContainerId, Box<Container>>,
    /// Of the pod's own cgroup; absent until it was read, which it is only where it has a limit.
    pub(super) own: Option<Box<Container>>,
    pub(super) retired: BTreeMap<Arc<str>, Retired>,
    pub(crate) cpu: Track,
    pub(crate) memory: Track,
    pub(super) limits_changed: bool,
    pub(super) memory_events: bool,
    hurried: Option<Moment>,
    /// Its own cgroup went while some of its containers still stand.
    pub(super) leaving: bool,
    /// When its newest container appeared.
    newest: Option<Moment>,
    /// When the roster was last asked for because of it.
    asked: Option<Moment>,
}

/// A container's numbers, for metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerNumbers<'a> {
    /// Its id.
    pub id: &'a ContainerId,
    /// Its name, once the roster named it.
    pub name: Option<&'a str>,
    /// Mean CPU use over the last sweep.
    pub cores: Option<Cores>,
    /// Share of the quota's periods that were throttled over the last sweep, 0 to 1.
    pub throttled: Option<f64>,
    /// Memory less inactive file pages.
    pub working_set: Option<Bytes>,
    /// The quota.
    pub cpu_limit: Option<Limit<Cores>>,
    /// The memory limit.
    pub memory_limit: Option<Limit<Bytes>>,
}

impl PodEntry {
    pub(super) fn new(uid: PodUid, mode: WithoutRoster) -> Self {
        PodEntry {
            uid,
            mode,
            listing: None,
            node: None,
            containers: BTreeMap::new(),
            own: None,
            retired: BTreeMap::new(),
            cpu: Track::default(),
            memory: Track::default(),
            limits_changed: false,
            memory_events: false,
            hurried: None,
            leaving: false,
            newest: None,
            asked: None,
        }
    }

    /// As the cgroup carries it.
    pub fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// Its name, once the roster named it.
    pub fn name(&self) -> Option<&PodName> {
        self.listing.as_ref().map(|listing| &listing.name)
    }

    /// Whether it has an SLA class.
    pub fn managed(&self) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.managed)
    }

    /// The band of a resource.
    pub fn band(&self, resource: Resource) -> Band {
        self.track(resource).classifier.band()
    }

    /// Why the band of a resource is unknown, if it is.
    pub fn reason(&self, resource: Resource) -> Option<UnknownReason> {
        self.track(resource).classifier.reason()
    }

    /// Smoothed utilization of the hottest candidate by every basis that is defined; the request is not floored.
    pub fn utilizations(&self, resource: Resource) -> Vec<(Basis, f64)> {
        let mut hottest: BTreeMap<Basis, f64> = BTreeMap::new();
        let containers =
            self.counting().flat_map(|(id, container)| self.ratios(resource, self.listed(id), container));
        let own = self.own.iter().flat_map(|own| self.ratios(resource, None, own));
        for (basis, ratio) in containers.chain(own.filter(|(basis, _)| *basis == Basis::Limit)) {
            let most = hottest.entry(basis).or_insert(ratio);
            *most = most.max(ratio);
        }
        hottest.into_iter().collect()
    }

    /// The numbers of the containers that count.
    pub fn containers(&self) -> impl Iterator<Item = ContainerNumbers<'_>> {
        self.counting().map(|(id, container)| ContainerNumbers {
            id,
            name: self.listed(id).map(|listed| listed.name.as_ref()),
            cores: container.sample.map(|sample| sample.cores),
            throttled: container.throttled(),
            working_set: container.working_set(),
            cpu_limit: container.cpu_limit.known(),
            memory_limit: container.memory_limit.known(),
        })
    }

    pub(crate) fn track(&self, resource: Resource) -> &Track {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    pub(super) fn listed(&self, id: &ContainerId) -> Option<&Listed> {
        self.listing.as_ref()?.counting.get(id)
    }

    /// The live containers that count.
    pub(super) fn counting(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.live().filter(|(id, _)| self.mode == WithoutRoster::NodeBasis || self.listed(id).is_some())
    }

    fn live(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.containers.iter().map(|(id, container)| (id, container.as_ref()))
    }

    /// Of a report: the containers that count, or all while the roster has not named any.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        let all = self.listing.is_none();
        self.live().filter(move |(id, _)| all || self.listed(id).is_some())
    }

    /// Whether the cgroup is known already.
    pub(super) fn knows(&self, target: &Target) -> bool {
        match &target.container {
            None => self.own.is_some(),
            Some(id) => self.containers.contains_key(id),
        }
    }

    /// Whether the cgroup's news are the pod's news.
    pub(super) fn counts(&self, target: &Target) -> bool {
        target
            .container
            .as_ref()
            .is_none_or(|id| self.mode == WithoutRoster::NodeBasis || self.listed(id).is_some())
    }

    fn ratios(
        &self,
        resource: Resource,
        listed: Option<&Listed>,
        container: &Container,
    ) -> Vec<(Basis, f64)> {
        let node = self.node;
        let (usage, limit, request, node) = match resource {
            Resource::Cpu => (
                container.cpu.usage(),
                container.cpu_basis(Request::Unknown, node, 0.0).ok().map(|of| of.amount),
                listed.and_then(|listed| listed.cpu_request).map(|cores| cores.0),
                node.map(|node| node.cpus.0),
            ),
            Resource::Memory => (
                container.memory.usage(),
                container.memory_basis(node).ok().filter(|of| of.basis == Basis::Limit).map(|of| of.amount),
                listed.and_then(|listed| listed.memory_request).map(Bytes::as_f64),
                node.map(|node| node.memory.as_f64()),
            ),
        };
        let amounts = [(Basis::Limit, limit), (Basis::Request, request), (Basis::Node, node)];
        let defined =
            amounts.into_iter().filter_map(|(basis, amount)| Some((basis, amount.filter(|a| *a > 0.0)?)));
        let Some(usage) = usage else { return Vec::new() };
        defined.map(|(basis, amount)| (basis, usage / amount)).collect()
    }

    /// A container came, if it was not known.
    pub(super) fn admit(&mut self, id: &ContainerId, now: Moment) {
        if !self.containers.contains_key(id) {
            self.containers.insert(id.clone(), Box::default());
            (self.newest, self.asked) = (Some(now), Some(now));
        }
        self.reunite();
    }

    /// Keeps what is known of a container that stopped or is no longer listed, under its name.
    pub(super) fn retire(&mut self, id: &ContainerId, now: Moment) {
        let Some(state) = self.containers.remove(id) else {
            return;
        };
        if let Some(name) = self.listed(id).map(|listed| Arc::clone(&listed.name)) {
            self.retired.insert(name, Retired { at: now, lingering: None, state });
        }
    }

    /// Takes in what the roster says.
    pub(super) fn list(&mut self, listing: &Listing, now: Moment) {
        let before = self.listing.replace(listing.clone());
        // a container that another of its name replaced may linger; its state goes to the new one
        let unlisted = before.into_iter().flat_map(|before| before.counting);
        for (id, listed) in unlisted.filter(|(id, _)| !listing.counting.contains_key(id)) {
            if let Some(container) = self.containers.get(&id) {
                let state = container.clone();
                self.retired.insert(listed.name, Retired { at: now, lingering: Some(id), state });
            }
        }
        self.reunite();
    }

    /// Gives what was kept under a name to the live container that now has it.
    pub(super) fn reunite(&mut self) {
        let Some(listing) = &self.listing else { return };
        for (id, listed) in &listing.counting {
            let Some(container) = self.containers.get_mut(id) else {
                continue;
            };
            match self.retired.remove(&listed.name) {
                Some(retired) if retired.lingering.as_ref() != Some(id) => {
                    container.continue_from(&retired.state);
                }
                _ => {}
            }
        }
    }

    /// Whether a managed pod should be reported now: its limits changed, or it is under pressure and was not just reported.
    pub(super) fn is_urgent(&mut self, now: Moment, high: f64) -> bool {
        let rested = self.hurried.is_none_or(|at| now.since(at) >= REST);
        let urgent = self.managed() && (self.limits_changed || (rested && self.under_pressure(high)));
        if urgent {
            self.hurried = Some(now);
        }
        // an event that could not be told yet is kept; one of a pod that nobody resizes is not
        self.memory_events &= self.managed() && !urgent;
        self.limits_changed = false;
        urgent
    }

    /// Whether to ask for the roster again: the aggregator hears of a new container from the API server, later than we do from
    /// the kernel, and would else be asked at the next heartbeat only.
    pub(super) fn asks(&mut self, now: Moment) -> bool {
        let new = self.newest.is_some_and(|at| now.since(at) < ASKS_FOR);
        let rested = self.asked.is_none_or(|at| now.since(at) >= ASKS_EVERY);
        let asks = new && rested && self.mode == WithoutRoster::Unknown && self.has_strangers();
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// Whether the roster has yet to say what some container is. One stranger beside known containers is the pause container,
    /// which no roster ever lists.
    fn has_strangers(&self) -> bool {
        let Some(listing) = &self.listing else { return true };
        let strangers = self.containers.keys().filter(|id| !listing.names(id)).count();
        strangers > 1 || (strangers == 1 && self.containers.len() == 1)
    }

    /// Whether something holds it back, or it uses more than `high` of its basis.
    fn under_pressure(&self, high: f64) -> bool {
        let hot = |track: &Track| {
            track.instant > high || track.hottest.as_ref().is_some_and(|h| h.utilization() > high)
        };
        self.memory_events
            || hot(&self.cpu)
            || hot(&self.memory)
            || self.counting().any(|(_, container)| container.under_pressure())
    }
}

/// A pod with a container that the roster has not named asks for it so often, and for so long after it came.
const ASKS_EVERY: Duration = Duration::from_secs(2);
const ASKS_FOR: Duration = Duration::from_secs(30);
/// A pod under pressure is reported so often.
const REST: Duration = Duration::from_secs(1);
