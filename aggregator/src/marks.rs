//! What a pod carries of our keys, as words that mean something: read from the watch, compared with what it shall carry.

use std::collections::BTreeMap;
use std::fmt;

use plimsoll_contract::{Band, Basis, Resource, keys};

use crate::input::PodFacts;
use crate::settings::Output;

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

impl Mark {
    /// Nothing is known.
    pub(crate) fn unknown() -> Mark {
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

/// Where our keys are, in this mode.
pub(crate) fn values(facts: &PodFacts, output: Output) -> &BTreeMap<String, String> {
    match output {
        Output::Labels | Output::Metrics => &facts.labels,
        Output::Annotations => &facts.annotations,
    }
}
