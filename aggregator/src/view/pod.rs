//! One pod: what the API server says of it, what its node says of its load, and what our writes left.
//!
//! A load is a *track*: what is known now and since when. Losing it is a state of its own; it never turns into a small number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::report::{BoundBy, PodReport, UnknownReason};
use plimsoll_contract::{Band, Basis, Bytes, ContainerId, Resource};

use crate::input::PodFacts;
use crate::marks::{Marks, carried};
use crate::settings::Output;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// What the watch said last.
    pub(crate) facts: PodFacts,
    /// CPU; amounts in cores.
    pub(crate) cpu: Track,
    /// Memory; amounts in bytes.
    pub(crate) memory: Track,
    /// When a report last named it.
    pub(crate) confirmed: Duration,
    /// Roster version of its entry.
    pub(crate) roster_version: u64,
    /// Generation of its status.
    pub(crate) generation: u64,
    /// What our writes left.
    pub(crate) pen: Pen,
}

/// What is known of one resource of a pod, and since when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// The numbers.
    pub(crate) load: Load,
    /// Since when the band is known, or unknown: whichever it is.
    pub(crate) turned: Duration,
    /// Since when the basis is this one.
    pub(crate) basis_since: Duration,
    /// Since when the reason is one that stays, or one that passes: whichever it is.
    pub(crate) reason_since: Duration,
    /// The last band that was known.
    pub(crate) last_known: Option<Band>,
}

/// One resource's numbers: cores or bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) band: Band,
    pub(crate) basis: Option<Basis>,
    pub(crate) utilization: Option<f64>,
    pub(crate) usage: Option<f64>,
    pub(crate) of: Option<f64>,
    /// The hottest container; absent: the pod's own cgroup.
    pub(crate) container: Option<ContainerId>,
    pub(crate) bound_by: Option<BoundBy>,
    pub(crate) since: Option<Timestamp>,
    /// Why it is unknown; absent while unknown: nothing was reported.
    pub(crate) reason: Option<UnknownReason>,
}

/// What our writes on a pod left.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    /// Keys that somebody else owns, and whether the watch has shown them since.
    pub(crate) conflicts: BTreeMap<String, bool>,
    /// The pod carries a basis of ours whose band turned out to be somebody else's: one more write takes it off.
    pub(crate) owed: bool,
    /// Sets of keys about which people were told.
    pub(crate) told: BTreeSet<Vec<String>>,
    /// Written by us and not yet shown by the watch; believed until then.
    pub(crate) barrier: Option<(Marks, Duration)>,
    /// The last bands written, and when.
    pub(crate) wrote: Option<(Marks, Duration)>,
    /// Writes in a row that failed.
    pub(crate) failures: u32,
    /// No write before this.
    pub(crate) not_before: Duration,
    /// A write is under way.
    pub(crate) in_flight: bool,
    /// Our keys were taken off.
    pub(crate) withdrawn: bool,
}

impl Pen {
    /// Takes in what the watch shows: own writes that arrived, others' keys that are gone.
    pub(crate) fn saw(&mut self, facts: &PodFacts, output: Output, relisted: bool) {
        self.conflicts.retain(|key, seen| {
            let shown = facts.labels.contains_key(key) || facts.annotations.contains_key(key);
            let gone = !shown && (*seen || relisted);
            *seen |= shown;
            !gone
        });
        let shown = carried(facts, output).masked(&self.conflicts);
        self.barrier = self.barrier.filter(|(marks, _)| *marks != shown);
    }
}

/// What a load did to what is decided from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn {
    /// Band, basis or the kind of reason is another.
    pub(crate) decides: bool,
    /// One known band followed another.
    pub(crate) changed_band: bool,
}

impl Pod {
    /// A pod of whose load nothing is known yet.
    pub(crate) fn new(now: Duration, facts: PodFacts) -> Pod {
        let track = Track { turned: now, basis_since: now, reason_since: now, ..Track::default() };
        Pod {
            facts,
            cpu: track.clone(),
            memory: track,
            confirmed: now,
            roster_version: 0,
            generation: 0,
            pen: Pen::default(),
        }
    }

    /// The track of a resource.
    pub(crate) fn track(&self, resource: Resource) -> &Track {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    /// The name of a container of this pod; `None` stands for the pod's own cgroup.
    pub(crate) fn container_name(&self, id: Option<&ContainerId>) -> String {
        let Some(id) = id else { return "pod".into() };
        let named = self.facts.containers.iter().find(|c| c.id.as_ref() == Some(id));
        named.map_or_else(|| id.as_str().chars().take(12).collect(), |c| c.name.clone())
    }

    /// Whether any band is known.
    pub(crate) fn any_known(&self) -> bool {
        self.cpu.known() || self.memory.known()
    }

    /// The same id, shared with what the watch said.
    fn shared(&self, id: Option<ContainerId>) -> Option<ContainerId> {
        let mut known = self.facts.containers.iter().filter_map(|c| c.id.as_ref());
        known.find(|known| Some(*known) == id.as_ref()).cloned().or(id)
    }

    /// Takes new loads in. `announced` are the bands the pod carries: what a first report is compared with.
    pub(crate) fn take(&mut self, now: Duration, mut cpu: Load, mut memory: Load, announced: &Marks) -> Turn {
        cpu.container = self.shared(cpu.container.take());
        memory.container = self.shared(memory.container.take());
        let cpu = self.cpu.take(now, cpu, announced.cpu.band);
        let memory = self.memory.take(now, memory, announced.memory.band);
        Turn { decides: cpu.decides || memory.decides, changed_band: cpu.changed_band || memory.changed_band }
    }

    /// Forgets both loads; they count as unknown since `since`. Whether that decides anything.
    pub(crate) fn lose(&mut self, now: Duration, since: Duration, reason: Option<UnknownReason>) -> bool {
        let lost = |track: &mut Track| {
            let load = Load { reason, ..Load::default() };
            let was_known = track.known();
            let turn = track.take(now, load, None);
            if was_known {
                track.turned = since;
            }
            turn.decides
        };
        lost(&mut self.cpu) | lost(&mut self.memory)
    }
}

impl Track {
    /// Whether the band is known.
    pub(crate) fn known(&self) -> bool {
        self.load.band.is_known()
    }

    /// Whether it is unknown for a reason that will not go away by itself.
    pub(crate) fn stuck(&self) -> bool {
        !self.known() && stays(self.load.reason)
    }

    fn take(&mut self, now: Duration, load: Load, announced: Option<Band>) -> Turn {
        let before = self.last_known.or(announced.filter(|band| band.is_known()));
        let mut turn = Turn::default();
        if self.known() != load.band.is_known() {
            self.turned = now;
            turn.decides = true;
        }
        if self.load.basis != load.basis {
            self.basis_since = now;
            turn.decides = true;
        }
        if stays(self.load.reason) != stays(load.reason) {
            self.reason_since = now;
            turn.decides = true;
        }
        turn.decides |= self.load.band != load.band;
        if load.band.is_known() {
            turn.changed_band = before.is_some_and(|before| before != load.band);
            self.last_known = Some(load.band);
        }
        self.load = load;
        turn
    }
}

fn stays(reason: Option<UnknownReason>) -> bool {
    use UnknownReason::{Absent, Denied, Malformed, NoController};
    matches!(reason, Some(NoController | Denied | Absent | Malformed))
}

impl Load {
    /// The loads of a report, CPU and memory.
    pub(crate) fn of(report: &PodReport) -> (Load, Load) {
        let (cpu, memory) = (&report.cpu, &report.memory);
        let hottest = report.containers.iter().find(|c| cpu.container.as_ref() == Some(&c.id));
        let cpu = Load {
            band: cpu.band,
            basis: cpu.basis,
            utilization: cpu.utilization,
            usage: cpu.cores.map(|c| c.0),
            of: cpu.of.map(|c| c.0),
            container: cpu.container.clone(),
            bound_by: hottest.and_then(|c| c.cpu.bound_by),
            since: cpu.since,
            reason: cpu.reason,
        };
        let memory = Load {
            band: memory.band,
            basis: memory.basis,
            utilization: memory.utilization,
            usage: memory.bytes.map(Bytes::as_f64),
            of: memory.of.map(Bytes::as_f64),
            container: memory.container.clone(),
            bound_by: None,
            since: memory.since,
            reason: memory.reason,
        };
        (cpu.checked(), memory.checked())
    }

    /// A band that does not say of what claims nothing.
    fn checked(self) -> Load {
        match (self.band.is_known(), self.basis) {
            (true, None) => Load { reason: Some(UnknownReason::Malformed), ..Load::default() },
            _ => self,
        }
    }
}
