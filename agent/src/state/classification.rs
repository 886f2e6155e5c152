//! Classification of a pod after a sweep: the hottest of its candidates, its bands, and what made them.

use jiff::Timestamp;
use plimsoll_contract::load::{Cause, UnknownReason};
use plimsoll_contract::report::Capacity;
use plimsoll_contract::{ContainerId, Moment, Resource};

use super::Transition;
use super::candidates::{Candidate, Candidates, ResourceSweep};
use super::pod::PodState;
use crate::classify::{BandChange, Observation, Origin, mean_as_origin};
use crate::profile::Profile;

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
            container.settle(context.now, context.profile.warm_up);
        }
        self.attribute_kills(context.now);
        self.update_unaccounted(context.now);
        self.add_usage(context.profile);
        let restarting = self.is_restarting(context.now, context.profile);
        let mut transitions = Vec::new();
        for resource in Resource::ALL {
            let classifier = &mut self.resource_mut(resource).classifier;
            let factor = classifier.factor(context.now, context.profile);
            let (burst, window) =
                (context.profile.burst * f64::from(factor), context.profile.window * factor);
            let sweep = ResourceSweep { context, resource, burst, window, restarting };
            self.collect(&sweep, candidates);
            let observation = Observation {
                signals: &candidates.signals,
                data_since: candidates.since,
                missing: candidates.missing,
                restarting,
                conclusive: !restarting
                    && (resource == Resource::Memory
                        || candidates.missing != Some(UnknownReason::NotRunning)),
            };
            // what an unknown candidate uses may be far more than what is known: less than `moderate` would read as idle. Where
            // nothing runs, memory that was left behind is all there is.
            let may_be_more = match candidates.missing {
                None => false,
                Some(UnknownReason::NotRunning) => resource == Resource::Cpu,
                Some(_) => true,
            };
            let shown =
                |hottest: &Candidate| !may_be_more || hottest.utilization() >= context.profile.thresholds[0];
            let state = self.resource_mut(resource);
            let hottest = candidates.hottest.take();
            state.basis = hottest.as_ref().map(|hottest| hottest.of.basis);
            state.hottest = hottest.filter(shown);
            state.highest_latest = candidates.highest_latest;
            state.missing = candidates.missing;
            let change = state.classifier.update(
                &observation,
                context.now,
                context.wall,
                sweep.window,
                context.profile,
            );
            let origin = match change {
                Some(change) => change.origin,
                None => self.renewed_origin(resource, candidates, context.profile),
            };
            if change.is_some() || origin.is_some() {
                let cause = origin.map(|origin| self.cause(resource, origin, candidates));
                self.resource_mut(resource).cause = cause;
            }
            if let Some(BandChange { from, to, .. }) = change {
                let hottest = self.resource(resource).hottest.as_ref();
                transitions.push(Transition {
                    pod: self.uid.clone(),
                    name: self.name().cloned(),
                    resource,
                    from,
                    to,
                    basis: hottest.map(|hottest| hottest.of.basis),
                    utilization: hottest.map(Candidate::utilization),
                });
            }
        }
        transitions
    }

    /// Whether a container is expected back, or came back a moment ago.
    fn is_restarting(&self, now: Moment, profile: &Profile) -> bool {
        let crashed = |at: Moment| now.since(at) < profile.retention;
        !self.stopped.is_empty() || self.counting().any(|(_, c)| c.stopped_at.is_some_and(crashed))
    }

    /// What supports the band now, where what made it is not known or is out of date: the roster announced the band, or its container
    /// is gone or has another basis.
    fn renewed_origin(
        &self,
        resource: Resource,
        candidates: &Candidates,
        profile: &Profile,
    ) -> Option<Origin> {
        let state = self.resource(resource);
        let band = state.classifier.band();
        let origin = mean_as_origin(&candidates.signals)?;
        let complete = candidates.missing.is_none() && candidates.signals[origin.candidate].complete;
        if !complete || !band.is_known() || profile.band(origin.utilization) != band {
            return None;
        }
        let is_current = |cause: &Cause<f64>| {
            candidates.cgroups.iter().any(|(index, of)| {
                self.id_of(*index) == cause.container.as_ref()
                    && (of.basis, of.amount, of.request) == (cause.basis, cause.of, cause.request)
            })
        };
        (!state.cause.as_ref().is_some_and(is_current)).then_some(origin)
    }

    fn cause(&self, resource: Resource, origin: Origin, candidates: &Candidates) -> Cause<f64> {
        let Origin { candidate, rule, seconds, utilization } = origin;
        let (index, of) = candidates.cgroups[candidate];
        let id = self.id_of(index);
        let container = id.map_or(self.own.as_deref(), |id| self.containers.get(id).map(AsRef::as_ref));
        let usage = utilization * of.amount;
        // named only where it is more, because of a page cache in use; it is of now, and the usage is a mean
        let working_set = container.filter(|_| resource == Resource::Memory).and_then(|container| {
            let (set, required) = (container.working_set()?.as_f64(), container.required()?.as_f64());
            (set > 1.02 * required.max(usage)).then_some(set)
        });
        Cause {
            rule,
            seconds: (seconds * 10.0).round() / 10.0,
            usage,
            basis: of.basis,
            of: of.amount,
            container: id.cloned(),
            bound_by: container.filter(|_| resource == Resource::Cpu).and_then(|c| self.bound_by(c)),
            request: of.request,
            working_set,
        }
    }

    /// The id of the container with this index; absent for the pod's own cgroup.
    fn id_of(&self, index: Option<usize>) -> Option<&ContainerId> {
        index.and_then(|index| self.containers.keys().nth(index))
    }
}
