//! Memory events of managed pods: rises that survive restarts of containers, and what of them a replica has accepted.
//!
//! A cgroup counts from its creation, and an OOM kill usually ends it before its count is read. What the pod's own cgroup counted beyond
//! its containers (on cgroup v2, where it counts theirs too) is such a kill: it goes to the container that ended last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{ContainerId, Moment, PodUid, Report};
use serde::{Deserialize, Serialize};

use super::NodeState;
use super::pod::PodState;
use crate::sample::{Read, Target};

/// How long after a container ended a kill may be counted that ended it.
const ENDED_RECENTLY: Duration = Duration::from_secs(10);

/// What was counted of one cgroup.
#[derive(Debug, Clone, Default)]
pub(super) struct EventCounter {
    /// The counts so far; absent until they count.
    counted: Option<MemoryEvents>,
    /// Rises of a container that no roster has named yet.
    unnamed: Option<MemoryEvents>,
}

/// The memory events of one pod.
#[derive(Debug, Clone, Default)]
pub(super) struct PodEvents {
    /// Rises since the pod is managed, by name of the container.
    totals: BTreeMap<Arc<str>, Total>,
    /// OOM kills that the pod's own cgroup counted and its containers' did not; negative where it is read before theirs.
    unattributed: i64,
    /// Since when there have been any.
    unattributed_since: Option<Moment>,
    /// The container that ended last, and when.
    last_ended: Option<(Arc<str>, Moment)>,
    /// Whether its own cgroup was created while it was watched.
    pub(super) own_from_zero: bool,
}

#[derive(Debug, Clone, Default)]
struct Total {
    events: MemoryEvents,
    /// Whether it rose since the container was last reported for it.
    rose: bool,
}

/// What a replica has accepted, by pod and name of the container. A report that was accepted without the agent learning of it is repeated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AcceptedEvents(BTreeMap<PodUid, BTreeMap<Arc<str>, MemoryEvents>>);

/// Rises in a report, for [`AcceptedEvents::accept`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReportedEvents {
    pod: PodUid,
    container: ContainerId,
    name: Arc<str>,
    total: MemoryEvents,
}

impl EventCounter {
    /// Of a cgroup that was created while it was watched, so that all that it counts is new, or of an older one.
    pub(super) fn new(from_zero: bool) -> EventCounter {
        let zero = MemoryEvents { high: Some(0), max: Some(0), oom_kill: Some(0) };
        EventCounter { counted: from_zero.then_some(zero), unnamed: None }
    }

    fn rise(&mut self, now: MemoryEvents) -> MemoryEvents {
        let before = self.counted.replace(now).unwrap_or(now);
        // a count that was not there before is not known to have risen
        combine(now, before, |now, before| now.saturating_sub(before.unwrap_or(now)))
    }
}

impl PodState {
    /// Counts what was read of one cgroup.
    pub(super) fn count_events(&mut self, target: &Target, read: Read<MemoryEvents>) {
        let (Read::Value(now), Some(entry)) = (read, &self.roster) else { return };
        let cgroup = match &target.container {
            None => self.own.as_mut(),
            Some(id) => self.containers.get_mut(id),
        };
        let Some(counter) = cgroup.map(|cgroup| &mut cgroup.event_counter) else { return };
        if !entry.managed {
            // what happened before somebody chose a class is no reason to resize
            *counter = EventCounter::default();
            return;
        }
        let rise = counter.rise(now);
        let kills = signed(rise.oom_kill);
        let Some(id) = &target.container else {
            self.events.unattributed += kills;
            return;
        };
        self.events.unattributed -= kills;
        let rise = add(counter.unnamed.take().unwrap_or_default(), rise);
        match entry.counting.get(id) {
            Some(listed) => self.events.add(&listed.name, rise),
            None if !entry.lists(id) => counter.unnamed = Some(rise),
            None => {}
        }
    }

    /// A container was removed, with what was counted of it.
    pub(super) fn end_events(&mut self, id: &ContainerId, counter: &EventCounter, now: Moment) {
        match self.roster.as_ref().and_then(|entry| entry.counting.get(id)) {
            Some(listed) => self.events.last_ended = Some((Arc::clone(&listed.name), now)),
            None => self.events.unattributed += signed(counter.unnamed.and_then(|events| events.oom_kill)),
        }
    }

    /// After the readings of a sweep: gives the kills in containers that are gone to the one that they ended.
    pub(super) fn attribute_kills(&mut self, now: Moment) {
        let events = &mut self.events;
        let Some(entry) = self.roster.as_ref().filter(|entry| entry.managed) else {
            (events.unattributed, events.last_ended) = (0, None);
            return;
        };
        if events.unattributed <= 0 {
            events.unattributed_since = None;
            return;
        }
        let since = *events.unattributed_since.get_or_insert(now);
        if self.excluded_ended {
            // an init or debug container, as likely as not: that is not the pod's load
            events.unattributed = 0;
            return;
        }
        let ended = events.last_ended.as_ref().filter(|(_, at)| now.since(*at) < ENDED_RECENTLY);
        let mut names = entry.counting.values().map(|listed| &listed.name);
        let only = names.next().filter(|_| names.next().is_none());
        let Some(name) = ended.map(|(name, _)| name).or(only).cloned() else {
            // The removal has not been seen yet. One that ends much later was not ended by this.
            if now.since(since) >= ENDED_RECENTLY {
                events.unattributed = 0;
            }
            return;
        };
        let oom_kill = u64::try_from(events.unattributed).ok();
        events.unattributed = 0;
        events.add(&name, MemoryEvents { oom_kill, ..MemoryEvents::default() });
    }

    /// Whether events rose of a container that is running, so that a report can say so; asked once for each rise.
    pub(super) fn take_event_rises(&mut self) -> bool {
        let Some(entry) = &self.roster else { return false };
        let mut rose = false;
        for (id, listed) in &entry.counting {
            if self.containers.contains_key(id)
                && let Some(total) = self.events.totals.get_mut(&listed.name)
            {
                rose |= std::mem::take(&mut total.rose);
            }
        }
        rose
    }

    fn event_total(&self, id: &ContainerId) -> Option<(&Arc<str>, MemoryEvents)> {
        let entry = self.roster.as_ref().filter(|entry| entry.managed)?;
        let name = &entry.counting.get(id)?.name;
        Some((name, self.events.totals.get(name)?.events))
    }
}

impl PodEvents {
    fn add(&mut self, name: &Arc<str>, rise: MemoryEvents) {
        if !self.totals.contains_key(name) {
            self.totals.insert(Arc::clone(name), Total::default());
        }
        let Some(total) = self.totals.get_mut(name) else { return };
        total.events = add(total.events, rise);
        total.rose |= has_any(rise);
    }
}

impl NodeState {
    /// Completes a report to a replica with the rises that it has not accepted yet, and returns them.
    pub(crate) fn add_events(&self, report: &mut Report, accepted: &AcceptedEvents) -> Vec<ReportedEvents> {
        let mut reported = Vec::new();
        for pod_report in &mut report.pods {
            let Some(pod) = self.pod(&pod_report.uid) else { continue };
            let accepted = accepted.0.get(&pod_report.uid);
            for container in &mut pod_report.containers {
                let Some((name, total)) = pod.event_total(&container.id) else { continue };
                let before = accepted.and_then(|names| names.get(name)).copied().unwrap_or_default();
                // fewer than were accepted: the pod was forgotten in between, and its counts began anew
                let delta =
                    combine(total, before, |now, before| now.checked_sub(before.unwrap_or(0)).unwrap_or(now));
                container.memory.events_delta = Some(delta);
                // lower counts are accepted too: else of a pod that is found again as many as before would not be told
                if has_any(delta) || is_fewer(total, before) {
                    let (pod, name) = (pod_report.uid.clone(), Arc::clone(name));
                    reported.push(ReportedEvents { pod, container: container.id.clone(), name, total });
                }
            }
        }
        reported
    }
}

impl AcceptedEvents {
    /// A replica accepted `report`, of which `reported` was found before some of it was left out, but for the `rejected` pods.
    pub(crate) fn accept(
        &mut self,
        report: &Report,
        reported: &[ReportedEvents],
        rejected: &BTreeSet<&PodUid>,
    ) {
        for events in reported.iter().filter(|events| !rejected.contains(&events.pod)) {
            let pod = report.pods.iter().find(|pod| pod.uid == events.pod);
            if pod.is_some_and(|pod| pod.containers.iter().any(|container| container.id == events.container))
            {
                let names = self.0.entry(events.pod.clone()).or_default();
                names.insert(Arc::clone(&events.name), events.total);
            }
        }
        if report.full && !self.0.is_empty() {
            let named: BTreeSet<&PodUid> = report.pods.iter().map(|pod| &pod.uid).collect();
            self.0.retain(|pod, _| named.contains(pod));
        }
    }
}

fn signed(count: Option<u64>) -> i64 {
    count.and_then(|count| i64::try_from(count).ok()).unwrap_or(0)
}

fn add(sum: MemoryEvents, rise: MemoryEvents) -> MemoryEvents {
    let add = |sum: Option<u64>, rise: Option<u64>| match (sum, rise) {
        (Some(sum), Some(rise)) => Some(sum.saturating_add(rise)),
        (sum, rise) => sum.or(rise),
    };
    MemoryEvents {
        high: add(sum.high, rise.high),
        max: add(sum.max, rise.max),
        oom_kill: add(sum.oom_kill, rise.oom_kill),
    }
}

/// Absent where the count now is.
fn combine(now: MemoryEvents, before: MemoryEvents, value: impl Fn(u64, Option<u64>) -> u64) -> MemoryEvents {
    let of = |now: Option<u64>, before| now.map(|now| value(now, before));
    MemoryEvents {
        high: of(now.high, before.high),
        max: of(now.max, before.max),
        oom_kill: of(now.oom_kill, before.oom_kill),
    }
}

/// Whether a count is lower than it was: the counts began anew.
fn is_fewer(now: MemoryEvents, before: MemoryEvents) -> bool {
    let pairs = [now.high.zip(before.high), now.max.zip(before.max), now.oom_kill.zip(before.oom_kill)];
    pairs.into_iter().flatten().any(|(now, before)| now < before)
}

fn has_any(events: MemoryEvents) -> bool {
    [events.high, events.max, events.oom_kill].into_iter().flatten().any(|count| count > 0)
}
