//! One pod: its facts, the load that its node reports, and the state of our writes to it.
//!
//! The load of each resource has a history: since when it is known, on which basis, or why it is unknown. Losing a load is a state
//! of its own; it never turns into a small number.

use plimsoll_contract::load::{ResourceLoad, UnknownReason};
use plimsoll_contract::report::{ContainerReport, PodReport};
use plimsoll_contract::{Band, Bytes, ContainerId, Moment, Resource};

use crate::facts::PodFacts;
use crate::writes::PodWrites;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// As the watch last showed it.
    pub(crate) facts: PodFacts,
    pub(crate) cpu: LoadHistory,
    pub(crate) memory: LoadHistory,
    /// The numbers of its containers, of the last report that named it.
    pub(crate) containers: Vec<ContainerReport>,
    /// When a report last named it.
    pub(crate) confirmed: Moment,
    /// Roster version of its entry.
    pub(crate) roster_version: u64,
    pub(crate) writes: PodWrites,
}

/// The load of one resource, and since when it is what it is.
#[derive(Debug, Clone)]
pub(crate) struct LoadHistory {
    /// As last reported; amounts in cores or bytes.
    pub(crate) load: ResourceLoad<f64>,
    /// Since when the band is known or, while it is unknown, since when it is not.
    pub(crate) known_changed: Moment,
    /// Since when the basis is this one.
    pub(crate) basis_changed: Moment,
    /// Since when the reason is a lasting one, or a passing one.
    pub(crate) reason_changed: Moment,
}

impl Pod {
    pub(crate) fn new(now: Moment, facts: PodFacts) -> Pod {
        let unknown = LoadHistory {
            load: ResourceLoad::default(),
            known_changed: now,
            basis_changed: now,
            reason_changed: now,
        };
        Pod {
            facts,
            cpu: unknown.clone(),
            memory: unknown,
            containers: Vec::new(),
            confirmed: now,
            roster_version: 0,
            writes: PodWrites::default(),
        }
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
        let named = self.facts.containers.iter().find(|c| c.id.as_ref() == Some(id));
        named.map_or_else(|| id.as_str().chars().take(12).collect(), |c| c.name.clone())
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
        let cpu = self.cpu.replace(now, ResourceLoad { bound_by, ..cpu });
        cpu | self.memory.replace(now, ResourceLoad { bound_by: None, ..memory })
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

    /// Replaces the load. Whether that may matter for a write: band, basis or kind of reason changed.
    fn replace(&mut self, now: Moment, load: ResourceLoad<f64>) -> bool {
        // A band that does not say what it is relative to claims nothing.
        let load = match (load.band.is_known(), load.basis) {
            (true, None) => ResourceLoad::unknown(Some(UnknownReason::Malformed)),
            _ => load,
        };
        let mut matters = self.load.band != load.band;
        let mut note = |changed: bool, since: &mut Moment| {
            if changed {
                *since = now;
                matters = true;
            }
        };
        note(self.load.band.is_known() != load.band.is_known(), &mut self.known_changed);
        note(self.load.basis != load.basis, &mut self.basis_changed);
        note(is_lasting(self.load.reason) != is_lasting(load.reason), &mut self.reason_changed);
        self.load = load;
        matters
    }

    /// The band, where it is known.
    pub(crate) fn band(&self) -> Option<Band> {
        Some(self.load.band).filter(|band| band.is_known())
    }
}

fn is_lasting(reason: Option<UnknownReason>) -> bool {
    use UnknownReason::{Absent, Denied, Malformed, NoController};
    matches!(reason, Some(NoController | Denied | Absent | Malformed))
}
