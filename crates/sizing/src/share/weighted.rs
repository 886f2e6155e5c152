//! Weighted max-min fairness.

use std::cmp::Ordering;

use super::{Claim, finite};

/// Divides by urgency times the weight of the class: nobody gets more than is claimed, and what one does not claim is divided among the others. Shares are
/// rounded down to whole steps, and the steps left go by the largest remainder, then by place.
///
/// Returns what is granted, in the order of the claims. Whoever would get less than is of use gets nothing, the lightest first.
pub fn weighted(room: u64, step: u64, claims: &[Claim]) -> Vec<u64> {
    let step = step.max(1);
    let mut served: Vec<_> = (0..claims.len()).filter(|i| claims[*i].amount > 0).collect();
    // heaviest first
    served.sort_by(|a, b| {
        let (a, b) = (&claims[*a], &claims[*b]);
        share(b).total_cmp(&share(a)).then_with(|| a.before(b))
    });
    let (with, without): (Vec<_>, Vec<_>) = served.iter().partition(|i| share(&claims[**i]) > 0.0);
    let mut with = filling_order(claims, &with, share);
    // those without urgency share alike what the others leave
    let mut without = filling_order(claims, &without, |_| 1.0);
    let mut granted = vec![0; claims.len()];
    // Leaving one out changes what all others get: it is divided again each time, but nothing is sorted again.
    while let Some(lightest) = served.last() {
        let least_useful = if claims[*lightest].useful() > room {
            // also if it were alone
            Some(served.len() - 1)
        } else {
            let left = hand_out(room, step, claims, &with, &mut granted);
            hand_out(left, step, claims, &without, &mut granted);
            served.iter().rposition(|i| granted[*i] < claims[*i].useful())
        };
        let Some(place) = least_useful else { break };
        let useless = served.remove(place);
        granted[useless] = 0;
        let order = if share(&claims[useless]) > 0.0 { &mut with } else { &mut without };
        order.retain(|(i, _)| *i != useless);
    }
    granted
}

fn share(claim: &Claim) -> f64 {
    finite(claim.urgency) * finite(claim.weight)
}

/// With their shares: whoever claims least for the share is served first.
pub(super) fn filling_order(
    claims: &[Claim],
    served: &[usize],
    share: impl Fn(&Claim) -> f64,
) -> Vec<(usize, f64)> {
    let mut order: Vec<_> = served.iter().map(|i| (*i, share(&claims[*i]))).collect();
    let filled = |(i, share): &(usize, f64)| claims[*i].amount as f64 / share;
    order.sort_by(|a, b| {
        filled(a).total_cmp(&filled(b)).then_with(|| claims[a.0].place.cmp(&claims[b.0].place))
    });
    order
}

/// The shares before rounding: those who claim less than their share get what they claim, the others the same for each unit of share.
pub(super) fn exact(
    room: u64,
    claims: &[Claim],
    order: &[(usize, f64)],
) -> impl Iterator<Item = (usize, f64)> {
    let mut left = room as f64;
    let mut shares: f64 = order.iter().map(|(_, share)| share).sum();
    let mut filled = 0;
    for (i, share) in order {
        let amount = claims[*i].amount as f64;
        if left * share < amount * shares {
            break;
        }
        filled += 1;
        left -= amount;
        shares -= share;
    }
    let level = (left / shares).max(0.0);
    let (all, others) = order.split_at(filled);
    let all = all.iter().map(|(i, _)| (*i, claims[*i].amount as f64));
    all.chain(others.iter().map(move |(i, share)| (*i, level * share)))
}

/// One more step, or what is missing to the amount.
struct More {
    claim: usize,
    remainder: f64,
    amount: u64,
}

/// Returns what is left.
fn hand_out(room: u64, step: u64, claims: &[Claim], order: &[(usize, f64)], granted: &mut [u64]) -> u64 {
    let mut left = room;
    let mut more = Vec::with_capacity(order.len());
    for (i, exact) in exact(room, claims, order) {
        let amount = claims[i].amount;
        // exact but for the error of the arithmetic
        let whole = if exact + 1e-6 >= amount as f64 { amount } else { (exact + 1e-6) as u64 / step * step };
        granted[i] = whole.min(left);
        left -= granted[i];
        if granted[i] < amount {
            let next = step.min(amount - granted[i]);
            more.push(More { claim: i, remainder: exact - granted[i] as f64, amount: next });
        }
    }
    let before = |a: &More, b: &More| -> Ordering {
        b.remainder.total_cmp(&a.remainder).then_with(|| claims[a.claim].place.cmp(&claims[b.claim].place))
    };
    // There are whole steps for so many, whoever is before whom.
    let certain = usize::try_from(left / step).unwrap_or(usize::MAX).min(more.len());
    if 0 < certain && certain < more.len() {
        more.select_nth_unstable_by(certain, before);
    }
    let (first, others) = more.split_at_mut(certain);
    // What is left then is less than a step, unless some claimed less.
    let steps: u64 = first.iter().map(|more| more.amount).sum();
    if others.iter().any(|more| more.amount <= left - steps) {
        others.sort_by(before);
    }
    for More { claim, amount, .. } in more {
        if amount <= left {
            granted[claim] += amount;
            left -= amount;
        }
    }
    left
}
