//! From utilization to band: two triggers with hysteresis and dwell, and what happens when data is missing.
//!
//! ```text
//!              warm-up over, band of the smoothed value
//!   Fresh ---------------------------------------------> Known <---- announced by the roster (before any data of ours)
//!     ^                                                  |   ^
//!     |                        no data for `patience`    v   |  data again
//!     +---- no data for `memory` ------------------- Suspended
//! ```
//!
//! Pure. `Fresh` and `Suspended` are `unknown`. What is missing can hold a band up or make it unknown; it never lowers one:
//! while a candidate is silent, bands only rise, and only what the others prove by themselves is kept. Proof: `classify/tests.rs`.

mod trigger;

use jiff::Timestamp;
use plimsoll_contract::Band;
use plimsoll_contract::report::UnknownReason;

use crate::load::Path;
use crate::profile::Profile;
use crate::sample::Moment;
use trigger::{Flaps, Trigger};

/// What one sweep says of one resource of one pod.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The candidates whose utilization is known.
    pub paths: &'a [Path],
    /// Since when there is data of any of them.
    pub data_since: Option<Moment>,
    /// Why one of the candidates is not known, if any is not.
    pub missing: Option<UnknownReason>,
    /// Whether a container is expected back: it went less than [`Profile::memory`] ago.
    pub held: bool,
}

/// A change of band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Band,
    /// What it is.
    pub to: Band,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No band yet, and why.
    Fresh(UnknownReason),
    /// The triggers say it.
    Known,
    /// The triggers stand, but there is no data, and why.
    Suspended(UnknownReason),
}

/// The band of one resource of one pod.
#[derive(Debug, Clone)]
pub struct Classifier {
    phase: Phase,
    moderate: Trigger,
    high: Trigger,
    flaps: Flaps,
    /// Since when the band holds; while unknown, since when there is data.
    since: Option<Timestamp>,
    /// The last sweep that gave what a band can stand on.
    fed: Option<Moment>,
    /// The last sweep in which any candidate was known.
    seen: Option<Moment>,
    /// Since when a candidate is silent.
    silent: Option<Moment>,
    /// Whether it ever had a band: from then on the roster's announcement is older news.
    classified: bool,
}

impl Default for Classifier {
    fn default() -> Self {
        Classifier {
            phase: Phase::Fresh(UnknownReason::WarmingUp),
            moderate: Trigger::default(),
            high: Trigger::default(),
            flaps: Flaps::default(),
            since: None,
            fed: None,
            seen: None,
            silent: None,
            classified: false,
        }
    }
}

impl Classifier {
    /// The band.
    pub fn band(&self) -> Band {
        match (self.phase, self.moderate.is_on(), self.high.is_on()) {
            (Phase::Fresh(_) | Phase::Suspended(_), ..) => Band::Unknown,
            (Phase::Known, false, false) => Band::Low,
            (Phase::Known, true, true) => Band::High,
            (Phase::Known, ..) => Band::Moderate,
        }
    }

    /// Why the band is unknown, if it is.
    pub fn reason(&self) -> Option<UnknownReason> {
        match self.phase {
            Phase::Known => None,
            Phase::Fresh(reason) | Phase::Suspended(reason) => Some(reason),
        }
    }

    /// Since when the band holds; while unknown, since when there is data; absent if not known.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Starts from the band announced on the pod, unless it had one of its own.
    pub fn announce(&mut self, band: Band, now: Moment) {
        if self.classified || !band.is_known() {
            return;
        }
        self.begin(band >= Band::Moderate, band >= Band::High);
        (self.fed, self.seen) = (Some(now), Some(now));
        self.since = None;
    }

    /// Takes in one sweep. Answers with the change of band, if there is one.
    pub fn step(
        &mut self,
        evidence: &Evidence<'_>,
        now: Moment,
        wall: Timestamp,
        profile: &Profile,
    ) -> Option<Change> {
        let from = self.band();
        if !matches!(self.phase, Phase::Fresh(_))
            && self.fed.is_some_and(|fed| now.since(fed) > profile.memory)
        {
            self.forget();
        }
        match self.phase {
            Phase::Fresh(_) => self.start(evidence, now, wall, profile),
            Phase::Known | Phase::Suspended(_) => self.follow(evidence, now, profile),
        }
        let to = self.band();
        if from == to {
            return None;
        }
        self.since = if to.is_known() { Some(wall) } else { None };
        Some(Change { from, to })
    }

    /// From nothing to a band: once there is enough data, of every candidate or proving `moderate` or more by itself.
    fn start(&mut self, evidence: &Evidence<'_>, now: Moment, wall: Timestamp, profile: &Profile) {
        let age = evidence.data_since.map(|since| now.since(since));
        let began = age.and_then(|age| wall.checked_sub(age).ok());
        self.since = self.since.or(began).filter(|_| began.is_some());
        self.phase = Phase::Fresh(evidence.missing.unwrap_or(UnknownReason::WarmingUp));
        let Some(hottest) = hottest(evidence.paths) else {
            return;
        };
        let (moderate, high) = (hottest >= profile.moderate.on, hottest >= profile.high.on);
        let complete = evidence.missing.is_none() && !evidence.held;
        if age.is_some_and(|age| age >= profile.warm_up) && (complete || moderate) {
            self.begin(moderate, high);
            (self.fed, self.seen) = (Some(now), Some(now));
        }
    }

    /// From a band to the next.
    fn follow(&mut self, evidence: &Evidence<'_>, now: Moment, profile: &Profile) {
        let stale = |last: Option<Moment>| last.is_some_and(|last| now.since(last) > profile.longest_gap());
        let (unseen, unfed) = (stale(self.seen), stale(self.fed));
        for trigger in [&mut self.moderate, &mut self.high] {
            // a rise is proven by any candidate, a fall only by all of them: time without that proof is no dwell
            if unseen || (trigger.is_on() && unfed) {
                trigger.restart(now);
            }
        }
        self.seen = if evidence.paths.is_empty() { self.seen } else { Some(now) };
        let complete = evidence.missing.is_none() && !evidence.held && !evidence.paths.is_empty();
        let mut dwell_level = self.flaps.level(now, &profile.flaps);
        for (trigger, threshold) in [(&mut self.moderate, profile.moderate), (&mut self.high, profile.high)] {
            if trigger.step(evidence.paths, threshold, complete, now, dwell_level, profile) {
                self.flaps.record(now, &profile.flaps);
                dwell_level = self.flaps.level(now, &profile.flaps);
            }
        }
        self.mind_the_silent(evidence, complete, now, profile);
    }

    fn mind_the_silent(&mut self, evidence: &Evidence<'_>, complete: bool, now: Moment, profile: &Profile) {
        let awaited = evidence.held && evidence.missing.is_none();
        if complete || self.proven(evidence.paths, profile) || (awaited && !evidence.paths.is_empty()) {
            self.fed = Some(now);
            self.silent = None;
            self.phase = Phase::Known;
            return;
        }
        if awaited {
            return;
        }
        let reason = evidence.missing.unwrap_or(UnknownReason::Absent);
        let silent = *self.silent.get_or_insert(now);
        if now.since(silent) > profile.patience() || matches!(self.phase, Phase::Suspended(_)) {
            self.phase = Phase::Suspended(reason);
        }
    }

    /// Whether these candidates alone keep the band where it is. They never prove `low`: the silent one may be hot.
    fn proven(&self, paths: &[Path], profile: &Profile) -> bool {
        let least = match (self.moderate.is_on(), self.high.is_on()) {
            (false, false) => return false,
            (_, true) => profile.high.off,
            (true, false) => profile.moderate.off,
        };
        hottest(paths).is_some_and(|hottest| hottest >= least)
    }

    fn begin(&mut self, moderate: bool, high: bool) {
        self.moderate = Trigger::new(moderate);
        self.high = Trigger::new(high);
        self.phase = Phase::Known;
        self.silent = None;
        self.classified = true;
    }

    fn forget(&mut self) {
        self.phase = Phase::Fresh(UnknownReason::WarmingUp);
        self.silent = None;
        self.since = None;
        self.fed = None;
    }
}

fn hottest(paths: &[Path]) -> Option<f64> {
    paths.iter().map(|path| path.to).reduce(f64::max)
}

#[cfg(test)]
mod tests;
