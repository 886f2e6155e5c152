//! Where a pod's resize stands after a takeover: from its spec, its conditions and what the leader before recorded.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::Sizes;

use super::annotations::{Decided, decided_on};
use super::conditions::{Progress, has_seen, of_resizes, progress};
use super::follow::{DEFERRED_WORD, INFEASIBLE_WORD, PUT_BACK};
use super::history::HARM_REMEMBERED;
use super::machine::PodResize;
use super::phase::{Accepted, DEFERRED, Phase, Resize, VERIFIED_WITHIN};
use super::rejected::RejectionKind;
use super::sizes::{shrinks, spec_is};
use super::{Believed, Purpose, Wanted};
use crate::facts::PodFacts;
use crate::input::Now;

/// A way back that was recorded and not sent is taken up for so long.
const TAKEN_UP: Duration = Duration::from_secs(300);
/// How far the clock of the leader before may have been ahead.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);
/// A size that was put back for want of room less than this long before the takeover is remembered as not given.
pub(super) const PUT_BACK_WITHIN: Duration = Duration::from_secs(600);

impl PodResize {
    /// A new leader takes over. What only the one before knew is taken for the worst: nothing shrinks before its hold passed once more; growth is
    /// free at once. The record on the pod may be anybody's: none is followed that leads to a size that is not `believed`, and without a class
    /// that changes pods none at all.
    pub(crate) fn restored(&mut self, now: Now, facts: &PodFacts, believed: Option<Believed<'_>>) {
        let history = take(&mut self.history).taken_over(now, facts);
        *self = PodResize { taken_over: Some(now.at), history, ..PodResize::default() };
        let Some((decided, believed)) = decided_on(facts).zip(believed) else { return };
        let age = age(now, &decided);
        let is_at = |sizes| spec_is(facts, sizes);
        // Each may become what is asked for next: the one by the way back, the other by the way back from there.
        if !believed.holds(facts, &decided.from) || !believed.holds(facts, &decided.to) {
            return;
        }
        if is_at(&decided.to) {
            self.yielding.found(decided.to.clone());
            if decided.purpose.is_way_back() && age < HARM_REMEMBERED {
                self.way_back = Some((decided.purpose, now.at.earlier_by(age)));
            }
            if decided.purpose == Purpose::Undo && age < HARM_REMEMBERED {
                self.remember_harm(now.at.earlier_by(age), &decided);
            }
            self.continues(now, facts, decided, age);
        } else if is_at(&decided.from) && decided.purpose.is_way_back() && age < TAKEN_UP {
            // Recorded and not sent, and no plan will ask for it. Where it cannot be planned, there is nothing to do.
            let _ = self.plan(now.at, facts, wanted_of(decided).0);
            self.resume_granted(now.at, facts);
        }
    }

    /// The resize was sent.
    fn continues(&mut self, now: Now, facts: &PodFacts, decided: Decided, age: Duration) {
        if decided.purpose == Purpose::Revert && age < PUT_BACK_WITHIN {
            self.remember(now, &decided);
        }
        let resize = resize_of(now, decided);
        let generation = facts.generation;
        let left = |of: Duration| now.at + of.saturating_sub(age);
        let pending = progress(facts, generation, &[]);
        if pending == Progress::Nothing && age >= VERIFIED_WITHIN {
            // The leader before could not verify it either.
            if !has_seen(facts, generation) {
                self.unverified = Some(Box::new(Accepted::new(resize, None, now.at, generation)));
            }
            return;
        }
        let until = left(VERIFIED_WITHIN).max(now.at + DEFERRED);
        let accepted = Accepted::new(resize, None, until, generation);
        self.phase = Phase::Accepted(Box::new(accepted));
        if !of_resizes(facts).is_empty() {
            self.follow(now.at, facts);
        }
        if let Phase::Deferred(_, withdrawn) = &mut self.phase {
            *withdrawn = left(DEFERRED);
        }
    }
}

impl PodResize {
    /// A shrink that did harm was undone.
    fn remember_harm(&mut self, at: Moment, undone: &Decided) {
        for (name, before) in &undone.to {
            let less = undone.from.get(name).copied().unwrap_or_default();
            for resource in Resource::ALL {
                if shrinks(before[resource], less[resource]) {
                    self.history.undone(at, name, resource, before[resource]);
                }
            }
        }
    }

    /// A size that the leader before put back because there was no room for it.
    fn remember(&mut self, now: Now, reverted: &Decided) {
        let words = reverted.why.strip_prefix(PUT_BACK).unwrap_or_default();
        let kinds = [(DEFERRED_WORD, RejectionKind::Deferred), (INFEASIBLE_WORD, RejectionKind::Infeasible)];
        let Some((_, kind)) = kinds.into_iter().find(|(word, _)| words.starts_with(word)) else { return };
        let (from, to) = (reverted.to.clone(), reverted.from.clone());
        let rejected = resize_of(now, Decided { from, to, ..reverted.clone() });
        self.rejected.add(&rejected, kind, words);
    }
}

/// How long ago it was decided. What lies in the future was not decided by a leader: it is as old as can be.
fn age(now: Now, decided: &Decided) -> Duration {
    let ahead = Duration::try_from(decided.at.duration_since(now.wall)).unwrap_or_default();
    match ahead > CLOCKS_DIFFER {
        true => Duration::MAX,
        false => Duration::try_from(now.wall.duration_since(decided.at)).unwrap_or_default(),
    }
}

/// What was wanted, and from which size.
fn wanted_of(decided: Decided) -> (Wanted, BTreeMap<String, Sizes>) {
    let Decided { purpose, class, from, to, why, .. } = decided;
    (Wanted { sizes: to, purpose, class, why: vec![why], growths: BTreeMap::new() }, from)
}

fn resize_of(now: Now, decided: Decided) -> Resize {
    let (wanted, from) = wanted_of(decided);
    Resize::new(now.at, wanted, from)
}
