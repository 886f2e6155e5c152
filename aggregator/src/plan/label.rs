//! What a pod shall carry. A known band is wanted at once; `unknown` only after it lasted, and only over a band of ours.
//!
//! An apply prunes what it omits, so [`keys_for`] is the only place in which a set of keys is built.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Band, Basis, Resource, keys};

use crate::input::PodFacts;
use crate::marks::{Mark, Marks, carried, values};
use crate::settings::{Output, Settings};
use crate::view::{Pod, Track};

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
