//! What the watch and the reports say of a resize that was accepted, and what follows from it.

use std::collections::BTreeMap;
use std::mem::{discriminant, take};
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::Sizes;

use super::conditions::{Progress, has_seen, is_transient, of_resizes, progress};
use super::history::Pressure;
use super::machine::PodResize;
use super::phase::{Accepted, DEFERRED, Phase, Resize, VERIFIED_WITHIN};
use super::rejected::RejectionKind;
use super::sizes::{given_by_node, running, spec_is};
use super::undo::{Harm, RecentShrink, WATCHED};
use super::verify::{Kernel, Seen, kernel, limits_are_set, requests_are_set};
use super::yielding::Changed;
use super::{Purpose, Wanted, What};
use crate::facts::PodFacts;

/// How the arithmetic of a resize begins that puts a size back; a later leader reads it.
pub(super) const PUT_BACK: &str = "put back: ";
/// What follows where there was no room.
pub(super) const DEFERRED_WORD: &str = "deferred: ";
/// What follows where there never is.
pub(super) const INFEASIBLE_WORD: &str = "infeasible: ";

impl PodResize {
    /// The watch shows the pod.
    pub(crate) fn observe(&mut self, now: Moment, facts: &PodFacts) {
        let carries = |(key, value): (&String, &String)| facts.annotations.get(key) == Some(value);
        if self.written.as_ref().is_some_and(|written| written.iter().all(carries)) {
            self.written = None;
        }
        self.forget_newest_kills();
        let pressures = self.history.observe(now, facts);
        self.note_starts(facts);
        self.undo_harm(now, facts, &pressures);
        match &self.phase {
            Phase::Unanswered(resize) if spec_is(facts, &resize.wanted.sizes) => {
                self.accepted(now, facts.generation);
            }
            // An earlier try was done after all, although nobody answered and the watch was late. A record that is on its way is awaited first.
            Phase::Planned(resize) | Phase::Recorded(resize, _)
                if resize.tries > 0 && spec_is(facts, &resize.wanted.sizes) =>
            {
                let resize = (**resize).clone();
                self.follow_accepted(now, resize, facts.generation);
            }
            // The plan was made for another size.
            Phase::Planned(resize) | Phase::Recorded(resize, _) if !spec_is(facts, &resize.from) => {
                self.phase = Phase::Idle;
            }
            _ => {}
        }
        self.resume_granted(now, facts);
        let may_be_ours = match &self.phase {
            Phase::Sent(_) | Phase::Unanswered(_) => true,
            Phase::Recording(resize) => resize.tries > 0 && spec_is(facts, &resize.wanted.sizes),
            _ => false,
        };
        if !may_be_ours {
            self.yield_to_others(now, facts);
        }
        self.unverified = self.unverified.take().filter(|accepted| accepted.resize.is_in_spec(facts));
        self.set_aside =
            self.set_aside.take().filter(|accepted| spec_is(facts, &accepted.resize.wanted.sizes));
        if self.phase == Phase::Idle {
            self.take_up_late(now, facts);
            self.take_up_started(now, facts);
        }
        self.follow(now, facts);
    }

    /// A report names the pod.
    pub(crate) fn report(&mut self, now: Moment, facts: &PodFacts, seen: &Seen) {
        self.forget_newest_kills();
        let pressures = self.history.report(now, facts, seen);
        self.undo_harm(now, facts, &pressures);
        let started_with = self.started_with(facts);
        let stale = self.stale.compare_pod(now, facts, seen, started_with);
        let under_way = self.purpose();
        if let (
            Some(What::PodCgroupStale { text }),
            Phase::Accepted(accepted) | Phase::InProgress(accepted),
        ) = (&stale, &self.phase)
        {
            let purpose = accepted.resize.purpose();
            self.phase = Phase::Idle;
            self.say_failed(purpose, text.clone());
        }
        if let Some(stale) = stale {
            self.say(under_way, stale);
        }
        match &mut self.phase {
            Phase::Accepted(accepted) | Phase::InProgress(accepted) | Phase::Deferred(accepted, _) => {
                // One that is down has no cgroup.
                let asked = running(facts, &accepted.resize.changed());
                match kernel(now, facts, seen, &asked, accepted.at) {
                    Kernel::Differs => accepted.in_kernel = None,
                    held if held.shows(facts, accepted) && !self.stale.is_there() => {
                        accepted.in_kernel.get_or_insert(now);
                        accepted.read = asked.into_keys().collect();
                    }
                    _ => {}
                }
                self.follow(now, facts);
            }
            Phase::Idle if self.unverified.is_some() => self.verify_late(now, facts, seen, &pressures),
            Phase::Idle if of_resizes(facts).is_empty() && has_seen(facts, facts.generation) => {
                let drifted = self.drift.compare(now, facts, seen);
                drifted.into_iter().for_each(|drift| self.say(None, drift));
            }
            _ => {}
        }
    }

    /// The kubelet begins late with a resize that nobody could verify in time, or sets it aside late: it is followed again.
    fn take_up_late(&mut self, now: Moment, facts: &PodFacts) {
        let has_begun = |accepted: &mut Box<Accepted>| {
            let resize = &accepted.resize;
            let progress = progress(facts, accepted.generation, &resize.conditions_before);
            // What it said when the time was over is nothing new.
            let says_more = discriminant(&progress) != discriminant(&accepted.last_progress);
            let sizes = &resize.wanted.sizes;
            let is_set_aside = progress == Progress::Nothing
                && spec_is(facts, sizes)
                && running(facts, sizes).is_empty()
                && requests_are_set(facts, sizes, accepted.generation)
                && limits_are_set(facts, sizes);
            (says_more && progress != Progress::Nothing) || is_set_aside
        };
        if let Some(mut accepted) = self.unverified.take_if(has_begun) {
            (accepted.until, accepted.error) = (now + VERIFIED_WITHIN, None);
            self.phase = Phase::Accepted(accepted);
        }
    }

    /// A resize that nobody could verify in time is in the kernel after all.
    fn verify_late(&mut self, now: Moment, facts: &PodFacts, seen: &Seen, pressures: &[(String, Pressure)]) {
        let is_done = self.unverified.as_ref().is_some_and(|accepted| {
            let sizes = &accepted.resize.wanted.sizes;
            requests_are_set(facts, sizes, accepted.generation)
                && kernel(now, facts, seen, &accepted.resize.changed(), accepted.at).shows(facts, accepted)
        });
        if let Some(accepted) = self.unverified.take_if(|_| is_done) {
            self.done(now, &accepted.resize, accepted.set_aside, None, now);
            // The report that shows the size may show what it does, too.
            self.observe_shrunk(pressures);
            self.undo(now, facts);
        }
    }

    /// The kubelet has granted what was about to be put back. That is followed to its end, and not deferred for a second time.
    pub(super) fn resume_granted(&mut self, now: Moment, facts: &PodFacts) {
        match take(&mut self.phase) {
            Phase::Planned(resize) | Phase::Recorded(resize, _) if resize.is_overtaken(facts) => {
                // After a takeover nobody knows what it was for: the spec stays as it is.
                let Some(mut accepted) = resize.withdraws else { return };
                self.rejected.forget(&accepted.resize);
                (accepted.until, accepted.error) = (now + VERIFIED_WITHIN, None);
                accepted.deferred_until.get_or_insert(now);
                self.phase = Phase::Accepted(accepted);
            }
            other => self.phase = other,
        }
    }

    /// Kills that are told from when the kernel holds a new limit until that is verified are kept: that limit made them.
    fn forget_newest_kills(&mut self) {
        if self.phase.accepted().is_none_or(|accepted| accepted.in_kernel.is_none()) {
            self.history.forget_newest_kills();
        }
    }

    /// Takes a shrink back that did harm, and drops one that would.
    fn undo_harm(&mut self, now: Moment, facts: &PodFacts, pressures: &[(String, Pressure)]) {
        self.shrunk.retain(|shrunk| !shrunk.is_over(now));
        self.observe_shrunk(pressures);
        self.note_harm_under_way(pressures);
        self.undo(now, facts);
        self.drop_pressed_shrink(now);
    }

    fn observe_shrunk(&mut self, pressures: &[(String, Pressure)]) {
        self.shrunk.iter_mut().for_each(|shrunk| shrunk.observe(pressures));
    }

    /// The kernel enforces a shrink before anybody knows that it does: what does harm until it is verified is undone then, or remembered where it
    /// fails.
    fn note_harm_under_way(&mut self, pressures: &[(String, Pressure)]) {
        let resize = match &mut self.phase {
            Phase::Sent(resize) | Phase::Unanswered(resize) => &mut **resize,
            Phase::Accepted(accepted) | Phase::InProgress(accepted) | Phase::Deferred(accepted, _) => {
                &mut accepted.resize
            }
            Phase::Idle | Phase::Planned(_) | Phase::Recording(_) | Phase::Recorded(..) => return,
        };
        if resize.purpose() == Purpose::Shrink && resize.harm.is_none() {
            resize.harm = Harm::of(&resize.from, &resize.wanted.sizes, pressures);
        }
    }

    /// Drops a shrink that is not sent yet, of what calls for growth now.
    fn drop_pressed_shrink(&mut self, now: Moment) {
        let (Phase::Planned(resize) | Phase::Recorded(resize, _)) = &self.phase else { return };
        let changes = Resource::ALL.into_iter().zip(resize.changes());
        let mut changed = changes.filter(|(_, changes)| *changes).map(|(resource, _)| resource);
        let is_pressed = changed.any(|resource| {
            resize.wanted.sizes.keys().any(|name| self.history.pressed(name, resource) == Some(now))
        });
        if resize.purpose() == Purpose::Shrink && is_pressed {
            self.phase = Phase::Idle;
        }
    }

    /// What the kubelet says of a resize that was accepted.
    pub(super) fn follow(&mut self, now: Moment, facts: &PodFacts) {
        let mut accepted = match take(&mut self.phase) {
            Phase::Accepted(accepted) | Phase::InProgress(accepted) => accepted,
            Phase::Deferred(accepted, until) => {
                let progress = progress(facts, accepted.generation, &accepted.resize.conditions_before);
                if matches!(progress, Progress::Deferred(_)) {
                    self.phase = Phase::Deferred(accepted, until);
                    return;
                }
                let mut accepted = accepted;
                (accepted.until, accepted.error) = (now + VERIFIED_WITHIN, None);
                // It may be deferred again: all deferrals together get one time.
                accepted.deferred_until = Some(until);
                accepted
            }
            other => {
                self.phase = other;
                return;
            }
        };
        let progress = progress(facts, accepted.generation, &accepted.resize.conditions_before);
        accepted.last_progress = progress.clone();
        match progress {
            Progress::Nothing if accepted.error.is_none() => self.phase = Phase::Accepted(accepted),
            Progress::Nothing | Progress::Working => {
                accepted.error = None;
                self.phase = Phase::InProgress(accepted);
            }
            Progress::Deferred(message) => {
                if accepted.deferred_until.is_none() {
                    let purpose = accepted.resize.purpose();
                    self.say(Some(purpose), What::Deferred { message: message.clone() });
                }
                let until = accepted.deferred_until.unwrap_or(now + DEFERRED);
                accepted.error = Some((now, message));
                self.phase = Phase::Deferred(accepted, until);
            }
            Progress::Infeasible(message) => {
                self.rejected.add(&accepted.resize, RejectionKind::Infeasible, &message);
                let purpose = accepted.resize.purpose();
                self.say(Some(purpose), What::Infeasible { message: message.clone() });
                self.withdraw(now, facts, accepted, &format!("{INFEASIBLE_WORD}{message}"));
            }
            Progress::Error(message) => {
                let since = accepted.error.as_ref().map_or(now, |(since, _)| *since);
                accepted.error = Some((since, message.clone()));
                // A limit that the kernel does not lower stands below what is used: more use would be a kill.
                if accepted.resize.lowers_memory_limit() && !is_transient(&message) {
                    self.fail(now, facts, accepted, &message);
                } else {
                    self.phase = Phase::InProgress(accepted);
                }
            }
        }
        self.settle(now, facts);
    }

    /// Ends a resize that is done.
    fn settle(&mut self, now: Moment, facts: &PodFacts) {
        let Some(accepted) = self.phase.accepted() else { return };
        let resize = &accepted.resize;
        // The watch may be behind the report, and what else is decided of the pod is decided by what the watch shows.
        if !spec_is(facts, &resize.wanted.sizes) {
            return;
        }
        let asked = &resize.wanted.sizes;
        let up = running(facts, asked);
        let down: BTreeMap<_, _> = asked.iter().filter(|(name, _)| !up.contains_key(*name)).collect();
        let differs = |sizes: &BTreeMap<String, Sizes>, of: fn(&Sizes) -> [Option<u64>; 2]| {
            sizes.iter().any(|(name, to)| resize.from.get(name).map(of) != Some(of(to)))
        };
        let limits = differs(&up, |sizes| [sizes.cpu.limit, sizes.memory.limit]);
        let requests = differs(asked, |sizes| [sizes.cpu.request, sizes.memory.request]);
        let quiet = progress(facts, accepted.generation, &resize.conditions_before) == Progress::Nothing;
        let set = quiet && requests_are_set(facts, asked, accepted.generation);
        let is_read = accepted.in_kernel.is_some() && up.keys().all(|name| accepted.read.contains(name));
        if (limits && !is_read) || (requests && !set) {
            return;
        }
        if !down.is_empty() {
            let down = down.into_iter().map(|(name, sizes)| (name.clone(), *sizes)).collect();
            // Their status is all there is.
            if set
                && limits_are_set(facts, &down)
                && let Phase::Accepted(accepted) | Phase::InProgress(accepted) | Phase::Deferred(accepted, _) =
                    take(&mut self.phase)
            {
                self.wait_for_start(now, facts, *accepted, down);
                self.undo(now, facts);
            }
            return;
        }
        let took = accepted.took(if limits { accepted.in_kernel.unwrap_or(now) } else { now });
        let done_at = accepted.in_kernel.unwrap_or(now);
        let (resize, was_set_aside) = match take(&mut self.phase) {
            Phase::Accepted(accepted) | Phase::InProgress(accepted) | Phase::Deferred(accepted, _) => {
                (accepted.resize, accepted.set_aside)
            }
            _ => return,
        };
        self.done(now, &resize, was_set_aside, took, done_at);
        self.undo(now, facts);
    }

    /// A resize is in the kernel, for as long as `took` since it was accepted, if that is known. What it shrank is watched from `at`; of what was set
    /// aside that was done then.
    fn done(
        &mut self,
        now: Moment,
        resize: &Resize,
        was_set_aside: bool,
        took: Option<Duration>,
        at: Moment,
    ) {
        let purpose = resize.purpose();
        // What happened since it was set aside happened with this size.
        if !was_set_aside {
            self.history.verified(now, &resize.from, &resize.wanted.sizes);
        }
        self.started.retain(|name, _| !resize.wanted.sizes.contains_key(name));
        self.say_with_why(resize, What::Verified { purpose, took });
        self.last = Some(purpose != Purpose::Revert);
        if purpose != Purpose::Revert {
            self.end_holds_of(resize);
            if self.held.iter().flatten().all(|held| held.until <= now) {
                self.failures = 0;
            }
        }
        if purpose == Purpose::Shrink && !was_set_aside {
            self.shrunk.push(RecentShrink::new(resize, at + WATCHED));
        }
    }

    /// A resize is done: nothing of what it changed is held any more.
    fn end_holds_of(&mut self, resize: &Resize) {
        for (held, _) in self.held.iter_mut().zip(resize.changes()).filter(|(_, done)| *done) {
            *held = None;
        }
    }

    /// Plans the way back from a shrink that did harm, as soon as nothing else is under way.
    fn undo(&mut self, now: Moment, facts: &PodFacts) {
        let is_free = match &self.phase {
            Phase::Idle => true,
            Phase::Planned(resize) | Phase::Recorded(resize, _) => !resize.purpose().is_way_back(),
            _ => false,
        };
        let Some(harmful) = self.shrunk.iter().position(|shrunk| shrunk.harm.is_some()).filter(|_| is_free)
        else {
            return;
        };
        let shrunk = self.shrunk.remove(harmful);
        let Some(undo) = shrunk.undo(now, facts) else { return };
        let harm = shrunk.harm.unwrap_or_default();
        self.remember_harm_of(now, &harm);
        self.phase = Phase::Planned(Box::new(undo));
        self.say(Some(Purpose::Shrink), What::Undone { seen: harm.seen });
    }

    /// The shrink that did it is not made again for a day.
    fn remember_harm_of(&mut self, now: Moment, harm: &Harm) {
        for (container, resource, before) in &harm.of {
            self.history.undone(now, container, *resource, *before);
        }
    }

    fn yield_to_others(&mut self, now: Moment, facts: &PodFacts) {
        let Some(changed) = self.yielding.observe(now, facts) else { return };
        let under_way = self.purpose();
        // Whatever was under way was for a size that is not asked for any more.
        if !matches!(self.phase, Phase::Recording(_)) {
            self.phase = Phase::Idle;
        }
        self.shrunk.clear();
        if let Changed::Yields(owner, until) = changed {
            self.say(under_way, What::Yielded { owner, until });
        }
    }

    /// A resize that the kubelet could not do: the spec goes back to the size before it.
    pub(super) fn fail(&mut self, now: Moment, facts: &PodFacts, accepted: Box<Accepted>, message: &str) {
        let resize = &accepted.resize;
        let back = match resize.purpose() {
            // A memory limit that the kernel does not lower, because more is in use, is raised again: else its error would remain, and keep
            // everything else of the pod from being resized.
            Purpose::Revert => resize.keeping_memory_limits(),
            // The kubelet has set the new requests aside already: the way back is to the size before.
            _ => resize.from.clone(),
        };
        self.hold_changed(now, Duration::from_secs(60), message, resize);
        self.say_failed(resize.purpose(), message.to_owned());
        if let Some(harm) = &resize.harm {
            self.remember_harm_of(now, harm);
        }
        self.put_back(now, facts, accepted, back, message);
    }

    /// A resize for which the node has no room: the spec goes back to what that has given. A [`Purpose::Revert`] is not put back itself.
    pub(super) fn withdraw(&mut self, now: Moment, facts: &PodFacts, accepted: Box<Accepted>, why: &str) {
        let resize = &accepted.resize;
        let given = match resize.purpose() {
            Purpose::Revert => resize.wanted.sizes.clone(),
            _ => given_by_node(facts, &resize.from),
        };
        self.put_back(now, facts, accepted, given, why);
    }

    /// Puts the spec back. Nothing is where it is that size, or says something else already.
    fn put_back(
        &mut self,
        now: Moment,
        facts: &PodFacts,
        accepted: Box<Accepted>,
        sizes: BTreeMap<String, Sizes>,
        why: &str,
    ) {
        let Wanted { sizes: asked, purpose, class, .. } = accepted.resize.wanted.clone();
        self.last = Some(false);
        if sizes == asked || !spec_is(facts, &asked) {
            return;
        }
        self.say(Some(purpose), What::PutBack { why: why.to_owned() });
        let why = vec![format!("{PUT_BACK}{why}")];
        let back = Wanted { sizes, purpose: Purpose::Revert, class, why, growths: BTreeMap::new() };
        let revert = Resize { withdraws: Some(accepted), ..Resize::new(now, back, asked) };
        self.phase = Phase::Planned(Box::new(revert));
    }
}
