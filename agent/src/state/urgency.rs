//! When a pod is reported at once, instead of with the next full report.

use std::time::Duration;

use plimsoll_contract::{ContainerId, Moment};

use super::WithoutRoster;
use super::candidates::Candidate;
use super::container::{Changes, Container, ROSTER_WAIT};
use super::pod::{PodState, ResourceState};

/// Interval between reports of a pod under pressure.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(1);
/// A pod with a container that the roster does not list is reported at this interval, for this long after the container was
/// created.
const ROSTER_INTERVAL: Duration = Duration::from_secs(2);

/// What calls for a report of a pod, and when it was last reported for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Urgency {
    changes: Changes,
    last_report: Option<Moment>,
    newest_container: Option<Moment>,
    last_roster_request: Option<Moment>,
}

impl Urgency {
    pub(super) fn record(&mut self, changes: Changes) {
        self.changes.limits |= changes.limits;
        self.changes.memory_events |= changes.memory_events;
    }

    pub(super) fn container_added(&mut self, now: Moment) {
        (self.newest_container, self.last_roster_request) = (Some(now), Some(now));
    }
}

impl PodState {
    /// Whether the pod should be reported now: it is managed, and its limits changed or it is under pressure and was not just
    /// reported; or a new container is missing in the roster.
    pub(super) fn is_urgent(&mut self, now: Moment, high: f64) -> bool {
        let changes = self.urgency.changes;
        let elapsed = self.urgency.last_report.is_none_or(|at| now.since(at) >= PRESSURE_INTERVAL);
        let pressed = || changes.memory_events || self.is_under_pressure(high);
        let urgent = self.is_managed() && (changes.limits || (elapsed && pressed()));
        if urgent {
            self.urgency.last_report = Some(now);
        }
        // an event that could not be reported yet is remembered; one of a pod that nobody resizes is not
        let memory_events = changes.memory_events && self.is_managed() && !urgent;
        self.urgency.changes = Changes { limits: false, memory_events };
        self.needs_roster(now) || urgent
    }

    /// Whether a container is throttled or waits for CPU or memory, or the pod uses more than `high` of its basis.
    fn is_under_pressure(&self, high: f64) -> bool {
        let is_hot = |state: &ResourceState| {
            let smoothed = state.hottest.as_ref().map(Candidate::utilization);
            state.highest_latest > high || smoothed.is_some_and(|utilization| utilization > high)
        };
        is_hot(&self.cpu)
            || is_hot(&self.memory)
            || self.counting().any(|(_, container)| container.is_under_pressure())
    }

    /// Whether to report the pod so that the answer lists a new container: the aggregator learns of it from the API server later
    /// than the agent from the kernel, and would otherwise be asked only by the next full report.
    fn needs_roster(&mut self, now: Moment) -> bool {
        let urgency = &self.urgency;
        let new = urgency.newest_container.is_some_and(|at| now.since(at) < ROSTER_WAIT);
        let elapsed = urgency.last_roster_request.is_none_or(|at| now.since(at) >= ROSTER_INTERVAL);
        let needed = new && elapsed && self.mode == WithoutRoster::Unknown && self.has_unlisted_containers();
        if needed {
            self.urgency.last_roster_request = Some(now);
        }
        needed
    }

    /// The containers that the roster does not list, once it has had time to.
    pub(super) fn unlisted(&self, now: Moment) -> impl Iterator<Item = &ContainerId> {
        let waited = move |container: &Container| !container.is_new(now);
        let entry = self.roster.as_ref().filter(|entry| !entry.counting.is_empty());
        let containers = entry.map(|entry| (entry, &self.containers));
        containers.into_iter().flat_map(move |(entry, containers)| {
            let old = containers.iter().filter(move |(_, container)| waited(container));
            old.map(|(id, _)| id).filter(|id| !entry.lists(id))
        })
    }

    /// Whether a container started after this that the roster does not list.
    pub(super) fn has_unlisted_since(&self, at: Moment) -> bool {
        let lists = |id: &ContainerId| self.roster.as_ref().is_some_and(|entry| entry.lists(id));
        let later = |container: &Container| container.started.is_some_and(|started| started >= at);
        self.containers.iter().any(|(id, container)| later(container) && !lists(id))
    }

    /// Whether the roster has yet to list a container. One unlisted container beside listed ones is the pause container, which no
    /// roster ever lists.
    fn has_unlisted_containers(&self) -> bool {
        let Some(entry) = &self.roster else { return true };
        let unlisted = self.containers.keys().filter(|id| !entry.lists(id)).count();
        unlisted > 1 || (unlisted == 1 && self.containers.len() == 1)
    }
}
