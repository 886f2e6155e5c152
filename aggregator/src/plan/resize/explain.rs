//! The arithmetic of a decision, one line per container and resource, for a person:
//! `api +390m (500->890): U 0.45 [throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12], gold, headroom 1000m shared with 2`.

use plimsoll_contract::{Bytes, Moment, Resource};
use plimsoll_sizing::verdict::{Change, Trigger, Verdict};

use super::draft::{Draft, Share};
use crate::resize::Purpose;

/// The line of one draft, after everything was divided.
pub(super) fn line(draft: &Draft, container: &str, class: &str, now: Moment) -> String {
    let refused = draft.refusal.as_ref().map(|reason| reason.words(now));
    if !draft.changes() {
        let kept = match (draft.verdict, refused) {
            (Verdict::Keep(keep), None) => keep.to_string(),
            (Verdict::Keep(_), Some(refused)) => refused.into_owned(),
            (Verdict::Grow(change) | Verdict::Shrink(change), refused) => {
                let wanted = change.words(draft.from, draft.resource);
                let why = refused.unwrap_or_else(|| "not now".into());
                format!("would be {wanted} ({}), but {why}", change.trigger)
            }
        };
        return format!("{container} {}: {kept}", draft.resource.as_str());
    }
    let trigger = match draft.verdict {
        Verdict::Grow(change) | Verdict::Shrink(change) => change.trigger,
        Verdict::Keep(_) => Trigger::RequestBelowUse,
    };
    let change = Change { to: draft.to, trigger, usage: 0 }.words(draft.from, draft.resource);
    let why = match draft.purpose {
        Some(Purpose::Birth) => format!("a new replica, the median of {} siblings", draft.siblings),
        Some(Purpose::Shrink) => trigger.to_string(),
        _ => draft.urgency.to_string(),
    };
    let steps = match draft.steps {
        0 | 1 => String::new(),
        steps => format!(", the result of {steps} steps"),
    };
    let share = draft.share.map(|share| share_words(draft.resource, share)).unwrap_or_default();
    let less = refused.map(|refused| format!(", not more: {refused}")).unwrap_or_default();
    format!("{container} {change}: {why}, {class}{steps}{share}{less}")
}

fn share_words(resource: Resource, Share { headroom, others }: Share) -> String {
    let headroom = match resource {
        Resource::Cpu => format!("{headroom}m"),
        Resource::Memory => Bytes(headroom).to_string(),
    };
    match others {
        0 => format!(", headroom {headroom}"),
        _ => format!(", headroom {headroom} shared with {others}"),
    }
}
