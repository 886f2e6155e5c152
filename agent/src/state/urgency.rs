//! When a pod is reported at once, instead of with the next full report.

use std::time::Duration;

use plimsoll_contract::{ContainerId, Moment};

use super::WithoutRoster;
use super::candidates::Candidate;
use super::container::{Container, ROSTER_WAIT};
use super::pod::{PodState, ResourceState};

/// Interval between reports of a pod under pressure: a second, less what a sweep may be early by.
const PRESSURE_INTERVAL: Duration = Duration::from_millis(900);
/// A pod with a container that the roster does not list is reported at this interval, for this long after the container was
/// created.
const ROSTER_INTERVAL: Duration = Duration::from_secs(2);

/// What calls for a report of a pod, and when it was last reported for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Urgency {
    limits_changed: bool,
    /// Whether memory events rose and were not reported yet.
    events_rose: bool,
    last_report: Option<Moment>,
    /// What the pod was reported for within the interval.
    reported: Triggers,
    newest_container: Option<Moment>,
    last_roster_request: Option<Moment>,
}

impl Urgency {
    pub(super) fn record_limits(&mut self, changed: bool) {
        self.limits_changed |= changed;
    }

    pub(super) fn container_added(&mut self, now: Moment) {
        (self.newest_container, self.last_roster_request) = (Some(now), Some(now));
    }
}

/// What calls for a report of a managed pod: each at once when it begins, and all together once a second while one lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Triggers {
    /// A container is throttled.
    pub(super) throttled: bool,
    /// A container uses most of its limit or request.
    pub(super) busy: bool,
    /// A container waits for CPU or memory.
    pub(super) waits: bool,
    /// The unreclaimable memory of a container is near its limit.
    pub(super) full: bool,
    /// The pod uses much of its basis.
    pub(super) hot: bool,
    /// Memory events rose.
    pub(super) events: bool,
}

impl Triggers {
    fn or(self, other: Triggers) -> Triggers {
        Triggers {
            throttled: self.throttled || other.throttled,
            busy: self.busy || other.busy,
            waits: self.waits || other.waits,
            full: self.full || other.full,
            hot: self.hot || other.hot,
            events: self.events || other.events,
        }
    }

    fn any(self) -> bool {
        self != Triggers::default()
    }

    /// Whether one of them is not in `before`.
    fn is_more_than(self, before: Triggers) -> bool {
        self.or(before) != before
    }
}

impl PodState {
    /// Whether the pod should be reported now: it is managed, and its limits changed, a pressure began, or one lasts and the pod was not
    /// just reported; or a new container is missing in the roster.
    pub(super) fn is_urgent(&mut self, now: Moment, high: f64) -> bool {
        let limits_changed = std::mem::take(&mut self.urgency.limits_changed);
        let urgent = self.is_managed() && {
            self.urgency.events_rose |= self.take_event_rises();
            let triggers = self.triggers(now, high);
            let urgency = &mut self.urgency;
            let elapsed = urgency.last_report.is_none_or(|at| now.since(at) >= PRESSURE_INTERVAL);
            let urgent =
                limits_changed || triggers.is_more_than(urgency.reported) || (elapsed && triggers.any());
            if elapsed {
                urgency.reported = Triggers::default();
            }
            if urgent {
                // an event that cannot be reported yet is remembered
                urgency.events_rose = false;
                urgency.last_report = Some(now);
                urgency.reported = urgency.reported.or(triggers);
            }
            urgent
        };
        self.needs_roster(now) || urgent
    }

    /// What of its containers, or of the pod above `high` of its basis, calls for a report.
    fn triggers(&self, now: Moment, high: f64) -> Triggers {
        let is_hot = |state: &ResourceState| {
            let smoothed = state.hottest.as_ref().map(Candidate::utilization);
            state.highest_latest > high || smoothed.is_some_and(|utilization| utilization > high)
        };
        let pod = Triggers {
            hot: is_hot(&self.cpu) || is_hot(&self.memory),
            events: self.urgency.events_rose,
            ..Triggers::default()
        };
        let own = self.own_limits();
        let containers =
            self.counting().map(|(id, container)| container.triggers(own, self.cpu_request(id), now));
        containers.fold(pod, Triggers::or)
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
