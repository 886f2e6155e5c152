//! How fast pods are written to: one token bucket for the cluster; its rate is halved when the API server throttles a write. Dry runs spend from
//! it too, at a tenth of its rate.
//!
//! Whole numbers only, so that a replay gives the same to the last digit.

use std::time::Duration;

use plimsoll_contract::Moment;

use crate::settings::BudgetSettings;

/// One token, in billionths: what a rate in thousandths a second gives in microseconds.
const TOKEN: u64 = 1_000_000_000;
/// The whole, in millionths.
const WHOLE: u64 = 1_000_000;
/// Several throttled writes within this time halve the rate once.
const TOGETHER: Duration = Duration::from_secs(1);
/// Writes, the next one included, of which the last are kept for what cannot wait.
const KEPT: u64 = 3;
/// Of this many writes that the rate allows, one may be a dry run.
const WRITES_PER_PROBE: u64 = 10;
/// The longest wait that a server's response is granted.
const LONGEST_HOLD: Duration = Duration::from_secs(5 * 60);

/// The write budget.
#[derive(Debug)]
pub(crate) struct Budget {
    settings: BudgetSettings,
    saved: u64,
    refilled: Moment,
    throttled: Option<(Moment, u64)>,
    hold_until: Moment,
    /// No dry run before then.
    probe_at: Moment,
}

impl Budget {
    /// With a full bucket.
    pub(crate) fn new(settings: BudgetSettings) -> Budget {
        let saved = settings.burst * TOKEN;
        Budget {
            settings,
            saved,
            refilled: Moment::default(),
            throttled: None,
            hold_until: Moment::default(),
            probe_at: Moment::default(),
        }
    }

    /// Writes per second allowed now, in thousandths.
    pub(crate) fn rate_milli(&self, now: Moment, nodes: usize) -> u64 {
        let s = &self.settings;
        let full =
            s.base_milli.saturating_add(s.per_node_milli.saturating_mul(nodes as u64)).min(s.most_milli);
        (full * self.share(now) / WHOLE).max(1)
    }

    /// Whether the budget allows one write now.
    pub(crate) fn allows(&mut self, now: Moment, nodes: usize, in_flight: usize) -> bool {
        self.refill(now, nodes);
        in_flight < self.settings.in_flight && now >= self.hold_until && self.saved >= TOKEN
    }

    /// Spends one write, if the budget allows one now.
    pub(crate) fn spend(&mut self, now: Moment, nodes: usize, in_flight: usize) -> bool {
        let allowed = self.allows(now, nodes, in_flight);
        if allowed {
            self.saved -= TOKEN;
        }
        allowed
    }

    /// Whether so little is left that it is kept for what cannot wait.
    pub(crate) fn is_scarce(&mut self, now: Moment, nodes: usize) -> bool {
        self.refill(now, nodes);
        self.saved < KEPT * TOKEN
    }

    /// Whether a dry run may be sent now, if a write may.
    pub(crate) fn allows_probe(&self, now: Moment) -> bool {
        now >= self.probe_at
    }

    /// A dry run is sent.
    pub(crate) fn probed(&mut self, now: Moment, nodes: usize) {
        let millis = 1_000_000 * WRITES_PER_PROBE / self.rate_milli(now, nodes);
        self.probe_at = now + Duration::from_millis(millis);
    }

    /// The server throttled a write: half the rate, an empty bucket, and nothing before `wait` is over.
    pub(crate) fn throttle(&mut self, now: Moment, wait: Option<Duration>) {
        let wait = wait.unwrap_or(self.settings.back_off).clamp(self.settings.back_off / 2, LONGEST_HOLD);
        // What was in flight together is refused together: that is one request to slow down.
        if self.throttled.is_none_or(|(at, _)| now >= at + TOGETHER) {
            self.throttled = Some((now, (self.share(now) / 2).max(WHOLE / 64)));
        }
        self.hold_until = self.hold_until.max(now + wait);
        self.saved = 0;
    }

    fn refill(&mut self, now: Moment, nodes: usize) {
        let micros = u64::try_from(now.since(self.refilled).as_micros()).unwrap_or(u64::MAX);
        // While it recovers the rate only rises, so the rate at the start is never too much.
        let rate = self.rate_milli(self.refilled, nodes);
        self.saved = self.saved.saturating_add(rate.saturating_mul(micros)).min(self.settings.burst * TOKEN);
        self.refilled = self.refilled.max(now);
    }

    /// The share of the full rate, in millionths: from half, or less, back to the whole.
    fn share(&self, now: Moment) -> u64 {
        let Some((since, from)) = self.throttled else {
            return WHOLE;
        };
        let passed = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        let whole = u64::try_from(self.settings.recovery.as_millis()).unwrap_or(u64::MAX).max(1);
        from + (WHOLE - from) * passed.min(whole) / whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: u64) -> Moment {
        Moment(Duration::from_secs(s))
    }

    #[test]
    fn the_rate_grows_with_the_nodes_up_to_its_limit() {
        let budget = Budget::new(BudgetSettings::default());
        let rates = [0, 100, 1_000, 4_500, 50_000].map(|nodes| budget.rate_milli(secs(0), nodes));
        assert_eq!(rates, [5_000, 6_000, 15_000, 50_000, 50_000]);
    }

    #[test]
    fn a_burst_then_the_rate_and_never_more_than_four_unanswered() {
        let mut budget = Budget::new(BudgetSettings::default());
        assert_eq!((0..100).filter(|_| budget.spend(secs(0), 0, 0)).count(), 20);
        assert_eq!((0..100).filter(|_| budget.spend(secs(2), 0, 0)).count(), 10);
        assert!(!budget.spend(secs(9), 0, 4));
        assert!(budget.spend(secs(9), 0, 3));
    }

    #[test]
    fn dry_runs_have_a_tenth_of_the_rate() {
        let mut budget = Budget::new(BudgetSettings::default());
        for nodes in [0, 50_000] {
            let (mut sent, start) = (0, budget.probe_at);
            for tenth in 0..6_000 {
                let now = start + Duration::from_millis(100 * tenth);
                if budget.allows_probe(now) {
                    budget.probed(now, nodes);
                    sent += 1;
                }
            }
            assert_eq!(sent * 10_000 / 600, budget.rate_milli(secs(0), nodes));
        }
    }

    #[test]
    fn throttling_halves_waits_and_is_over_a_minute_later() {
        let mut budget = Budget::new(BudgetSettings::default());
        budget.throttle(secs(10), Some(Duration::from_secs(7)));
        assert_eq!(budget.rate_milli(secs(10), 0), 2_500);
        assert!(!budget.spend(secs(16), 0, 0));
        assert!(budget.spend(secs(17), 0, 0));
        budget.throttle(secs(17), None);
        let once = budget.rate_milli(secs(17), 0);
        budget.throttle(secs(17), None);
        assert_eq!(budget.rate_milli(secs(17), 0), once, "refused together");
        assert!(budget.rate_milli(secs(17), 0) < 2_500);
        assert_eq!(budget.rate_milli(secs(77), 0), 5_000);
    }
}
