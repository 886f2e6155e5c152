//! What the rest of the aggregator asks of a pod's resizing, and takes from it.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::history::{HARM_REMEMBERED, MemoryEventCounts};
use super::machine::PodResize;
use super::phase::{Phase, Resize, changes};
use super::rejected::RejectionKind;
use super::restored::PUT_BACK_WITHIN;
use super::verify::Seen;
use super::{CpuGrowth, Happened, Purpose, Wanted};
use crate::facts::PodFacts;
use crate::input::Now;

/// What is said of a resize that was accepted and that nobody could verify in time.
const NOT_ENFORCED: &str = "the node does not enforce the size that the pod was resized to last";

/// Why no resize may be planned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Blocked {
    /// Another writer changed our sizes.
    Yielding { owner: String, until: Moment },
    /// The last resize failed, and nothing else may be tried.
    Failed { message: String, until: Moment },
    /// The pod cannot be resized, or its node does not support it.
    Unsupported { message: String },
    /// Growth only: the pod's own cgroup is behind, and more for a container changes nothing.
    PodCgroupStale { text: String },
    /// The kernel's size is not the spec's, of something that was to be resized.
    Drift { text: String },
    /// There would be no way back: the original resources cannot be recorded, or their annotation is none of ours.
    Original { message: String },
}

impl PodResize {
    /// What happened since the last call.
    pub(crate) fn take_happened(&mut self) -> Vec<Happened> {
        take(&mut self.happened)
    }

    /// Whether a resize that lowers a memory limit was accepted since the last call.
    pub(crate) fn take_memory_decrease(&mut self) -> bool {
        take(&mut self.takes_memory)
    }

    /// Memory events of a report to a replica that does not lead.
    pub(crate) fn witness(&mut self, now: Now, facts: &PodFacts, seen: &Seen) {
        self.history.witness(now, facts, seen);
    }

    /// What the resize that is under way is for.
    pub(crate) fn purpose(&self) -> Option<Purpose> {
        self.phase.resize().map(Resize::purpose)
    }

    /// The sizes that the resize that is under way asks for.
    pub(crate) fn asked(&self) -> Option<&BTreeMap<String, Sizes>> {
        self.phase.resize().map(|resize| &resize.wanted.sizes)
    }

    /// Whether anything is under way, also a plan that a newer one may replace.
    pub(crate) fn busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether a plan is taken on: nothing is under way but a plan that waits, and a newer one replaces it.
    pub(crate) fn takes_plans(&self) -> bool {
        match &self.phase {
            Phase::Idle => true,
            Phase::Planned(resize) => !resize.purpose().is_way_back(),
            _ => false,
        }
    }

    /// The words of [`PodResize::state`].
    pub(crate) const STATES: [&str; 10] = [
        "idle",
        "planned",
        "recorded",
        "sent",
        "accepted",
        "deferred",
        "in_progress",
        "verified",
        "reverting",
        "failed",
    ];

    /// The word in statuses.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.phase, self.last) {
            (Phase::Idle, _) if self.set_aside.is_some() => "accepted",
            (Phase::Idle, Some(true)) => "verified",
            (Phase::Idle, Some(false)) => "failed",
            (phase, _) if phase.resize().is_some_and(|r| r.purpose() == Purpose::Revert) => "reverting",
            (phase, _) => phase.as_str(),
        }
    }

    /// Time since this resource of a container grew last; absent: it never did, as far as is known.
    pub(crate) fn since_growth(&self, now: Moment, container: &str, resource: Resource) -> Option<Duration> {
        Some(now.since(self.history.grown(container, resource)?))
    }

    /// Time since this resource of a container shrank last; absent: it never did, as far as is known.
    pub(crate) fn since_shrink(&self, now: Moment, container: &str, resource: Resource) -> Option<Duration> {
        Some(now.since(self.history.shrunk(container, resource)?))
    }

    /// The largest of what a container's CPU grew for in the last day, as far as is known.
    pub(crate) fn cpu_growth(&self, now: Moment, container: &str) -> Option<CpuGrowth> {
        self.history.cpu_growth(now, container)
    }

    /// Time since something last called for its growth; absent: nothing ever did. A takeover counts as a call, because the new leader has not seen
    /// what came before.
    pub(crate) fn since_pressure(
        &self,
        now: Moment,
        container: &str,
        resource: Resource,
    ) -> Option<Duration> {
        let last = self.history.pressed(container, resource).max(self.taken_over);
        last.map(|last| now.since(last))
    }

    /// Those of a container's memory events that are recent, and that its memory has not grown for.
    pub(crate) fn recent_memory_events(&self, now: Moment, container: &str) -> MemoryEventCounts {
        self.history.recent_events(now, container)
    }

    /// All memory events that were told of a container, through its restarts.
    pub(crate) fn memory_events(&self, container: &str) -> MemoryEventCounts {
        self.history.events(container)
    }

    /// What a resize that is under way may reserve for a container: its sizes before and after.
    pub(crate) fn reserved(&self, container: &str, resource: Resource) -> Option<[Size; 2]> {
        let resize = self.phase.resize()?;
        let of = |sizes: &BTreeMap<String, Sizes>| sizes.get(container).map(|sizes| sizes[resource]);
        Some([of(&resize.from)?, of(&resize.wanted.sizes)?])
    }

    /// Whether a new leader would read from the record on the pod what it is not to do again.
    pub(crate) fn needs_record(&self, now: Moment) -> bool {
        let remembered = |purpose| match purpose {
            Purpose::Undo => HARM_REMEMBERED,
            _ => PUT_BACK_WITHIN,
        };
        self.way_back.is_some_and(|(purpose, at)| now.since(at) < remembered(purpose))
    }

    /// Why nothing may be planned; `original` says why the resources before our first resize cannot be read, if so.
    pub(crate) fn blocked(&self, now: Moment, original: Option<&str>) -> Option<Blocked> {
        if let Some(message) = self.unsupported.clone() {
            return Some(Blocked::Unsupported { message });
        }
        if let Some(message) = original {
            return Some(Blocked::Original { message: message.to_owned() });
        }
        if let Some((until, owner)) = self.yielding.until(now) {
            return Some(Blocked::Yielding { owner: owner.to_owned(), until });
        }
        let [cpu, memory] = Resource::ALL.map(|resource| self.held(now, resource));
        if let (Some(held), Some(other)) = (cpu, memory) {
            let first = if other.1 < held.1 { other } else { held };
            return Some(failed(first));
        }
        self.stale.said().map(|text| Blocked::PodCgroupStale { text: text.to_owned() })
    }

    /// Why this resource of a container is not resized: its node enforces another size than the spec says.
    pub(crate) fn drift(&self, container: &str, resource: Resource) -> Option<&str> {
        let unverified = self.unverified.as_ref().map(|accepted| &accepted.resize);
        let is_unverified = unverified.is_some_and(|resize| {
            let of = |sizes: &BTreeMap<String, Sizes>| sizes.get(container).map(|sizes| sizes[resource]);
            of(&resize.from) != of(&resize.wanted.sizes)
        });
        is_unverified.then_some(NOT_ENFORCED).or_else(|| self.drift.said(container, resource))
    }

    /// The same, of anything that a wanted size changes. A way back is made all the same.
    pub(super) fn drift_in(&self, wanted: &Wanted, from: &BTreeMap<String, Sizes>) -> Option<String> {
        let mut changed = wanted.sizes.iter().flat_map(|(name, to)| {
            let before = from.get(name).copied().unwrap_or_default();
            let changes = move |resource: &Resource| before[*resource] != to[*resource];
            Resource::ALL.into_iter().filter(changes).map(move |resource| (name, resource))
        });
        let drift = changed.find_map(|(name, resource)| self.drift(name, resource));
        drift.filter(|_| !wanted.purpose.is_way_back()).map(str::to_owned)
    }

    /// Why this resource is not resized after a failure, and until when.
    pub(crate) fn held(&self, now: Moment, resource: Resource) -> Option<(&str, Moment)> {
        let held = self.held[resource as usize].as_ref().filter(|held| held.until > now)?;
        Some((&held.message, held.until))
    }

    /// Why what changes is not resized after a failure. A way back is never held.
    pub(super) fn held_of(
        &self,
        now: Moment,
        wanted: &Wanted,
        from: &BTreeMap<String, Sizes>,
    ) -> Option<Blocked> {
        let changed = Resource::ALL.into_iter().zip(changes(wanted, from)).filter(|(_, changes)| *changes);
        let held = changed.filter_map(|(resource, _)| self.held(now, resource)).next();
        held.filter(|_| !wanted.purpose.is_way_back()).map(failed)
    }

    /// The size that was deferred and withdrawn last: the plan offers half of that growth at most.
    pub(crate) fn deferred_size(&self) -> Option<&BTreeMap<String, Sizes>> {
        self.rejected.last(RejectionKind::Deferred)
    }
}

fn failed((message, until): (&str, Moment)) -> Blocked {
    Blocked::Failed { message: message.to_owned(), until }
}
