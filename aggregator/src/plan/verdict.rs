//! Whether a pod is to be written to now, later or not at all.

use std::time::Duration;

use plimsoll_contract::status::LeftAlone;

use super::label;
use crate::action::Reason;
use crate::marks::Marks;
use crate::settings::{Output, Settings};
use crate::view::Pod;

/// What is to be done about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, until something happens.
    Rest,
    /// Nothing before then.
    Wait(Duration),
    /// It is to carry this.
    Write {
        /// Why.
        reason: Reason,
        /// What it carries.
        from: Marks,
        /// What it shall carry.
        to: Marks,
    },
}

/// What there is to know about where a pod is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Why it gets no labels, if so.
    pub(crate) alone: Option<LeftAlone>,
    /// Its node was never heard, and may yet be: it is not silent.
    pub(crate) unheard: bool,
}

/// Decides about one pod.
pub(crate) fn judge(pod: &Pod, place: Place, now: Duration, settings: &Settings) -> Verdict {
    if pod.facts.terminating || pod.pen.in_flight || settings.output == Output::Metrics {
        return Verdict::Rest;
    }
    let verdict = match place.alone {
        Some(LeftAlone::SystemNamespace) => Verdict::Rest,
        Some(_) => withdraw(pod, now, settings),
        None => follow(pod, place.unheard, now, settings),
    };
    match verdict {
        Verdict::Write { .. } if pod.pen.not_before > now => Verdict::Wait(pod.pen.not_before),
        verdict => verdict,
    }
}

/// Takes our keys off, once.
fn withdraw(pod: &Pod, now: Duration, settings: &Settings) -> Verdict {
    if pod.pen.withdrawn || !label::carries_ours(&pod.facts) {
        return Verdict::Rest;
    }
    let from = label::present(pod, now, settings.output);
    Verdict::Write { reason: Reason::Withdrawn, from, to: Marks::default() }
}

/// Makes the pod carry what is known of it.
fn follow(pod: &Pod, unheard: bool, now: Duration, settings: &Settings) -> Verdict {
    let from = label::present(pod, now, settings.output);
    if unheard && !pod.any_known() {
        return Verdict::Rest;
    }
    let target = label::target(pod, &from, now, settings);
    let to = target.marks;
    let barrier = pod.pen.barrier.map(|(_, until)| until).filter(|until| *until > now);
    let wake = [target.wake, barrier].into_iter().flatten().min();
    if target.wait || (from.agrees(&to) && !pod.pen.owed) {
        return wake.map_or(Verdict::Rest, Verdict::Wait);
    }
    let again = pod.pen.wrote.filter(|(marks, _)| *marks == to).map(|(_, at)| at + settings.repair_every);
    if let Some(at) = again.filter(|at| *at > now) {
        return Verdict::Wait(wake.map_or(at, |wake| wake.min(at)));
    }
    Verdict::Write { reason: why(pod, &from, &to), from, to }
}

fn why(pod: &Pod, from: &Marks, to: &Marks) -> Reason {
    if !from.any() && pod.pen.wrote.is_none() {
        Reason::First
    } else if from.only_lost(to) && !from.agrees(to) {
        Reason::Silence
    } else {
        Reason::Transition
    }
}
