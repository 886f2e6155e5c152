//! The bands on a pod, as read from its labels and compared with what they are to be.

use std::collections::BTreeMap;
use std::fmt;

use plimsoll_contract::{Band, Basis, Resource, keys};

use crate::facts::PodFacts;
use crate::settings::Output;

/// The band and basis labels of one resource, present or wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BandLabel {
    /// The band; absent where there is no label, or none that is a band.
    pub(crate) band: Option<Band>,
    /// What the band is relative to.
    pub(crate) basis: Option<Basis>,
    /// A label has a value that is none of ours.
    pub(crate) unparsable: bool,
}

/// The band and basis labels of a pod, present or wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PodLabels {
    pub(crate) cpu: BandLabel,
    pub(crate) memory: BandLabel,
}

impl BandLabel {
    pub(crate) const UNKNOWN: BandLabel =
        BandLabel { band: Some(Band::Unknown), basis: None, unparsable: false };

    fn satisfies(self, wanted: BandLabel) -> bool {
        self.band == wanted.band && self.basis == wanted.basis && !(self.unparsable && wanted.band.is_some())
    }

    fn parse(values: &BTreeMap<String, String>, resource: Resource) -> BandLabel {
        let words = [keys::band_label(resource), keys::basis_label(resource)].map(|key| values.get(key));
        let band = words[0].and_then(|word| word.parse().ok());
        // A basis without a band says nothing.
        let basis = words[1].and_then(|word| word.parse().ok()).filter(|_| band.is_some());
        let unparsable = words.map(|word| word.is_some()) != [band.is_some(), basis.is_some()];
        BandLabel { band, basis, unparsable }
    }

    fn without<C>(self, resource: Resource, conflicts: &BTreeMap<String, C>) -> BandLabel {
        if conflicts.contains_key(keys::band_label(resource)) {
            BandLabel::default()
        } else if conflicts.contains_key(keys::basis_label(resource)) {
            BandLabel { basis: None, ..self }
        } else {
            self
        }
    }
}

impl PodLabels {
    /// The labels that the watch shows on a pod.
    pub(crate) fn of(facts: &PodFacts, output: Output) -> PodLabels {
        PodLabels::parse(values(&facts.labels, &facts.annotations, output))
    }

    /// The labels among these keys.
    pub(crate) fn among(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        output: Output,
    ) -> PodLabels {
        PodLabels::parse(values(labels, annotations, output))
    }

    fn parse(values: &BTreeMap<String, String>) -> PodLabels {
        PodLabels {
            cpu: BandLabel::parse(values, Resource::Cpu),
            memory: BandLabel::parse(values, Resource::Memory),
        }
    }

    /// One resource's.
    pub(crate) fn get(&self, resource: Resource) -> BandLabel {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }

    /// Whether there is any band, `unknown` included.
    pub(crate) fn any(&self) -> bool {
        self.cpu.band.is_some() || self.memory.band.is_some()
    }

    /// Whether there is any known band.
    pub(crate) fn any_known(&self) -> bool {
        Resource::ALL.iter().any(|r| self.get(*r).band.is_some_and(Band::is_known))
    }

    /// Whether a pod with these labels need not be written to.
    pub(crate) fn satisfies(&self, wanted: &PodLabels) -> bool {
        self.cpu.satisfies(wanted.cpu) && self.memory.satisfies(wanted.memory)
    }

    /// Whether `wanted` changes nothing but bands to `unknown`.
    pub(crate) fn only_become_unknown(&self, wanted: &PodLabels) -> bool {
        Resource::ALL.iter().all(|r| {
            let (present, wanted) = (self.get(*r), wanted.get(*r));
            present.satisfies(wanted) || wanted.band == Some(Band::Unknown)
        })
    }

    /// Without keys that another field manager owns. A basis without its band says nothing.
    pub(crate) fn without<C>(&self, conflicts: &BTreeMap<String, C>) -> PodLabels {
        PodLabels {
            cpu: self.cpu.without(Resource::Cpu, conflicts),
            memory: self.memory.without(Resource::Memory, conflicts),
        }
    }

    /// Both for people; with the basis where the bands alone would look the same.
    pub(crate) fn describe(from: &PodLabels, to: &PodLabels) -> (String, String) {
        match from.to_string() == to.to_string() {
            true => (format!("{from:#}"), format!("{to:#}")),
            false => (from.to_string(), to.to_string()),
        }
    }
}

/// `cpu=low memory=-`; in the alternate form with the basis: `cpu=low/limit memory=-`.
impl fmt::Display for PodLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (space, resource) in ["", " "].into_iter().zip(Resource::ALL) {
            let label = self.get(resource);
            write!(f, "{space}{resource}={}", label.band.map_or("-", Band::as_str))?;
            if let (true, Some(basis)) = (f.alternate(), label.basis) {
                write!(f, "/{basis}")?;
            }
        }
        Ok(())
    }
}

/// How the evidence says that a key is another manager's.
pub(crate) const FOREIGN: &str = "is owned by another manager";

/// The part of the evidence that names other managers' keys.
pub(crate) fn foreign_part(evidence: &str) -> String {
    evidence.split("; ").filter(|part| part.ends_with(FOREIGN)).collect::<Vec<_>>().join("; ")
}

/// The map that holds our keys in this output mode.
pub(crate) fn values<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    output: Output,
) -> &'a BTreeMap<String, String> {
    match output {
        Output::Labels | Output::Metrics => labels,
        Output::Annotations => annotations,
    }
}
