//! Weighted division as it is defined, without thought for the time it takes: it sorts and divides everything again for each claim that is left out.

use super::super::{Claim, finite};

pub(super) fn weighted(room: u64, step: u64, claims: &[Claim]) -> Vec<u64> {
    let step = step.max(1);
    let mut served: Vec<_> = (0..claims.len()).filter(|i| claims[*i].amount > 0).collect();
    served.sort_by(|a, b| {
        let (a, b) = (&claims[*a], &claims[*b]);
        share(b).total_cmp(&share(a)).then_with(|| a.before(b))
    });
    loop {
        let granted = divide(room, step, claims, &served);
        match served.iter().rposition(|i| granted[*i] < claims[*i].useful()) {
            Some(place) => served.remove(place),
            None => return granted,
        };
    }
}

fn share(claim: &Claim) -> f64 {
    finite(claim.urgency) * finite(claim.weight)
}

fn divide(room: u64, step: u64, claims: &[Claim], served: &[usize]) -> Vec<u64> {
    let mut granted = vec![0; claims.len()];
    let (with, without): (Vec<_>, Vec<_>) = served.iter().partition(|i| share(&claims[**i]) > 0.0);
    let left = hand_out(room, step, claims, &with, share, &mut granted);
    hand_out(left, step, claims, &without, |_| 1.0, &mut granted);
    granted
}

fn hand_out(
    room: u64,
    step: u64,
    claims: &[Claim],
    served: &[usize],
    share: impl Fn(&Claim) -> f64,
    granted: &mut [u64],
) -> u64 {
    let mut left = room;
    let mut remainders = Vec::with_capacity(served.len());
    for (i, exact) in exact(room, claims, served, share) {
        let amount = claims[i].amount;
        let whole = if exact + 1e-6 >= amount as f64 { amount } else { (exact + 1e-6) as u64 / step * step };
        granted[i] = whole.min(left);
        left -= granted[i];
        remainders.push((i, exact - granted[i] as f64));
    }
    remainders.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| claims[*a].place.cmp(&claims[*b].place)));
    for (i, _) in remainders {
        let more = step.min(claims[i].amount - granted[i]);
        if more <= left {
            granted[i] += more;
            left -= more;
        }
    }
    left
}

fn exact(room: u64, claims: &[Claim], served: &[usize], share: impl Fn(&Claim) -> f64) -> Vec<(usize, f64)> {
    let mut order: Vec<_> = served.iter().map(|i| (*i, share(&claims[*i]))).collect();
    let filled = |(i, share): &(usize, f64)| claims[*i].amount as f64 / share;
    order.sort_by(|a, b| {
        filled(a).total_cmp(&filled(b)).then_with(|| claims[a.0].place.cmp(&claims[b.0].place))
    });
    let mut left = room as f64;
    let mut shares: f64 = order.iter().map(|(_, share)| share).sum();
    let mut grants = Vec::with_capacity(order.len());
    let mut is_level = false;
    for (i, share) in order {
        let amount = claims[i].amount as f64;
        is_level |= left * share < amount * shares;
        if is_level {
            grants.push((i, (left / shares).max(0.0) * share));
        } else {
            grants.push((i, amount));
            left -= amount;
            shares -= share;
        }
    }
    grants
}
