//! After a sweep: who the candidates of a pod are, which is the hottest, and what the bands make of it.

use jiff::Timestamp;
use plimsoll_contract::report::UnknownReason;
use plimsoll_contract::{ContainerId, Resource};

use super::container::Candidate;
use super::hottest::{Hottest, heat};
use super::pod::PodEntry;
use super::{Transition, WithoutRoster};
use crate::classify::{Change, Evidence};
use crate::load::{Path, Request};
use crate::profile::Profile;
use crate::sample::{Moment, NodeCapacity};

/// What a sweep has in common for all pods.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) now: Moment,
    pub(super) wall: Timestamp,
    pub(super) sweep: u64,
    pub(super) node: Option<NodeCapacity>,
    pub(super) profile: &'a Profile,
    /// Whether the roster ever answered.
    pub(super) answered: bool,
}

/// The candidates of one resource of one pod; kept to be filled again.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    paths: Vec<Path>,
    since: Option<Moment>,
    hottest: Option<Hottest>,
    instant: f64,
}

impl Scratch {
    fn clear(&mut self) {
        self.paths.clear();
        self.since = None;
        self.hottest = None;
        self.instant = 0.0;
    }

    fn add(&mut self, id: Option<&ContainerId>, candidate: &Candidate) {
        self.paths.push(candidate.path);
        self.since = Some(self.since.map_or(candidate.since, |since| since.min(candidate.since)));
        self.instant = self.instant.max(candidate.instant);
        if self.hottest.as_ref().is_none_or(|hottest| heat(id, candidate.path.to) > hottest.heat()) {
            self.hottest = Some(Hottest {
                container: id.cloned(),
                basis: candidate.of.basis,
                amount: candidate.of.amount,
                usage: candidate.usage,
            });
        }
    }
}

impl PodEntry {
    /// After the readings of a sweep: what the bands are now.
    pub(super) fn settle(&mut self, scene: &Scene<'_>, scratch: &mut Scratch) -> Vec<Transition> {
        self.node = scene.node;
        self.retired.retain(|_, retired| scene.now.since(retired.at) < scene.profile.memory);
        for container in self.containers.values_mut().chain(&mut self.own) {
            if container.sweep != scene.sweep {
                container.unread();
            }
        }
        let changes =
            Resource::ALL.map(|resource| (resource, self.settle_resource(resource, scene, scratch)));
        changes
            .into_iter()
            .filter_map(|(resource, change)| Some(self.transition(resource, change?)))
            .collect()
    }

    fn settle_resource(
        &mut self,
        resource: Resource,
        scene: &Scene<'_>,
        scratch: &mut Scratch,
    ) -> Option<Change> {
        let missing = self.gather(resource, scene, scratch);
        let evidence = Evidence {
            paths: &scratch.paths,
            data_since: scratch.since,
            missing,
            held: !self.retired.is_empty(),
        };
        let track = match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
        };
        track.hottest = scratch.hottest.take();
        track.instant = scratch.instant;
        track.missing = missing;
        track.classifier.step(&evidence, scene.now, scene.wall, scene.profile)
    }

    /// Collects the candidates; answers why one of them is not known, if any is not.
    fn gather(
        &mut self,
        resource: Resource,
        scene: &Scene<'_>,
        scratch: &mut Scratch,
    ) -> Option<UnknownReason> {
        scratch.clear();
        if let Some(reason) = self.nobody_counts(resource, scene) {
            return Some(reason);
        }
        let mut missing = None;
        let (node, floor) = (scene.node, scene.profile.request_floor);
        for (id, container) in &mut self.containers {
            let request =
                match (self.mode, self.listing.as_ref().and_then(|listing| listing.counting.get(id))) {
                    (WithoutRoster::NodeBasis, None) => Request::None,
                    (WithoutRoster::Unknown, None) => continue,
                    (_, Some(listed)) => listed.cpu_request.map_or(Request::None, Request::Of),
                };
            let candidate = match resource {
                Resource::Cpu => container.cpu_candidate(request, node, floor),
                Resource::Memory => container.memory_candidate(node),
            };
            match candidate {
                Ok(candidate) => scratch.add(Some(id), &candidate),
                Err(reason) => missing = missing.or(Some(reason)),
            }
        }
        match self.own_candidate(resource, node) {
            None => {}
            Some(Ok(candidate)) => scratch.add(None, &candidate),
            Some(Err(reason)) => missing = missing.or(Some(reason)),
        }
        missing
    }

    /// Why no candidate can be looked at, if so.
    fn nobody_counts(&self, resource: Resource, scene: &Scene<'_>) -> Option<UnknownReason> {
        if self.counting().next().is_some() || (!self.retired.is_empty() && self.listing.is_some()) {
            return None;
        }
        let quota = self.containers.values().any(|container| container.has_quota() == Ok(true));
        match &self.listing {
            None if self.mode == WithoutRoster::NodeBasis => Some(UnknownReason::Absent),
            None if resource == Resource::Cpu && !scene.answered && !quota => {
                Some(UnknownReason::RequestUnknown)
            }
            Some(listing) if !listing.counting.is_empty() => Some(UnknownReason::Absent),
            _ => Some(UnknownReason::NotInRoster),
        }
    }

    /// The pod's own cgroup, where it has a limit of its own, or may have one.
    fn own_candidate(
        &mut self,
        resource: Resource,
        node: Option<NodeCapacity>,
    ) -> Option<Result<Candidate, UnknownReason>> {
        let own = self.own.as_mut()?;
        let limited = match resource {
            Resource::Cpu => own.has_quota(),
            Resource::Memory => own.has_memory_limit(),
        };
        match limited {
            Ok(false) => None,
            Err(reason) => Some(Err(reason)),
            Ok(true) => Some(match resource {
                Resource::Cpu => own.cpu_candidate(Request::Unknown, node, 0.0),
                Resource::Memory => own.memory_candidate(node),
            }),
        }
    }

    fn transition(&self, resource: Resource, change: Change) -> Transition {
        let hottest = self.track(resource).hottest.as_ref();
        Transition {
            pod: self.uid.clone(),
            name: self.name().cloned(),
            resource,
            from: change.from,
            to: change.to,
            basis: hottest.map(|hottest| hottest.basis),
            utilization: hottest.map(Hottest::utilization),
        }
    }
}
