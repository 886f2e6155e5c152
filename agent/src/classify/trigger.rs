//! One threshold: switched on by a burst or by the mean of a minute, off by a minute with neither.

use std::time::Duration;

use plimsoll_contract::Moment;

use super::Signal;
use crate::profile::{FlapLimit, Profile};

/// Whether the utilization counts as above one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trigger {
    on: bool,
    /// When it was switched on, while it is.
    since: Moment,
}

/// Whether the utilization has fallen below a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fall {
    /// No, or that is not proven.
    No,
    /// Its mean has; from this moment on the last burst is long enough ago, too.
    At(Moment),
}

impl Trigger {
    pub(super) fn new(on: bool, now: Moment) -> Self {
        Trigger { on, since: now }
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }

    /// Switches it on or off.
    pub(super) fn switch(&mut self, on: bool, now: Moment) {
        *self = Trigger::new(on, now);
    }

    /// Whether the utilization has fallen below threshold number `k`. While not `complete`, it is only a lower bound: it can prove
    /// that the threshold is exceeded, never that it is not.
    pub(super) fn fall(
        self,
        k: usize,
        signals: &[Signal],
        complete: bool,
        window: Duration,
        profile: &Profile,
    ) -> Fall {
        let off = profile.thresholds[k] - profile.margin;
        if !complete || !signals.iter().all(|signal| signal.complete && signal.mean < off) {
            return Fall::No;
        }
        let bursts = signals.iter().filter_map(|signal| signal.last_bursts[k]);
        Fall::At(bursts.fold(self.since, |last, (at, _)| last.max(at)) + window)
    }
}

/// How often the band changed recently, and by how much bursts and means must be longer because of it.
///
/// [`FlapLimit::changes`] within [`FlapLimit::window`] double both and the count starts over, so that as many again double them
/// again, up to [`FlapLimit::most`]; each [`FlapLimit::calm`] without a change halves them once.
#[derive(Debug, Clone, Default)]
pub(super) struct FlapCount {
    recent: Vec<Moment>,
    doublings: u32,
    /// The last change or halving.
    calm_since: Moment,
}

impl FlapCount {
    pub(super) fn record(&mut self, now: Moment, limit: &FlapLimit) {
        self.recent.retain(|at| now.since(*at) < limit.window);
        self.recent.push(now);
        self.calm_since = now;
        if self.recent.len() >= usize::from(limit.changes) {
            self.recent.clear();
            self.doublings = (self.doublings + 1).min(limit.most.ilog2());
        }
    }

    /// The factor now: 1, 2, 4 and so on.
    pub(super) fn factor(&mut self, now: Moment, limit: &FlapLimit) -> u32 {
        while self.doublings > 0 && !limit.calm.is_zero() && now.since(self.calm_since) >= limit.calm {
            self.doublings -= 1;
            self.calm_since = self.calm_since + limit.calm;
        }
        1 << self.doublings
    }
}
