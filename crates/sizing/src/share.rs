//! What each gets when headroom is short: `tiered` serves one class after the other, `weighted` all at once by urgency times the weight of the class.
//!
//! Amounts are whole millicores or bytes. No more than the room is granted, no more than an amount claimed, and nothing below what is useful.

use std::cmp::Ordering;

mod weighted;
pub use weighted::weighted;

#[cfg(test)]
mod tests;

/// Share of what a class finds that it leaves to the classes below it, so that they do not starve.
pub const KEPT_FOR_LOWER: f64 = 0.10;

/// One container that is to grow, now or in a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// Its place in an order that stays the same: the first one wins a tie.
    pub place: usize,
    /// Of its class: lower is served first.
    pub rank: u32,
    /// Of its class.
    pub weight: f64,
    /// See [`crate::urgency::score`].
    pub urgency: f64,
    /// How much more it wants.
    pub amount: u64,
    /// The least that is of use; less is not granted.
    pub least: u64,
    /// It may not grow yet: what is granted is kept for it.
    pub waits: bool,
}

impl Claim {
    /// Order of service: rank, those that may grow now, urgency, place.
    fn before(&self, other: &Self) -> Ordering {
        let by_urgency = || finite(other.urgency).total_cmp(&finite(self.urgency));
        let by_class = self.rank.cmp(&other.rank).then(self.waits.cmp(&other.waits));
        by_class.then_with(by_urgency).then_with(|| self.place.cmp(&other.place))
    }

    /// What it gets out of `room` on top of `granted`: all that it wants, or as many whole steps as there are, if they are of use.
    fn take(&self, granted: u64, room: u64, step: u64) -> u64 {
        let wanted = self.amount - granted;
        let part = if wanted <= room { wanted } else { room / step * step };
        if granted + part >= self.useful() { part } else { 0 }
    }

    fn useful(&self) -> u64 {
        self.least.min(self.amount)
    }
}

/// Serves classes by rank, and within one the most urgent first, those that wait last; the last one served gets the rest. Each class leaves
/// `kept` ([`KEPT_FOR_LOWER`]) of what it finds to those below, if they claim it and the class can use the rest; of what its waiting claims get
/// it leaves nothing yet: else those below would get that part by part. What they cannot use goes back, in the same order.
///
/// Returns what is granted, in the order of the claims.
pub fn tiered(room: u64, step: u64, kept: f64, claims: &[Claim]) -> Vec<u64> {
    let mut order: Vec<_> = (0..claims.len()).collect();
    order.sort_by(|a, b| claims[*a].before(&claims[*b]));
    let mut granted = vec![0; claims.len()];
    let mut left = room;
    let (kept, step) = (kept.clamp(0.0, 0.99), step.max(1));
    for class in order.chunk_by(|a, b| claims[*a].rank == claims[*b].rank) {
        let lower = claims.iter().filter(|claim| claim.rank > claims[class[0]].rank);
        let claimed = lower.fold(0u64, |sum, claim| sum.saturating_add(claim.amount));
        // the first that is served may take what it needs from what is kept too, if less is of no use to it: else those below get all of that
        let mut serve = |members: &[usize], room: u64, all: u64| {
            let mut taken = 0;
            for &i in members {
                granted[i] = claims[i].take(0, room.saturating_sub(taken), step);
                if taken == 0 && granted[i] == 0 {
                    let least = claims[i].useful().next_multiple_of(step);
                    granted[i] = claims[i].take(0, all.min(least), step);
                }
                taken += granted[i];
            }
            taken
        };
        let (now, waiting) = class.split_at(class.partition_point(|i| !claims[*i].waits));
        let keep = ((left as f64 * kept) as u64).min(claimed);
        let taken = serve(now, left - keep, left);
        left -= taken;
        // in proportion to what was taken
        let keep = keep.min(left).min((taken as f64 * kept / (1.0 - kept)) as u64) / step * step;
        left -= serve(waiting, left - keep, left - keep);
    }
    for i in order {
        let part = claims[i].take(granted[i], left, step);
        granted[i] += part;
        left -= part;
    }
    granted
}

fn finite(number: f64) -> f64 {
    if number.is_finite() { number.max(0.0) } else { 0.0 }
}
