//! One pod: its facts, the load that its node reports, and the state of our writes to it.
//!
//! The load of each resource has a history: since when it is known, on which basis, or why it is unknown. Losing a load is a state
//! of its own; it never turns into a small number.

use plimsoll_contract::load::{Cause, ResourceLoad, UnknownReason};
use plimsoll_contract::report::{ContainerReport, PodReport};
use plimsoll_contract::{Band, Basis, Bytes, ContainerId, Moment, Resource, keys};

use crate::facts::PodFacts;
use crate::resize::{Original, PodResize, original_on};
use crate::settings::Settings;
use crate::writes::PodWrites;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// As the watch last showed it.
    pub(crate) facts: PodFacts,
    /// Its resources before our first resize, read from the text in the facts once: each plan asks for them.
    pub(crate) original: Original,
    pub(crate) cpu: LoadHistory,
    pub(crate) memory: LoadHistory,
    /// When it was created, where a watch showed that; absent where it was there when pods were listed.
    pub(crate) appeared: Option<Moment>,
    /// The numbers of its containers, of the last report that named it.
    pub(crate) containers: Vec<ContainerReport>,
    /// When a report last named it.
    pub(crate) confirmed: Moment,
    /// Roster version of its entry.
    pub(crate) roster_version: u64,
    pub(crate) writes: PodWrites,
    pub(crate) resize: PodResize,
}

/// The load of one resource, and since when it is what it is.
#[derive(Debug, Clone)]
pub(crate) struct LoadHistory {
    /// As last reported; amounts in cores or bytes.
    pub(crate) load: ResourceLoad<f64>,
    /// Since when the band is known or, while it is unknown, since when it is not.
    pub(crate) known_changed: Moment,
    /// Since when the band is this one.
    pub(crate) band_changed: Moment,
    /// Since when [`LoadHistory::basis`] is this one.
    pub(crate) basis_changed: Moment,
    /// Since when the reason is a lasting one, or a passing one.
    pub(crate) reason_changed: Moment,
    /// The name of the container that made the band, as it was when the cause arrived: after a restart the container has another id.
    cause_container: Option<Box<str>>,
}

impl Pod {
    pub(crate) fn new(now: Moment, facts: PodFacts) -> Pod {
        let unknown = LoadHistory {
            load: ResourceLoad::default(),
            known_changed: now,
            band_changed: now,
            basis_changed: now,
            reason_changed: now,
            cause_container: None,
        };
        Pod {
            original: original_on(&facts),
            facts,
            cpu: unknown.clone(),
            memory: unknown,
            appeared: None,
            containers: Vec::new(),
            confirmed: now,
            roster_version: 0,
            writes: PodWrites::default(),
            resize: PodResize::default(),
        }
    }

    /// What the watch shows now.
    pub(crate) fn observe(&mut self, facts: PodFacts) {
        let [before, now] = [&self.facts, &facts]
            .map(|facts| (facts.annotations.get(keys::ORIGINAL_RESOURCES), &facts.original_by));
        if before != now {
            self.original = original_on(&facts);
        }
        self.facts = facts;
    }

    pub(crate) fn load(&self, resource: Resource) -> &LoadHistory {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    /// The name of a container of this pod; `pod` for the pod's own cgroup.
    pub(crate) fn container_name(&self, id: Option<&ContainerId>) -> String {
        let Some(id) = id else { return "pod".into() };
        self.listed_name(id).map_or_else(|| id.as_str().chars().take(12).collect(), str::to_owned)
    }

    /// The name of the container that made a band; as [`Pod::container_name`].
    pub(crate) fn cause_container(&self, history: &LoadHistory, cause: &Cause<f64>) -> String {
        let kept = history.cause_container.as_deref().map(str::to_owned);
        kept.unwrap_or_else(|| self.container_name(cause.container.as_ref()))
    }

    fn listed_name(&self, id: &ContainerId) -> Option<&str> {
        let named = self.facts.containers.iter().find(|c| c.id.as_ref() == Some(id));
        named.map(|c| c.name.as_str())
    }

    /// Whether the agent took the band over from the label: what made it, and on which basis, is not known any more.
    pub(crate) fn is_taken_over(&self, resource: Resource) -> bool {
        let load = &self.load(resource).load;
        load.band.is_known() && load.cause.is_none()
    }

    /// Whether the labels written last are gone, or may be soon: they have not been there for the shortest time between two repairs.
    pub(crate) fn is_repair_undone(&self, now: Moment, settings: &Settings) -> bool {
        self.writes.last.is_some() && !self.writes.lasted(&self.facts, now, settings)
    }

    /// Whether any band is known.
    pub(crate) fn any_known(&self) -> bool {
        self.cpu.known() || self.memory.known()
    }

    /// Replaces the loads by reported ones. Whether that may matter for a write.
    pub(crate) fn apply_report(&mut self, now: Moment, report: &PodReport) -> bool {
        let hottest = report.containers.iter().find(|c| report.cpu.container.as_ref() == Some(&c.id));
        let bound_by = hottest.and_then(|container| container.cpu.bound_by);
        let cpu = report.cpu.clone().map(|cores| cores.0, |id| self.shared(id));
        let memory = report.memory.clone().map(Bytes::as_f64, |id| self.shared(id));
        self.containers.clone_from(&report.containers);
        self.confirmed = now;
        let containers =
            [(&self.cpu, &cpu), (&self.memory, &memory)].map(|(before, load)| self.named_cause(before, load));
        let cpu = self.cpu.replace(now, ResourceLoad { bound_by, ..cpu });
        let memory = self.memory.replace(now, ResourceLoad { bound_by: None, ..memory });
        [self.cpu.cause_container, self.memory.cause_container] = containers;
        cpu | memory
    }

    /// The name of the container in the cause of a reported load: kept while it is the same container.
    fn named_cause(&self, before: &LoadHistory, load: &ResourceLoad<f64>) -> Option<Box<str>> {
        let container = |load: &ResourceLoad<f64>| load.cause.as_ref()?.container.clone();
        let id = container(load)?;
        let kept = before.cause_container.clone().filter(|_| container(&before.load).as_ref() == Some(&id));
        kept.or_else(|| self.listed_name(&id).map(Into::into))
    }

    /// The same id, sharing the memory of the one in the facts.
    fn shared(&self, id: ContainerId) -> ContainerId {
        let mut known = self.facts.containers.iter().filter_map(|container| container.id.as_ref());
        known.find(|known| **known == id).cloned().unwrap_or(id)
    }

    /// Forgets both loads; bands that were known count as unknown since `since`. Whether that may matter for a write.
    pub(crate) fn lose_load(&mut self, now: Moment, since: Moment, reason: Option<UnknownReason>) -> bool {
        let lose = |history: &mut LoadHistory| {
            let was_known = history.known();
            let matters = history.replace(now, ResourceLoad::unknown(reason));
            if was_known {
                history.known_changed = since;
            }
            history.cause_container = None;
            matters
        };
        self.containers.clear();
        lose(&mut self.cpu) | lose(&mut self.memory)
    }
}

impl LoadHistory {
    /// Whether the band is known.
    pub(crate) fn known(&self) -> bool {
        self.load.band.is_known()
    }

    /// Whether it is unknown for a reason that does not go away by itself.
    pub(crate) fn lasting_unknown(&self) -> bool {
        !self.known() && is_lasting(self.load.reason)
    }

    /// Replaces the load. Whether that may matter for a write: band, basis, kind of reason or whether there is a cause changed.
    fn replace(&mut self, now: Moment, load: ResourceLoad<f64>) -> bool {
        // A band that does not say what it is relative to claims nothing. One that is held says it in its cause, also while the hottest
        // candidate is not shown.
        let load = match (load.band.is_known(), basis_of(&load)) {
            (true, None) => ResourceLoad::unknown(Some(UnknownReason::Malformed)),
            _ => load,
        };
        let mut matters = self.load.cause.is_some() != load.cause.is_some();
        let mut note = |changed: bool, since: &mut Moment| {
            if changed {
                *since = now;
                matters = true;
            }
        };
        note(self.load.band.is_known() != load.band.is_known(), &mut self.known_changed);
        note(self.load.band != load.band, &mut self.band_changed);
        note(basis_of(&self.load) != basis_of(&load), &mut self.basis_changed);
        note(is_lasting(self.load.reason) != is_lasting(load.reason), &mut self.reason_changed);
        self.load = load;
        matters
    }

    /// What the band is relative to: what it was when the band was made, where that is known.
    pub(crate) fn basis(&self) -> Option<Basis> {
        basis_of(&self.load)
    }

    /// The band, where it is known.
    pub(crate) fn band(&self) -> Option<Band> {
        Some(self.load.band).filter(|band| band.is_known())
    }
}

fn basis_of(load: &ResourceLoad<f64>) -> Option<Basis> {
    load.cause.as_ref().map(|cause| cause.basis).or(load.basis)
}

fn is_lasting(reason: Option<UnknownReason>) -> bool {
    use UnknownReason::{Absent, Denied, Malformed, NoController};
    matches!(reason, Some(NoController | Denied | Absent | Malformed))
}
