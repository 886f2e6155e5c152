//! Other writers: whoever changes a size that we asked for gets two rounds, then we yield for an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::Moment;
use plimsoll_sizing::size::Sizes;

use super::sizes::spec_is;
use crate::facts::PodFacts;

/// Sizes of ours that another writer may change before we yield.
const ROUNDS: u32 = 2;
/// How long we yield; rounds that are further apart are no quarrel.
const HOUR: Duration = Duration::from_secs(3600);

/// What we asked for last, and who changed it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Yielding {
    ours: Option<Ours>,
    rounds: u32,
    last: Moment,
    until: Option<(Moment, String)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Ours {
    sizes: BTreeMap<String, Sizes>,
    generation: Option<i64>,
    /// Whether the watch has shown it. Before that, an older state of the pod is no other writer's.
    shown: bool,
}

/// Another writer changed what we asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Changed {
    /// It is the first time in an hour.
    Once,
    /// Again: we yield to it until then.
    Yields(String, Moment),
}

impl Yielding {
    /// The API server accepted these sizes.
    pub(super) fn asked(&mut self, sizes: BTreeMap<String, Sizes>, generation: Option<i64>) {
        self.ours = Some(Ours { sizes, generation, shown: false });
    }

    /// What is on the pod is what we asked for.
    pub(super) fn found(&mut self, sizes: BTreeMap<String, Sizes>) {
        self.ours = Some(Ours { sizes, generation: None, shown: true });
    }

    /// Whom we yield to, and until when.
    pub(super) fn until(&self, now: Moment) -> Option<(Moment, &str)> {
        self.until.as_ref().filter(|(until, _)| *until > now).map(|(until, owner)| (*until, owner.as_str()))
    }

    /// The watch shows the pod, and no resize of ours is on its way.
    pub(super) fn observe(&mut self, now: Moment, facts: &PodFacts) -> Option<Changed> {
        let ours = self.ours.as_mut()?;
        let is_ours = spec_is(facts, &ours.sizes);
        let is_newer = facts.generation.zip(ours.generation).is_some_and(|(shown, asked)| shown >= asked);
        ours.shown |= is_ours || is_newer;
        if is_ours || !ours.shown {
            return None;
        }
        self.ours = None;
        if now >= self.last + HOUR {
            self.rounds = 0;
        }
        self.rounds += 1;
        self.last = now;
        if self.rounds < ROUNDS {
            return Some(Changed::Once);
        }
        self.rounds = 0;
        let owner = facts.resized_by.clone().unwrap_or_else(|| "another writer".to_owned());
        self.until = Some((now + HOUR, owner.clone()));
        Some(Changed::Yields(owner, now + HOUR))
    }
}
