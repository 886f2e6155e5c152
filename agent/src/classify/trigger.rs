//! One threshold: hysteresis, dwell, and the doubling of the dwell.

use std::time::Duration;

use crate::load::Path;
use crate::profile::{FlapLimit, Profile, Threshold};
use crate::sample::Moment;

/// On from some utilization, off below another, each after it stayed there for its dwell.
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

    /// Counts a pending dwell anew from now: there was no data to count it with.
    pub(super) fn restart(&mut self, now: Moment) {
        self.crossed = self.crossed.map(|_| now);
    }

    /// Takes in one sweep; true when it switched. While not `complete`, the value is only a lower bound: it can prove that
    /// the threshold is exceeded, never that it is not.
    pub(super) fn step(
        &mut self,
        paths: &[Path],
        threshold: Threshold,
        complete: bool,
        now: Moment,
        level: u32,
        profile: &Profile,
    ) -> bool {
        let above = |threshold: f64| paths.iter().any(|path| path.to >= threshold);
        let (crossed, dwell) = match self.on {
            false if above(threshold.on) => (Some(rise(paths, threshold.on, now)), profile.dwell_on),
            true if above(threshold.off) => (None, profile.dwell_off),
            _ if !complete => return false,
            false => (None, profile.dwell_on),
            true => (Some(fall(paths, threshold.off, now)), profile.dwell_off),
        };
        self.crossed = crossed.map(|crossed| self.crossed.unwrap_or(crossed));
        let due = self
            .crossed
            .is_some_and(|crossed| now.since(crossed) >= lengthened(dwell, level, &profile.flaps));
        if due {
            *self = Trigger::new(!self.on);
        }
        due
    }
}

/// When the first of the candidates rose above: where none can be seen crossing (a basis changed, a candidate came), now.
fn rise(paths: &[Path], threshold: f64, now: Moment) -> Moment {
    let risen = paths.iter().filter(|path| path.to >= threshold);
    risen.filter_map(|path| path.crossing(threshold)).min().unwrap_or(now)
}

/// When the last of the candidates fell below: where none can be seen crossing (a basis changed, a candidate went), now.
fn fall(paths: &[Path], threshold: f64, now: Moment) -> Moment {
    paths.iter().filter_map(|path| path.crossing(threshold)).max().unwrap_or(now)
}

fn lengthened(dwell: Duration, level: u32, limit: &FlapLimit) -> Duration {
    let doubled = dwell.saturating_mul(1_u32.checked_shl(level).unwrap_or(u32::MAX));
    doubled.min(limit.max_dwell.max(dwell))
}

/// How often the triggers switched lately, and how often the dwell is doubled for it.
///
/// Six switches within the window double it and the count starts again, so that six more double it again; each
/// window without a switch halves it once.
#[derive(Debug, Clone, Default)]
pub(super) struct Flaps {
    recent: Vec<Moment>,
    level: u32,
    /// The last switch or halving.
    calm_since: Moment,
}

impl Flaps {
    /// Doublings beyond this make no difference to any dwell.
    const MAX_LEVEL: u32 = 16;

    pub(super) fn record(&mut self, now: Moment, limit: &FlapLimit) {
        self.recent.retain(|at| now.since(*at) < limit.window);
        self.recent.push(now);
        self.calm_since = now;
        if self.recent.len() >= usize::from(limit.transitions) {
            self.recent.clear();
            self.level = (self.level + 1).min(Flaps::MAX_LEVEL);
        }
    }

    /// How often the dwell is doubled now.
    pub(super) fn level(&mut self, now: Moment, limit: &FlapLimit) -> u32 {
        while self.level > 0 && !limit.window.is_zero() && now.since(self.calm_since) >= limit.window {
            self.level -= 1;
            self.calm_since = Moment(self.calm_since.0.saturating_add(limit.window));
        }
        self.level
    }
}
