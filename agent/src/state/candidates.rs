//! Classification of a pod after a sweep: its candidates, the hottest of them, and the bands that result.

use jiff::Timestamp;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{ContainerId, Moment, Resource};

use super::pod::PodState;
use super::{Transition, WithoutRoster};
use crate::classify::{BandChange, Observation};
use crate::load::{Denominator, Path, Request, Smoothed};
use crate::profile::Profile;

/// A pod's own cgroup includes its pause container: with a limit that is the sum of its containers' it is slightly hotter than
/// its only container. It is named the hottest only where its utilization is higher by more than this.
const OWN_CGROUP_MARGIN: f64 = 0.02;

/// Usage of one resource by one cgroup.
#[derive(Debug, Clone)]
pub(super) struct ResourceUsage {
    /// However long ago it was known.
    pub(super) smoothed: Option<Smoothed>,
    /// Why the usage is not known now, if it is not.
    pub(super) unknown: Option<UnknownReason>,
    /// What it was last divided by.
    amount: Option<f64>,
}

impl Default for ResourceUsage {
    fn default() -> Self {
        ResourceUsage { smoothed: None, unknown: Some(UnknownReason::WarmingUp), amount: None }
    }
}

impl ResourceUsage {
    pub(super) fn add(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        match &mut self.smoothed {
            Some(smoothed) => smoothed.add(start, end, usage, profile),
            None => self.smoothed = Some(Smoothed::new(start, end, usage)),
        }
        self.unknown = None;
    }

    /// The smoothed usage, while it is known.
    pub(super) fn value(&self) -> Option<f64> {
        self.smoothed.as_ref().filter(|_| self.unknown.is_none()).map(Smoothed::value)
    }

    pub(super) fn continue_from(&mut self, earlier: &ResourceUsage) {
        match (&mut self.smoothed, &earlier.smoothed) {
            (Some(now), Some(before)) => now.continue_from(before),
            (None, before) => self.smoothed = *before,
            (Some(_), None) => {}
        }
        self.amount = self.amount.or(earlier.amount);
    }

    fn candidate(&mut self, of: Result<Denominator, UnknownReason>) -> Result<Candidate, UnknownReason> {
        if let Some(reason) = self.unknown {
            return Err(reason);
        }
        let of = of?;
        let smoothed = self.smoothed.as_ref().ok_or(UnknownReason::WarmingUp)?;
        let rescaled = self.amount.replace(of.amount).is_some_and(|before| before != of.amount);
        Ok(Candidate {
            container: None,
            path: smoothed.path(of.amount, rescaled),
            usage: smoothed.value(),
            of,
            since: smoothed.since(),
            latest: smoothed.latest() / of.amount,
        })
    }
}

/// One candidate for the hottest cgroup of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Filled in for the hottest only; absent for the pod's own cgroup.
    pub(crate) container: Option<ContainerId>,
    /// How its utilization changed since the sweep before.
    path: Path,
    /// Smoothed usage: cores or bytes.
    pub(crate) usage: f64,
    pub(crate) of: Denominator,
    /// Since when there is data.
    since: Moment,
    /// Utilization of the last sample, not smoothed.
    latest: f64,
}

impl Candidate {
    /// Smoothed usage relative to the basis.
    pub(crate) fn utilization(&self) -> f64 {
        self.path.to
    }
}

/// The candidates for one resource of one pod. One value serves all pods, so that its memory is reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    paths: Vec<Path>,
    since: Option<Moment>,
    hottest: Option<Candidate>,
    hottest_rank: f64,
    highest_latest: f64,
    /// Why one of them is unknown, if any is.
    missing: Option<UnknownReason>,
}

impl Candidates {
    fn clear(&mut self) {
        let mut paths = std::mem::take(&mut self.paths);
        paths.clear();
        *self = Candidates { paths, ..Candidates::default() };
    }

    /// Adds a container, or, without an id, the pod's own cgroup.
    fn add(&mut self, id: Option<&ContainerId>, candidate: Result<Candidate, UnknownReason>) {
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(reason) => {
                self.missing = self.missing.or(Some(reason));
                return;
            }
        };
        self.paths.push(candidate.path);
        self.since = Some(self.since.map_or(candidate.since, |since| since.min(candidate.since)));
        self.highest_latest = self.highest_latest.max(candidate.latest);
        let rank = candidate.path.to - if id.is_some() { 0.0 } else { OWN_CGROUP_MARGIN };
        if self.hottest.is_none() || rank > self.hottest_rank {
            self.hottest = Some(Candidate { container: id.cloned(), ..candidate });
            self.hottest_rank = rank;
        }
    }
}

/// What a sweep has in common for all pods.
#[derive(Debug, Clone, Copy)]
pub(super) struct SweepContext<'a> {
    pub(super) now: Moment,
    pub(super) wall: Timestamp,
    /// Number of the sweep.
    pub(super) sweep: u64,
    pub(super) node: Option<Capacity>,
    pub(super) profile: &'a Profile,
    /// Whether the aggregator ever answered with a roster.
    pub(super) has_roster: bool,
}

impl PodState {
    /// Updates both bands after the readings of a sweep. Returns those that changed.
    pub(super) fn classify(
        &mut self,
        context: &SweepContext<'_>,
        candidates: &mut Candidates,
    ) -> Vec<Transition> {
        self.node = context.node;
        self.stopped.retain(|_, stopped| context.now.since(stopped.at) < context.profile.retention);
        for container in self.containers.values_mut().chain(&mut self.own) {
            if container.sweep != context.sweep {
                container.set_absent();
            }
        }
        let changes = Resource::ALL.map(|resource| {
            self.collect(resource, context, candidates);
            let observation = Observation {
                paths: &candidates.paths,
                data_since: candidates.since,
                missing: candidates.missing,
                restarting: !self.stopped.is_empty(),
            };
            let state = self.resource_mut(resource);
            state.hottest = candidates.hottest.take();
            state.highest_latest = candidates.highest_latest;
            state.missing = candidates.missing;
            let change = state.classifier.update(&observation, context.now, context.wall, context.profile);
            (resource, change)
        });
        let transition = |(resource, change): (Resource, Option<BandChange>)| {
            let BandChange { from, to } = change?;
            let hottest = self.resource(resource).hottest.as_ref();
            Some(Transition {
                pod: self.uid.clone(),
                name: self.name().cloned(),
                resource,
                from,
                to,
                basis: hottest.map(|hottest| hottest.of.basis),
                utilization: hottest.map(Candidate::utilization),
            })
        };
        changes.into_iter().filter_map(transition).collect()
    }

    fn collect(&mut self, resource: Resource, context: &SweepContext<'_>, candidates: &mut Candidates) {
        candidates.clear();
        if let Some(reason) = self.no_candidates(resource, context) {
            candidates.missing = Some(reason);
            return;
        }
        let (node, floor) = (context.node, context.profile.request_floor);
        for (id, container) in &mut self.containers {
            let request = match self.roster.as_ref().and_then(|entry| entry.counting.get(id)) {
                Some(listed) => listed.cpu_request.map_or(Request::None, Request::Of),
                None if self.mode == WithoutRoster::NodeBasis => Request::None,
                None => continue,
            };
            let candidate = match resource {
                Resource::Cpu => container.cpu.candidate(container.cpu_basis(request, node, floor)),
                Resource::Memory => container.memory.candidate(container.memory_basis(node)),
            };
            candidates.add(Some(id), candidate);
        }
        // the pod's own cgroup counts where it has a limit of its own, or may have one
        let Some(own) = &mut self.own else { return };
        let limited = match resource {
            Resource::Cpu => own.has_cpu_limit(),
            Resource::Memory => own.has_memory_limit(),
        };
        let candidate = match (limited, resource) {
            (Ok(false), _) => return,
            (Err(reason), _) => Err(reason),
            (Ok(true), Resource::Cpu) => own.cpu.candidate(own.cpu_basis(Request::Unknown, node, 0.0)),
            (Ok(true), Resource::Memory) => own.memory.candidate(own.memory_basis(node)),
        };
        candidates.add(None, candidate);
    }

    /// Why no container counts, if so.
    fn no_candidates(&self, resource: Resource, context: &SweepContext<'_>) -> Option<UnknownReason> {
        if self.counting().next().is_some() || (!self.stopped.is_empty() && self.roster.is_some()) {
            return None;
        }
        let limited = self.containers.values().any(|container| container.has_cpu_limit() == Ok(true));
        match &self.roster {
            None if self.mode == WithoutRoster::NodeBasis => Some(UnknownReason::Absent),
            None if resource == Resource::Cpu && !context.has_roster && !limited => {
                Some(UnknownReason::RequestUnknown)
            }
            Some(entry) if !entry.counting.is_empty() => Some(UnknownReason::Absent),
            _ => Some(UnknownReason::NotInRoster),
        }
    }
}
