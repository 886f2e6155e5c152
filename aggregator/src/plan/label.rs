//! What a pod shall carry. A known band is wanted at once; `unknown` only after it lasted, and only over a band of ours.
//!
//! An apply prunes what it omits, so [`keys_for`] is the only place in which a set of keys is built.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use plimsoll_contract::{Band, Basis, Resource, keys};

use crate::core::{Output, Settings};
use crate::input::PodFacts;
use crate::view::{Pen, Pod, Track};

/// What a pod carries, or shall carry, of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The band; absent where there is none, or none of ours.
    pub(crate) band: Option<Band>,
    /// What it is of.
    pub(crate) basis: Option<Basis>,
    /// There is something that is no word of ours.
    pub(crate) odd: bool,
}

/// What a pod carries, or shall carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// CPU.
    pub(crate) cpu: Mark,
    /// Memory.
    pub(crate) memory: Mark,
}

/// What a pod shall carry now, and when that may change by time alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// What it shall carry.
    pub(crate) marks: Marks,
    /// Nothing is written yet although something is known: the other resource may still come.
    pub(crate) wait: bool,
    /// When to look again.
    pub(crate) wake: Option<Duration>,
}

impl Mark {
    fn unknown() -> Mark {
        Mark { band: Some(Band::Unknown), ..Mark::default() }
    }

    fn agrees(self, target: Mark) -> bool {
        self.band == target.band && self.basis == target.basis && !(self.odd && target.band.is_some())
    }

    fn read(values: &BTreeMap<String, String>, resource: Resource) -> Mark {
        let words = [keys::band_label(resource), keys::basis_label(resource)].map(|key| values.get(key));
        let band = words[0].and_then(|word| word.parse().ok());
        // A basis without a band says nothing.
        let basis = words[1].and_then(|word| word.parse().ok()).filter(|_| band.is_some());
        Mark { band, basis, odd: words.map(|w| w.is_some()) != [band.is_some(), basis.is_some()] }
    }

    /// Without what somebody else owns. A basis without its band says nothing.
    fn masked(self, resource: Resource, conflicts: &BTreeMap<String, bool>) -> Mark {
        if conflicts.contains_key(keys::band_label(resource)) {
            Mark::default()
        } else if conflicts.contains_key(keys::basis_label(resource)) {
            Mark { basis: None, ..self }
        } else {
            self
        }
    }
}

impl Marks {
    /// One resource's.
    pub(crate) fn of(&self, resource: Resource) -> Mark {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }

    /// Whether any band is there.
    pub(crate) fn any(&self) -> bool {
        self.cpu.band.is_some() || self.memory.band.is_some()
    }

    /// Whether any band is there that says something.
    pub(crate) fn known(&self) -> bool {
        Resource::ALL.iter().any(|r| self.of(*r).band.is_some_and(Band::is_known))
    }

    /// Whether a pod that carries this need not be written to.
    pub(crate) fn agrees(&self, target: &Marks) -> bool {
        self.cpu.agrees(target.cpu) && self.memory.agrees(target.memory)
    }

    /// Whether all that `target` changes is a known band to `unknown`.
    pub(crate) fn only_lost(&self, target: &Marks) -> bool {
        Resource::ALL.iter().all(|r| {
            let (has, shall) = (self.of(*r), target.of(*r));
            has.agrees(shall) || shall.band == Some(Band::Unknown)
        })
    }

    /// Without what somebody else owns.
    pub(crate) fn masked(&self, conflicts: &BTreeMap<String, bool>) -> Marks {
        Marks {
            cpu: self.cpu.masked(Resource::Cpu, conflicts),
            memory: self.memory.masked(Resource::Memory, conflicts),
        }
    }

    /// Both sides for the log; with the basis where the bands alone would look the same.
    pub(crate) fn words(from: &Marks, to: &Marks) -> (String, String) {
        let same = from.to_string() == to.to_string();
        let word = |m: &Marks| if same { format!("{m:#}") } else { m.to_string() };
        (word(from), word(to))
    }
}

/// `cpu=low memory=-`; in the alternate form with the basis: `cpu=low/limit memory=-`.
impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (space, resource) in ["", " "].into_iter().zip(Resource::ALL) {
            let mark = self.of(resource);
            write!(f, "{space}{resource}={}", mark.band.map_or("-", Band::as_str))?;
            if let (true, Some(basis)) = (f.alternate(), mark.basis) {
                write!(f, "/{basis}")?;
            }
        }
        Ok(())
    }
}

/// What the watch says that a pod carries.
pub(crate) fn carried(facts: &PodFacts, output: Output) -> Marks {
    let values = values(facts, output);
    Marks { cpu: Mark::read(values, Resource::Cpu), memory: Mark::read(values, Resource::Memory) }
}

fn values(facts: &PodFacts, output: Output) -> &BTreeMap<String, String> {
    match output {
        Output::Labels | Output::Metrics => &facts.labels,
        Output::Annotations => &facts.annotations,
    }
}

/// What a pod carries as far as we know: an own write that the watch has not shown yet counts. Without others' keys.
pub(crate) fn present(pod: &Pod, now: Duration, output: Output) -> Marks {
    let own = pod.pen.barrier.filter(|(_, until)| *until > now);
    own.map_or_else(|| carried(&pod.facts, output), |(marks, _)| marks).masked(&pod.pen.conflicts)
}

/// Whether a pod carries a basis, not known to be somebody else's, under a band that is.
pub(crate) fn stray_basis(pod: &Pod, output: Output) -> bool {
    let conflicts = &pod.pen.conflicts;
    let values = values(&pod.facts, output);
    Resource::ALL.into_iter().any(|resource| {
        let basis = keys::basis_label(resource);
        conflicts.contains_key(keys::band_label(resource))
            && !conflicts.contains_key(basis)
            && values.contains_key(basis)
    })
}

/// Takes in what the watch shows: own writes that arrived, others' keys that are gone.
pub(crate) fn saw(pen: &mut Pen, facts: &PodFacts, output: Output, relisted: bool) {
    pen.conflicts.retain(|key, seen| {
        let shown = facts.labels.contains_key(key) || facts.annotations.contains_key(key);
        let gone = !shown && (*seen || relisted);
        *seen |= shown;
        !gone
    });
    let shown = carried(facts, output).masked(&pen.conflicts);
    pen.barrier = pen.barrier.filter(|(marks, _)| *marks != shown);
}

/// What a pod shall carry now. `has` is what it carries, without others' keys.
pub(crate) fn target(pod: &Pod, has: &Marks, now: Duration, settings: &Settings) -> Target {
    let cpu = aim(has.cpu, &pod.cpu, &pod.memory, now, settings);
    let memory = aim(has.memory, &pod.memory, &pod.cpu, now, settings);
    let owned = |resource| !pod.pen.conflicts.contains_key(keys::band_label(resource));
    let waits = (cpu.wait && owned(Resource::Cpu)) || (memory.wait && owned(Resource::Memory));
    let marks = Marks { cpu: cpu.mark, memory: memory.mark }.masked(&pod.pen.conflicts);
    let wake = [cpu.wake, memory.wake].into_iter().flatten().min();
    Target { marks, wait: waits && !has.any(), wake }
}

#[derive(Debug, Default)]
struct Aim {
    mark: Mark,
    wait: bool,
    wake: Option<Duration>,
}

fn aim(has: Mark, own: &Track, other: &Track, now: Duration, settings: &Settings) -> Aim {
    match (own.load.band, own.load.basis) {
        (band, Some(basis)) if band.is_known() => aim_known(has, band, basis, own, now, settings),
        _ if has.band.is_some_and(Band::is_known) => after(now, own.turned + settings.silent_after, has),
        _ if has.band.is_some() => Aim { mark: Mark::unknown(), ..Aim::default() },
        _ if other.known() => {
            Aim { wait: true, ..after(now, settled(own, other, settings), Mark::default()) }.decided()
        }
        _ => Aim::default(),
    }
}

/// A known band at once; another basis under the same band once it lasted.
fn aim_known(has: Mark, band: Band, basis: Basis, own: &Track, now: Duration, settings: &Settings) -> Aim {
    let mark = Mark { band: Some(band), basis: Some(basis), odd: false };
    let at = own.basis_since + settings.basis_after;
    let only_basis = has.band == Some(band) && has.basis.is_some_and(|has| has != basis);
    match only_basis && now < at {
        true => Aim { mark: has, wait: false, wake: Some(at) },
        false => Aim { mark, ..Aim::default() },
    }
}

/// `unknown` from `at` on; until then what there is.
fn after(now: Duration, at: Duration, until_then: Mark) -> Aim {
    match now >= at {
        true => Aim { mark: Mark::unknown(), ..Aim::default() },
        false => Aim { mark: until_then, wait: false, wake: Some(at) },
    }
}

/// When a resource that never had a band may be called `unknown` beside one that has.
fn settled(own: &Track, other: &Track, settings: &Settings) -> Duration {
    let passing = own.turned.max(other.turned) + settings.silent_after;
    match own.stuck() {
        true => passing.min(other.turned.max(own.reason_since) + settings.settle_after),
        false => passing,
    }
}

impl Aim {
    fn decided(self) -> Aim {
        Aim { wait: self.mark.band.is_none(), ..self }
    }
}

/// What goes with the bands into one write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Company<'a> {
    /// The numbers behind the bands.
    pub(crate) evidence: &'a str,
    /// The epoch of the leader that writes.
    pub(crate) epoch: u64,
    /// Where the bands go.
    pub(crate) output: Output,
}

/// Every label and every annotation of ours that a pod shall carry; nothing that somebody else owns.
pub(crate) fn keys_for(
    marks: &Marks,
    pod: &Pod,
    company: Company<'_>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut bands = BTreeMap::new();
    let masked = marks.masked(&pod.pen.conflicts);
    for resource in Resource::ALL {
        let mark = masked.of(resource);
        let words = [
            (keys::band_label(resource), mark.band.map(Band::as_str)),
            (keys::basis_label(resource), mark.basis.map(Basis::as_str)),
        ];
        bands.extend(words.into_iter().filter_map(|(key, word)| Some((key.to_owned(), word?.to_owned()))));
    }
    let mut rest = BTreeMap::from([
        (keys::EVIDENCE.to_owned(), company.evidence.to_owned()),
        (keys::EPOCH.to_owned(), company.epoch.to_string()),
    ]);
    for kept in [keys::ORIGINAL_RESOURCES, keys::DECISION] {
        rest.extend(pod.facts.annotations.get_key_value(kept).map(|(k, v)| (k.clone(), v.clone())));
    }
    rest.retain(|key, _| !pod.pen.conflicts.contains_key(key));
    match company.output {
        Output::Annotations => {
            rest.extend(bands);
            (BTreeMap::new(), rest)
        }
        Output::Labels | Output::Metrics => (bands, rest),
    }
}

/// Whether a pod carries any key that we write.
pub(crate) fn carries_ours(facts: &PodFacts) -> bool {
    let written = |key: &String| {
        keys::WRITTEN_LABELS.contains(&key.as_str()) || keys::WRITTEN_ANNOTATIONS.contains(&key.as_str())
    };
    facts.labels.keys().any(written) || facts.annotations.keys().any(written)
}
