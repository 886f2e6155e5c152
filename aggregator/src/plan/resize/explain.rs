//! The arithmetic of a decision, one line per container and resource, for a person:
//! `api +390m (500->890): U 0.45 [throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12], gold, headroom 1000m shared with 2`.

use std::fmt::{self, Write};

use plimsoll_contract::{Bytes, Moment, Resource};
use plimsoll_sizing::verdict::{Change, Keep, Trigger, Verdict};

use super::draft::{Draft, Share};
use crate::resize::Purpose;

/// Most lines are shorter, in bytes.
const USUAL: usize = 200;

/// The line of one draft, after everything was divided.
pub(super) fn line(draft: &Draft, container: &str, class: &str, now: Moment) -> String {
    let mut line = String::with_capacity(USUAL);
    let written = match draft.changes() {
        true => write_change(&mut line, draft, container, class, now),
        false => write_kept(&mut line, draft, container, now),
    };
    debug_assert_eq!(written, Ok(()), "a string takes everything");
    line
}

fn write_kept(line: &mut String, draft: &Draft, container: &str, now: Moment) -> fmt::Result {
    write!(line, "{container} {}: ", draft.resource.as_str())?;
    let refused = draft.refusal.as_ref().map(|reason| reason.words(now));
    match (draft.verdict, refused) {
        (Verdict::Keep(keep), None) => match draft.missed.as_ref().filter(|_| keep != Keep::AtMaximum) {
            Some(missed) => write!(line, "{}, but {}", Trigger::RequestBelowUse, missed.words(now)),
            None => write!(line, "{keep}"),
        },
        (Verdict::Keep(_), Some(refused)) => line.write_str(&refused),
        (Verdict::Cooldown { growth, .. }, None) => {
            let step = growth.words(draft.from, draft.resource);
            write!(line, "may need {step} more: {}", growth.trigger)
        }
        (
            Verdict::Grow(change) | Verdict::Cooldown { growth: change, .. } | Verdict::Shrink(change),
            refused,
        ) => {
            let wanted = change.words(draft.from, draft.resource);
            let why = refused.as_deref().unwrap_or("not now");
            write!(line, "would be {wanted} ({}), but {why}", change.trigger)
        }
    }
}

fn write_change(line: &mut String, draft: &Draft, container: &str, class: &str, now: Moment) -> fmt::Result {
    let trigger = match draft.verdict {
        Verdict::Grow(change) | Verdict::Cooldown { growth: change, .. } | Verdict::Shrink(change) => {
            change.trigger
        }
        Verdict::Keep(_) => Trigger::RequestBelowUse,
    };
    let change = Change { to: draft.to, trigger, usage: 0 }.words(draft.from, draft.resource);
    write!(line, "{container} {change}: ")?;
    match draft.purpose {
        Some(Purpose::Birth) => write!(line, "a new replica, the median of {} siblings", draft.siblings)?,
        Some(Purpose::Shrink) => write!(line, "{trigger}")?,
        _ => write!(line, "{}", draft.urgency)?,
    }
    write!(line, ", {class}")?;
    if draft.steps > 1 {
        write!(line, ", the result of {} steps", draft.steps)?;
    }
    if let Some(Share { headroom, others }) = draft.share {
        match draft.resource {
            Resource::Cpu => write!(line, ", headroom {headroom}m")?,
            Resource::Memory => write!(line, ", headroom {}", Bytes(headroom))?,
        }
        if others > 0 {
            write!(line, " shared with {others}")?;
        }
    }
    match &draft.refusal {
        Some(refused) => write!(line, ", not more: {}", refused.words(now)),
        None => Ok(()),
    }
}
