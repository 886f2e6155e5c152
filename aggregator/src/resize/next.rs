//! The write that is due, and what happens when time passes.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use plimsoll_contract::{Moment, keys};

use super::annotations::{KEYS, record};
use super::conditions::of_resizes;
use super::follow::DEFERRED_WORD;
use super::machine::{EndedBy, PodResize};
use super::phase::{Phase, VERIFIED_WITHIN};
use super::rejected::RejectionKind;
use super::sizes::spec_is;
use super::undo::{RecentShrink, WATCHED};
use super::{Purpose, ResizeRefusal, Step};
use crate::facts::PodFacts;
use crate::input::Now;

/// A write without an outcome after this time has none.
const OUTCOME_WITHIN: Duration = Duration::from_secs(30);
/// How long a write may take to show in the watch: a resize without a response, or the record of a way back.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
/// How long nothing is asked for after the first deferral; from one to the next it doubles.
const AFTER_DEFERRAL: Duration = Duration::from_secs(10);

impl PodResize {
    /// The write that is due.
    pub(crate) fn next(&self, now: Now, facts: &PodFacts) -> Step {
        match &self.phase {
            Phase::Planned(resize) if resize.not_before > now.at => Step::Wait(resize.not_before),
            Phase::Planned(resize) => match record(now.wall, resize, self.original_text(), facts) {
                Ok(record) => Step::Record(Box::new(record)),
                Err(_) => Step::Nothing,
            },
            // The plan was made for another size, or may have been.
            Phase::Recorded(resize, version)
                if !spec_is(facts, &resize.from) || version.is_ahead_of(facts) =>
            {
                Step::Nothing
            }
            Phase::Recorded(resize, _) if resize.is_overtaken(facts) => Step::Nothing,
            // The kubelet may have granted what is to be put back, in a version that the watch has not shown yet. It shows that with the record.
            Phase::Recorded(resize, _)
                if resize.purpose() == Purpose::Revert
                    && self.written.is_some()
                    && resize.entered + SHOWS_WITHIN > now.at =>
            {
                Step::Wait(resize.entered + SHOWS_WITHIN)
            }
            Phase::Recorded(resize, version) => Step::Send {
                sizes: resize.wanted.sizes.clone(),
                resource_version: version.resource_version.clone(),
            },
            _ => Step::Nothing,
        }
    }

    /// What [`PodResize::next`] returned is on its way.
    pub(crate) fn sent(&mut self, now: Now, facts: &PodFacts) {
        match take(&mut self.phase) {
            Phase::Planned(resize) => match record(now.wall, &resize, self.original_text(), facts) {
                Ok(record) => {
                    self.written = Some(record.annotations);
                    self.phase = Phase::Recording(resize.entering(now.at));
                }
                Err(message) => self.say_failed(resize.purpose(), message),
            },
            Phase::Recorded(mut resize, _) => {
                (resize.conditions_before, resize.harm) = (of_resizes(facts), None);
                self.phase = Phase::Sent(resize.entering(now.at));
            }
            other => self.phase = other,
        }
    }

    /// Our two annotations as the pod is to carry them: they belong in every complete set of our keys.
    pub(crate) fn annotations(&self, facts: &PodFacts) -> BTreeMap<String, String> {
        if let Some(written) = &self.written {
            return written.clone();
        }
        // Who applies what another wrote owns it, too, and would believe it from then on.
        if facts.original_by.is_some() {
            return BTreeMap::new();
        }
        let on_pod = KEYS.iter().filter_map(|key| Some((*key, facts.annotations.get(*key)?)));
        on_pod.map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    pub(super) fn original_text(&self) -> Option<&str> {
        self.written.as_ref()?.get(keys::ORIGINAL_RESOURCES).map(String::as_str)
    }

    /// When [`PodResize::tick`] has something to do: after a tick never a moment that has passed, or else whoever waits for it would never rest.
    pub(crate) fn wake(&self) -> Moment {
        match &self.phase {
            Phase::Idle => Moment::NEVER,
            Phase::Planned(resize) | Phase::Recorded(resize, _) => resize.outdated_at(),
            Phase::Recording(resize) | Phase::Sent(resize) => resize.entered + OUTCOME_WITHIN,
            Phase::Unanswered(resize) => resize.entered + SHOWS_WITHIN,
            Phase::Accepted(accepted) | Phase::InProgress(accepted) => accepted.ends_at(),
            Phase::Deferred(_, until) => *until,
        }
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Moment, facts: &PodFacts) {
        // A condition may have been seen before the response to the resize.
        self.follow(now, facts);
        match &self.phase {
            Phase::Recording(resize) if resize.entered + OUTCOME_WITHIN <= now => {
                self.record_failed(now, "no response");
            }
            Phase::Sent(resize) if resize.entered + OUTCOME_WITHIN <= now => {
                self.refused(now, facts, ResizeRefusal::NoAnswer);
            }
            _ => {}
        }
        match take(&mut self.phase) {
            // A newer plan is made from newer numbers.
            Phase::Planned(resize) | Phase::Recorded(resize, _) if resize.outdated_at() <= now => {}
            Phase::Recorded(resize, _) if !spec_is(facts, &resize.from) => {}
            // It was not done, and cannot be any more: the next record changes the version of the pod.
            Phase::Unanswered(resize) if resize.entered + SHOWS_WITHIN <= now => {
                self.retry(now, *resize, Some(Duration::ZERO), "the API server did not respond");
            }
            Phase::Deferred(accepted, until) if until <= now => {
                let message = accepted.error.as_ref().map(|(_, words)| words.clone()).unwrap_or_default();
                self.rejected.add(&accepted.resize, RejectionKind::Deferred, &message);
                self.hold_until(now, AFTER_DEFERRAL, &message, &accepted.resize, EndedBy::FreedNode);
                self.withdraw(now, facts, accepted, &format!("{DEFERRED_WORD}{message}"));
            }
            Phase::Accepted(accepted) | Phase::InProgress(accepted) if accepted.ends_at() <= now => {
                match &accepted.error {
                    Some((_, words)) => {
                        let words = words.clone();
                        self.fail(now, facts, accepted, &words);
                    }
                    // Nobody says that it failed: nothing is put back.
                    None => {
                        let message = format!("not verified within {} s", VERIFIED_WITHIN.as_secs());
                        self.hold_changed(now, Duration::from_secs(60), &message, &accepted.resize);
                        self.say_failed(accepted.resize.purpose(), message);
                        // Harm without confirmation: a part of it may be enforced.
                        if accepted.resize.harm.is_some() {
                            self.shrunk.push(RecentShrink::new(&accepted.resize, now + WATCHED));
                        }
                        self.unverified = Some(accepted);
                    }
                }
            }
            other => self.phase = other,
        }
    }
}
