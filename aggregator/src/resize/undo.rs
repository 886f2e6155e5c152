//! The fast undo: a shrink that does harm within a minute is taken back as a whole, once, without waiting for any cooldown. For a day what it
//! did harm to does not shrink below the size before: the same load would come back, and so would the harm.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::history::Pressure;
use super::phase::Resize;
use super::sizes::{shrinks, size, spec_is};
use super::{Purpose, Wanted};
use crate::facts::PodFacts;

/// How long after a shrink harm is taken for its doing.
pub(super) const WATCHED: Duration = Duration::from_secs(60);

/// What a shrink did harm to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Harm {
    /// The first of it, in words.
    pub(super) seen: Option<String>,
    /// Container and resource, and its size before the shrink.
    pub(super) of: Vec<(String, Resource, Size)>,
}

/// A shrink that was done a moment ago.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecentShrink {
    from: BTreeMap<String, Sizes>,
    to: BTreeMap<String, Sizes>,
    class: String,
    until: Moment,
}

impl RecentShrink {
    pub(super) fn new(resize: &Resize, until: Moment) -> RecentShrink {
        let Wanted { sizes, class, .. } = &resize.wanted;
        RecentShrink { from: resize.from.clone(), to: sizes.clone(), class: class.clone(), until }
    }

    pub(super) fn is_over(&self, now: Moment) -> bool {
        now >= self.until
    }

    /// The harm that it did, as a report shows it: pressure on what was shrunk.
    pub(super) fn harm(&self, pressures: &[(String, Pressure)]) -> Option<Harm> {
        let mut harm = Harm::default();
        for (name, pressure) in pressures {
            let Some((from, to)) = self.from.get(name).zip(self.to.get(name)) else { continue };
            for resource in Resource::ALL {
                let before = size(from, resource);
                if let Some(seen) = pressure.harm(resource).filter(|_| shrinks(before, size(to, resource))) {
                    harm.seen.get_or_insert_with(|| format!("{name}: {seen}"));
                    harm.of.push((name.clone(), resource, before));
                }
            }
        }
        (!harm.of.is_empty()).then_some(harm)
    }

    /// The way back, unless the spec is not any more what the shrink made of it.
    pub(super) fn undo(&self, now: Moment, facts: &PodFacts, seen: &str) -> Option<Resize> {
        let why =
            vec![format!("{seen} within {} s after a shrink: back to the size before", WATCHED.as_secs())];
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
