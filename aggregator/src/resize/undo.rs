//! The fast undo: a shrink that does harm within a minute is taken back as a whole, once, without waiting for any cooldown. For a day what it
//! did harm to does not shrink below the size before: the same load would come back, and so would the harm.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::history::Pressure;
use super::phase::Resize;
use super::sizes::{shrinks, spec_is};
use super::{Purpose, Wanted};
use crate::facts::PodFacts;

/// How long after a shrink harm is taken for its doing.
pub(super) const WATCHED: Duration = Duration::from_secs(60);

/// What a shrink did harm to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Harm {
    /// The first of it, in words.
    pub(super) seen: String,
    /// Container and resource, and its size before the shrink.
    pub(super) of: Vec<(String, Resource, Size)>,
}

impl Harm {
    /// Pressure, from a report or the pod's status, on what shrinks from one size to the other.
    pub(super) fn of(
        from: &BTreeMap<String, Sizes>,
        to: &BTreeMap<String, Sizes>,
        pressures: &[(String, Pressure)],
    ) -> Option<Harm> {
        let mut harm = Harm::default();
        for (name, pressure) in pressures {
            let Some((from, to)) = from.get(name).zip(to.get(name)) else { continue };
            for resource in Resource::ALL {
                let before = from[resource];
                if let Some(seen) = pressure.harm(resource).filter(|_| shrinks(before, to[resource])) {
                    if harm.seen.is_empty() {
                        harm.seen = format!("{name}: {seen}");
                    }
                    harm.of.push((name.clone(), resource, before));
                }
            }
        }
        Some(harm).filter(|harm| !harm.of.is_empty())
    }
}

/// A shrink that was done a moment ago.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecentShrink {
    from: BTreeMap<String, Sizes>,
    to: BTreeMap<String, Sizes>,
    class: String,
    until: Moment,
    /// What it did harm to, until it is undone.
    pub(super) harm: Option<Harm>,
}

impl RecentShrink {
    pub(super) fn new(resize: &Resize, until: Moment) -> RecentShrink {
        let Wanted { sizes, class, .. } = &resize.wanted;
        let (from, to) = (resize.from.clone(), sizes.clone());
        RecentShrink { from, to, class: class.clone(), until, harm: resize.harm.clone() }
    }

    /// One that did harm is over once it is undone: something else may be under way until then.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.harm.is_none() && now >= self.until
    }

    pub(super) fn observe(&mut self, pressures: &[(String, Pressure)]) {
        if self.harm.is_none() {
            self.harm = Harm::of(&self.from, &self.to, pressures);
        }
    }

    /// Leaves what another resize changes to that; whether a shrink is left.
    pub(super) fn leave_to(&mut self, other: &Resize) -> bool {
        for (name, new) in &other.wanted.sizes {
            let (Some(from), Some(to)) = (self.from.get_mut(name), self.to.get_mut(name)) else { continue };
            for resource in Resource::ALL {
                let new = new[resource];
                if to[resource] != new {
                    (from[resource], to[resource]) = (new, new);
                }
            }
        }
        let is_shrink = |name: &String, from: &Sizes| {
            let to = self.to.get(name);
            to.is_some_and(|to| Resource::ALL.iter().any(|r| shrinks(from[*r], to[*r])))
        };
        self.from.iter().any(|(name, from)| is_shrink(name, from))
    }

    /// The way back, unless the spec is not any more what the shrink made of it.
    pub(super) fn undo(&self, now: Moment, facts: &PodFacts) -> Option<Resize> {
        let seen = &self.harm.as_ref()?.seen;
        let why = vec![format!("{seen} after a shrink: back to the size before")];
        let wanted = Wanted {
            sizes: self.from.clone(),
            purpose: Purpose::Undo,
            class: self.class.clone(),
            why,
            growths: BTreeMap::new(),
        };
        spec_is(facts, &self.to).then(|| Resize::new(now, wanted, self.to.clone()))
    }
}
