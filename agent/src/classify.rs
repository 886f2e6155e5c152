//! From utilization to band: two thresholds with hysteresis and dwell, and what happens while data is missing.
//!
//! ```text
//!              warm-up over: band of the smoothed utilization
//!   Fresh ---------------------------------------------> Known <---- announced by the roster (before any data of our own)
//!     ^                                                  |   ^
//!     |                        no data for `unknown_after` v  |  data again
//!     +---- no data for `retention` ---------------- Suspended
//! ```
//!
//! Pure. `Fresh` and `Suspended` are `unknown`. Missing data can hold a band up or make it unknown; it never lowers one:
//! while a candidate is unknown, bands only rise, and only what the other candidates prove by themselves is kept. Proof:
//! `classify/tests.rs`.

mod trigger;

use jiff::Timestamp;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::{Band, Moment};

use crate::load::Path;
use crate::profile::Profile;
use trigger::{FlapCount, Trigger};

/// What one sweep found of one resource of one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    /// The candidates whose utilization is known.
    pub(crate) paths: &'a [Path],
    /// Since when any of them has data.
    pub(crate) data_since: Option<Moment>,
    /// Why one of the candidates is unknown, if any is.
    pub(crate) missing: Option<UnknownReason>,
    /// Whether a container is expected back: it stopped less than [`Profile::retention`] ago.
    pub(crate) restarting: bool,
}

/// A change of band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BandChange {
    pub(crate) from: Band,
    pub(crate) to: Band,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No band yet, and why.
    Fresh(UnknownReason),
    /// The triggers determine the band.
    Known,
    /// The triggers keep their state, but there is no data, and why.
    Suspended(UnknownReason),
}

/// The band of one resource of one pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classifier {
    phase: Phase,
    moderate: Trigger,
    high: Trigger,
    flaps: FlapCount,
    since: Option<Timestamp>,
    /// The last sweep with enough data to support the band.
    supported: Option<Moment>,
    /// The last sweep in which any candidate was known.
    seen: Option<Moment>,
    /// Since when data is missing.
    missing_since: Option<Moment>,
    /// Whether it ever had a band: from then on the roster's announcement is out of date.
    classified: bool,
}

impl Default for Phase {
    fn default() -> Self {
        Phase::Fresh(UnknownReason::WarmingUp)
    }
}

impl Classifier {
    pub(crate) fn band(&self) -> Band {
        match (self.phase, self.moderate.is_on(), self.high.is_on()) {
            (Phase::Fresh(_) | Phase::Suspended(_), ..) => Band::Unknown,
            (Phase::Known, false, false) => Band::Low,
            (Phase::Known, true, true) => Band::High,
            (Phase::Known, ..) => Band::Moderate,
        }
    }

    /// Why the band is unknown, if it is.
    pub(crate) fn reason(&self) -> Option<UnknownReason> {
        match self.phase {
            Phase::Known => None,
            Phase::Fresh(reason) | Phase::Suspended(reason) => Some(reason),
        }
    }

    /// Since when the band holds; while it is unknown, since when there is data; absent if not known.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Starts from the band announced on the pod, unless there already was one of our own.
    pub(crate) fn announce(&mut self, band: Band, now: Moment) {
        if self.classified || !band.is_known() {
            return;
        }
        self.begin(band >= Band::Moderate, band >= Band::High, now);
        self.since = None;
    }

    /// Updates the band after a sweep. Returns the change, if there is one.
    pub(crate) fn update(
        &mut self,
        observation: &Observation<'_>,
        now: Moment,
        wall: Timestamp,
        profile: &Profile,
    ) -> Option<BandChange> {
        let from = self.band();
        let fresh = matches!(self.phase, Phase::Fresh(_));
        if !fresh && self.supported.is_some_and(|last| now.since(last) > profile.retention) {
            self.phase = Phase::default();
            (self.since, self.supported, self.missing_since) = (None, None, None);
        }
        match self.phase {
            Phase::Fresh(_) => self.classify_first(observation, now, wall, profile),
            Phase::Known | Phase::Suspended(_) => self.follow(observation, now, profile),
        }
        let to = self.band();
        if from == to {
            return None;
        }
        self.since = if to.is_known() { Some(wall) } else { None };
        Some(BandChange { from, to })
    }

    /// The first band: once there is enough data, either of every candidate or proving `moderate` or more by itself.
    fn classify_first(
        &mut self,
        observation: &Observation<'_>,
        now: Moment,
        wall: Timestamp,
        profile: &Profile,
    ) {
        let age = observation.data_since.map(|since| now.since(since));
        let began = age.and_then(|age| wall.checked_sub(age).ok());
        self.since = self.since.or(began).filter(|_| began.is_some());
        self.phase = Phase::Fresh(observation.missing.unwrap_or(UnknownReason::WarmingUp));
        let Some(hottest) = hottest(observation.paths) else {
            return;
        };
        let (moderate, high) = (hottest >= profile.moderate.on, hottest >= profile.high.on);
        let complete = observation.missing.is_none() && !observation.restarting;
        if age.is_some_and(|age| age >= profile.warm_up) && (complete || moderate) {
            self.begin(moderate, high, now);
        }
    }

    /// From one band to the next.
    fn follow(&mut self, observation: &Observation<'_>, now: Moment, profile: &Profile) {
        let stale = |last: Option<Moment>| last.is_some_and(|last| now.since(last) > profile.longest_gap());
        let (unseen, unsupported) = (stale(self.seen), stale(self.supported));
        for trigger in [&mut self.moderate, &mut self.high] {
            // any candidate proves a rise, only all of them together prove a fall: time without that proof is no dwell
            if unseen || (trigger.is_on() && unsupported) {
                trigger.restart_dwell(now);
            }
        }
        let known = !observation.paths.is_empty();
        self.seen = if known { Some(now) } else { self.seen };
        let complete = known && observation.missing.is_none() && !observation.restarting;
        let mut doublings = self.flaps.doublings(now, &profile.flaps);
        for (trigger, threshold) in [(&mut self.moderate, profile.moderate), (&mut self.high, profile.high)] {
            if trigger.update(observation.paths, threshold, complete, now, doublings, profile) {
                self.flaps.record(now, &profile.flaps);
                doublings = self.flaps.doublings(now, &profile.flaps);
            }
        }

        let only_restarting = observation.restarting && observation.missing.is_none();
        if complete || self.is_proven(observation.paths, profile) || (only_restarting && known) {
            self.supported = Some(now);
            self.missing_since = None;
            self.phase = Phase::Known;
        } else if !only_restarting {
            let reason = observation.missing.unwrap_or(UnknownReason::Absent);
            let missing_since = *self.missing_since.get_or_insert(now);
            if now.since(missing_since) > profile.unknown_after() || matches!(self.phase, Phase::Suspended(_))
            {
                self.phase = Phase::Suspended(reason);
            }
        }
    }

    /// Whether these candidates alone keep the band where it is. They never prove `low`: an unknown one may be hot.
    fn is_proven(&self, paths: &[Path], profile: &Profile) -> bool {
        let min = match (self.moderate.is_on(), self.high.is_on()) {
            (false, false) => return false,
            (_, true) => profile.high.off,
            (true, false) => profile.moderate.off,
        };
        hottest(paths).is_some_and(|hottest| hottest >= min)
    }

    fn begin(&mut self, moderate: bool, high: bool, now: Moment) {
        self.moderate = Trigger::new(moderate);
        self.high = Trigger::new(high);
        self.phase = Phase::Known;
        (self.supported, self.seen) = (Some(now), Some(now));
        self.missing_since = None;
        self.classified = true;
    }
}

fn hottest(paths: &[Path]) -> Option<f64> {
    paths.iter().map(|path| path.to).reduce(f64::max)
}

#[cfg(test)]
mod tests;
