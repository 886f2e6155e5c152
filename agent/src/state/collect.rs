//! Which of a pod's cgroups count, and for what: the containers that run, and the pod's own where they do not show all of its load.

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::{ContainerId, Limit, Moment, Resource};

use super::WithoutRoster;
use super::candidates::{Candidates, CgroupKind, ResourceSweep};
use super::classification::SweepContext;
use super::container::Container;
use super::pod::PodState;
use crate::load::{self, Request};
use crate::profile::Profile;

/// The least that a pod's own cgroup must use beyond what its containers account for, to count itself: a monitor of the runtime, or a page
/// table, is no load.
const UNACCOUNTED_CORES: f64 = 0.01;
const UNACCOUNTED_BYTES: f64 = (16 << 20) as f64;

impl PodState {
    /// Compares what the pod's own cgroup uses with what its containers account for, those included that no roster had time to list.
    pub(super) fn update_unaccounted(&mut self, now: Moment) {
        let accounts = |(id, container): &(&ContainerId, &Container)| {
            self.roster.as_ref().is_none_or(|entry| entry.lists(id)) || container.is_new(now)
        };
        let unaccounted = |resource, least: f64| {
            let own = self.own.as_ref().and_then(|own| own.used(resource))?;
            let containers = self.running().filter(accounts);
            let sum = containers.map(|(_, container)| container.used(resource)).sum::<Option<f64>>()?;
            Some(own - sum > least.max(own / 3.0))
        };
        let found = [(Resource::Cpu, UNACCOUNTED_CORES), (Resource::Memory, UNACCOUNTED_BYTES)]
            .map(|(resource, least)| (resource, unaccounted(resource, least)));
        for (resource, unaccounted) in found {
            let since = &mut self.resource_mut(resource).unaccounted_since;
            match unaccounted {
                Some(true) => *since = since.or(Some(now)),
                Some(false) => *since = None,
                None => {}
            }
        }
    }

    /// Adds this sweep's readings to the usage of each cgroup. What init and debug containers use is not the pod's load: it is
    /// subtracted from the pod's own cgroup.
    pub(super) fn add_usage(&mut self, profile: &Profile) {
        // one that ended since the last sweep used an unknown part of what the pod used meanwhile
        let ended = std::mem::take(&mut self.excluded_ended);
        let (mut cores, mut bytes) = if ended { (None, None) } else { (Some(0.0), Some(0.0)) };
        for (id, container) in &mut self.containers {
            if self.roster.as_ref().is_some_and(|entry| entry.excluded.contains(id)) {
                cores = cores.and_then(|sum| Some(sum + container.used(Resource::Cpu)?));
                bytes = bytes.and_then(|sum| Some(sum + container.used(Resource::Memory)?));
            }
            container.add_usage(Some(0.0), Some(0.0), profile);
        }
        if let Some(own) = &mut self.own {
            own.add_usage(cores, bytes, profile);
        }
    }

    pub(super) fn collect(&mut self, sweep: &ResourceSweep<'_>, candidates: &mut Candidates) {
        candidates.clear();
        let (resource, context) = (sweep.resource, sweep.context);
        if let Some(reason) = self.not_listed(resource, context) {
            return candidates.missing(reason);
        }
        let (node, floor) = (context.node, context.profile.request_floor);
        let (own_cpu, own_memory) = self.own_limits();
        // running, but its cgroup says nothing of it: the pod's own cgroup must
        let mut elsewhere = None;
        let mut running = false;
        for (index, (id, container)) in self.containers.iter_mut().enumerate() {
            let listed = self.roster.as_ref().and_then(|entry| entry.counting.get(id));
            let request = match listed {
                Some(listed) => listed.cpu_request.map_or(Request::None, Request::Of),
                None if self.mode == WithoutRoster::NodeBasis => Request::None,
                None => continue,
            };
            let of = match resource {
                Resource::Cpu => own_cpu.and_then(|own| container.cpu_basis(own, request, node, floor)),
                Resource::Memory => own_memory.and_then(|own| container.memory_basis(own, node)),
            };
            candidates.bases.push(of);
            if container.is_empty(resource) {
                if listed.is_none_or(|listed| listed.running) {
                    elsewhere = Some(UnknownReason::Empty);
                }
                continue;
            }
            running = true;
            let kind = CgroupKind { own: false, settled: container.stopped_at.is_none() };
            let candidate = match resource {
                Resource::Cpu => container.cpu.candidate(of, kind, sweep),
                Resource::Memory => container.memory.candidate(of, kind, sweep),
            };
            candidates.add(Some((index, id)), candidate);
        }
        for (id, listed) in self.roster.iter().flat_map(|entry| &entry.counting) {
            if self.containers.contains_key(id) || self.stopped.contains_key(&listed.name) {
                continue;
            }
            // one that was seen to end is not somewhere else, whatever a late roster says; but what replaced it may be
            let ended = self.ended.get(id).is_some_and(|at| !self.has_unlisted_since(*at));
            if listed.running && !ended {
                let request = listed.cpu_request.map_or(Request::None, Request::Of);
                candidates.bases.push(match resource {
                    Resource::Cpu => own_cpu.and_then(|own| load::cpu_basis(own, request, node, floor)),
                    Resource::Memory => own_memory.and_then(|own| load::memory_basis(own, node)),
                });
                elsewhere = elsewhere.or(Some(UnknownReason::NotFound));
            }
        }
        if self.mode == WithoutRoster::NodeBasis && self.roster.is_none() && self.containers.is_empty() {
            elsewhere = Some(UnknownReason::NotFound);
        }
        if !running && elsewhere.is_none() && self.stopped.is_empty() {
            candidates.missing(UnknownReason::NotRunning);
        }
        self.collect_own(sweep, elsewhere, candidates);
    }

    /// The pod's own cgroup: a candidate where it has a limit, and where its containers' cgroups do not show what it uses, because they
    /// run `elsewhere` (in a virtual machine, in the cgroup of the sandbox, outside of the pod) or for another reason. While it
    /// cannot be read, nothing proves that its containers are all there is.
    fn collect_own(
        &mut self,
        sweep: &ResourceSweep<'_>,
        elsewhere: Option<UnknownReason>,
        candidates: &mut Candidates,
    ) {
        let (resource, node) = (sweep.resource, sweep.context.node);
        let unaccounted = self.resource(resource).unaccounted_since;
        let Some(own) = self.own.as_mut().filter(|own| !own.is_empty(resource)) else {
            if let Some(reason) = elsewhere {
                // the cgroup exists, and no process is in it
                candidates.missing(if self.own.is_some() { UnknownReason::Empty } else { reason });
            }
            return;
        };
        // its own limit, or else the node
        let (limited, whole, usage) = match resource {
            Resource::Cpu => {
                (own.has_cpu_limit(), own.cpu_basis(Limit::Unlimited, Request::None, node, 0.0), &mut own.cpu)
            }
            Resource::Memory => {
                (own.has_memory_limit(), own.memory_basis(Limit::Unlimited, node), &mut own.memory)
            }
        };
        let of = match limited {
            Ok(false) => whole.and_then(|node| load::sum_of_bases(candidates.bases.iter().copied(), node)),
            Ok(true) | Err(_) => whole,
        };
        let kind = CgroupKind { own: true, settled: !sweep.restarting };
        let candidate = usage.candidate(of, kind, sweep);
        let lasting = |since: Moment| sweep.context.now.since(since) > sweep.context.profile.unknown_after();
        match (candidate, unaccounted) {
            (candidate @ Err(_), _) => candidates.add(None, candidate),
            (candidate, _) if limited == Ok(true) || elsewhere.is_some() => candidates.add(None, candidate),
            (candidate, Some(since)) if lasting(since) => candidates.add(None, candidate),
            (_, Some(_)) => candidates.missing(UnknownReason::WarmingUp),
            (_, None) => {}
        }
    }

    /// Why nothing can be said because of the roster, if so.
    fn not_listed(&self, resource: Resource, context: &SweepContext<'_>) -> Option<UnknownReason> {
        let limited = || self.containers.values().any(|container| container.has_cpu_limit() == Ok(true));
        match &self.roster {
            None if self.mode == WithoutRoster::NodeBasis => None,
            None if resource == Resource::Cpu && !context.has_roster && !limited() => {
                Some(UnknownReason::RequestUnknown)
            }
            Some(entry) if !entry.counting.is_empty() || !self.stopped.is_empty() => None,
            _ => Some(UnknownReason::NotInRoster),
        }
    }
}
