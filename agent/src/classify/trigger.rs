//! One threshold: hysteresis, dwell, and the doubling of the dwell.

use plimsoll_contract::Moment;

use crate::load::Path;
use crate::profile::{FlapLimit, Profile, Threshold};

/// On from one utilization, off below another, each after the utilization stayed there for the dwell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trigger {
    on: bool,
    /// When the threshold toward the other state was crossed, while it is.
    crossed: Option<Moment>,
}

impl Trigger {
    pub(super) fn new(on: bool) -> Self {
        Trigger { on, crossed: None }
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }

    /// Starts a pending dwell again from now: there was no data to count it with.
    pub(super) fn restart_dwell(&mut self, now: Moment) {
        self.crossed = self.crossed.map(|_| now);
    }

    /// Updates the state after a sweep; true when it switched. While not `complete`, the utilization is only a lower bound:
    /// it can prove that the threshold is exceeded, never that it is not. The dwell is doubled `doublings` times.
    pub(super) fn update(
        &mut self,
        paths: &[Path],
        threshold: Threshold,
        complete: bool,
        now: Moment,
        doublings: u32,
        profile: &Profile,
    ) -> bool {
        let above = |threshold: f64| paths.iter().any(|path| path.to >= threshold);
        let (crossed, dwell) = match self.on {
            false if above(threshold.on) => (Some(first_rise(paths, threshold.on, now)), profile.dwell_on),
            true if above(threshold.off) => (None, profile.dwell_off),
            _ if !complete => return false,
            false => (None, profile.dwell_on),
            true => (Some(last_fall(paths, threshold.off, now)), profile.dwell_off),
        };
        self.crossed = crossed.map(|crossed| self.crossed.unwrap_or(crossed));
        let doubled = dwell.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let dwell = doubled.min(profile.flaps.max_dwell.max(dwell));
        let due = self.crossed.is_some_and(|crossed| now.since(crossed) >= dwell);
        if due {
            *self = Trigger::new(!self.on);
        }
        due
    }
}

/// When the first candidate rose above the threshold; now, where no crossing is visible (a basis changed, a candidate was added).
fn first_rise(paths: &[Path], threshold: f64, now: Moment) -> Moment {
    let above = paths.iter().filter(|path| path.to >= threshold);
    above.filter_map(|path| path.crossing(threshold)).min().unwrap_or(now)
}

/// When the last candidate fell below the threshold; now, where no crossing is visible (a basis changed, a candidate was
/// removed).
fn last_fall(paths: &[Path], threshold: f64, now: Moment) -> Moment {
    paths.iter().filter_map(|path| path.crossing(threshold)).max().unwrap_or(now)
}

/// How often the triggers switched recently, and how often the dwell is doubled because of it.
///
/// [`FlapLimit::transitions`] switches within the window double the dwell and the count starts over, so that as many again
/// double it again; each window without a switch halves it once.
#[derive(Debug, Clone, Default)]
pub(super) struct FlapCount {
    recent: Vec<Moment>,
    doublings: u32,
    /// The last switch or halving.
    calm_since: Moment,
}

impl FlapCount {
    /// More doublings than this make no difference to any dwell.
    const MAX_DOUBLINGS: u32 = 16;

    pub(super) fn record(&mut self, now: Moment, limit: &FlapLimit) {
        self.recent.retain(|at| now.since(*at) < limit.window);
        self.recent.push(now);
        self.calm_since = now;
        if self.recent.len() >= usize::from(limit.transitions) {
            self.recent.clear();
            self.doublings = (self.doublings + 1).min(FlapCount::MAX_DOUBLINGS);
        }
    }

    pub(super) fn doublings(&mut self, now: Moment, limit: &FlapLimit) -> u32 {
        while self.doublings > 0 && !limit.window.is_zero() && now.since(self.calm_since) >= limit.window {
            self.doublings -= 1;
            self.calm_since = self.calm_since + limit.window;
        }
        self.doublings
    }
}
