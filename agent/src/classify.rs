//! From utilization to band: a burst or a minute, and what happens while data is missing.
//!
//! ```text
//!              warm-up over: band of the mean so far
//!   Fresh ---------------------------------------------> Known <---- announced by the roster (before any data of our own)
//!     ^                                                  |   ^
//!     |                        no data for `unknown_after` v  |  data again
//!     +---- no data for `retention` ---------------- Suspended
//! ```
//!
//! A threshold is switched on by a burst above it, or by the mean of the last minute, and off when for a minute there was no
//! burst and the mean is below it (`docs/adr/0010`). `Fresh` and `Suspended` are `unknown`. Missing data can hold a band up or
//! make it unknown; it never lowers one: while a candidate is unknown, bands only rise, and only what the other candidates
//! prove by themselves is kept.
//!
//! Pure. Proof: `classify/tests.rs`, with the traces that the rule was chosen on in `classify/tests/traces.rs`.

mod trigger;

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::load::{Rule, UnknownReason};
use plimsoll_contract::{Band, Moment};

use crate::load::Excess;
use crate::profile::Profile;
use trigger::{Fall, FlapCount, Trigger};

/// What one sweep found of one resource of one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    /// The candidates whose utilization is known.
    pub(crate) signals: &'a [Signal],
    /// Since when any of them has data.
    pub(crate) data_since: Option<Moment>,
    /// Why one of the candidates is unknown, if any is.
    pub(crate) missing: Option<UnknownReason>,
    /// Whether a container is expected back: it stopped less than [`Profile::retention`] ago, and has not run for long since.
    pub(crate) restarting: bool,
    /// Whether the known candidates by themselves can be enough for a first band.
    pub(crate) conclusive: bool,
}

/// What matters of one candidate's utilization for its band; the two thresholds in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Signal {
    /// Mean utilization of the window, or of the time with data in it.
    pub(crate) mean: f64,
    /// That time, in seconds.
    pub(crate) seconds: f64,
    /// Whether there is data of the whole window.
    pub(crate) complete: bool,
    /// The bursts that were completed in this sweep.
    pub(crate) bursts: [Option<Excess>; 2],
    /// The last bursts, and when they were completed.
    pub(crate) last_bursts: [Option<(Moment, Excess)>; 2],
    /// Whether it has run for long enough, since its last restart, to support a band.
    pub(crate) settled: bool,
    /// How much higher than another one its utilization must be to be named.
    pub(crate) margin: f64,
}

/// A change of band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BandChange {
    pub(crate) from: Band,
    pub(crate) to: Band,
    /// What made the new band; absent if it is unknown.
    pub(crate) origin: Option<Origin>,
}

/// What made a band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Origin {
    /// Index of the signal.
    pub(crate) candidate: usize,
    pub(crate) rule: Rule,
    /// How long the burst took, or over how long the mean is.
    pub(crate) seconds: f64,
    /// Mean utilization during that time.
    pub(crate) utilization: f64,
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
    /// Since when data is missing.
    missing_since: Option<Moment>,
    /// The last band that was known.
    last_known: Option<Band>,
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
            (Phase::Known, _, true) => Band::High,
            (Phase::Known, true, false) => Band::Moderate,
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

    /// How much longer than usual bursts and means must be, because the band changed often.
    pub(crate) fn factor(&mut self, now: Moment, profile: &Profile) -> u32 {
        self.flaps.factor(now, &profile.flaps)
    }

    /// Starts from the band announced on the pod, unless there already was one of our own.
    pub(crate) fn announce(&mut self, band: Band, now: Moment) {
        if self.classified || !band.is_known() {
            return;
        }
        self.begin(band, now);
        self.since = None;
    }

    /// Updates the band after a sweep. Returns the change, if there is one. `window` is [`Profile::window`] times the
    /// [factor](Classifier::factor), which the signals were computed with.
    pub(crate) fn update(
        &mut self,
        observation: &Observation<'_>,
        now: Moment,
        wall: Timestamp,
        window: Duration,
        profile: &Profile,
    ) -> Option<BandChange> {
        let from = self.band();
        let fresh = matches!(self.phase, Phase::Fresh(_));
        if !fresh && self.supported.is_some_and(|last| now.since(last) > profile.retention) {
            self.phase = Phase::default();
            (self.since, self.supported, self.missing_since) = (None, None, None);
        }
        let origin = match self.phase {
            Phase::Fresh(_) => self.classify_first(observation, now, wall, profile),
            Phase::Known | Phase::Suspended(_) => self.follow(observation, now, window, profile),
        };
        let to = self.band();
        if from == to {
            return None;
        }
        self.since = if to.is_known() { Some(wall) } else { None };
        if to.is_known() && self.last_known.replace(to) != Some(to) {
            self.flaps.record(now, &profile.flaps);
        }
        // after a time without data the band is the same as before
        let held = || match to {
            Band::High => holding_origin(1, observation.signals, now, window, profile),
            Band::Moderate => holding_origin(0, observation.signals, now, window, profile),
            Band::Low | Band::Unknown => mean_as_origin(observation.signals),
        };
        Some(BandChange { from, to, origin: origin.or_else(held).filter(|_| to.is_known()) })
    }

    /// The first band: once there is enough data, either of every candidate or proving `moderate` or more by itself.
    fn classify_first(
        &mut self,
        observation: &Observation<'_>,
        now: Moment,
        wall: Timestamp,
        profile: &Profile,
    ) -> Option<Origin> {
        let age = observation.data_since.map(|since| now.since(since));
        let began = age.and_then(|age| wall.checked_sub(age).ok());
        self.since = self.since.or(began).filter(|_| began.is_some());
        self.phase = match (self.phase, observation.missing) {
            // between two crashes it runs for a moment: that is not the beginning of something new
            (Phase::Fresh(UnknownReason::NotRunning), None | Some(UnknownReason::WarmingUp)) => self.phase,
            (_, missing) => Phase::Fresh(missing.unwrap_or(UnknownReason::WarmingUp)),
        };
        let origin = mean_as_origin(observation.signals)?;
        let band = profile.band(origin.utilization);
        let complete = observation.missing.is_none() && !observation.restarting;
        let proven = observation.conclusive && band >= Band::Moderate;
        // a container that was added a moment ago says little by itself
        let enough = profile.warm_up.as_secs_f64() / 2.0;
        let lasting = observation.signals.iter().all(|signal| signal.seconds >= enough);
        if age.is_some_and(|age| age >= profile.warm_up) && lasting && (complete || proven) {
            self.begin(band, now);
        }
        Some(origin)
    }

    /// From one band to the next. Returns what made it, if it changed.
    fn follow(
        &mut self,
        observation: &Observation<'_>,
        now: Moment,
        window: Duration,
        profile: &Profile,
    ) -> Option<Origin> {
        let &Observation { signals, missing, restarting, .. } = observation;
        let complete = !signals.is_empty() && missing.is_none() && !restarting;
        let mut origin = None;
        for (k, trigger) in [&mut self.moderate, &mut self.high].into_iter().enumerate() {
            let cause = rise(k, signals, profile.thresholds[k]);
            if let (false, Some(cause)) = (trigger.is_on(), cause) {
                trigger.switch(true, now);
                origin = Some(cause);
            }
        }
        if self.high.is_on() && !self.moderate.is_on() {
            self.moderate.switch(true, now);
        }
        let falls = [
            self.moderate.fall(0, signals, complete, window, profile),
            self.high.fall(1, signals, complete, window, profile),
        ];
        let due = |fall: Fall| matches!(fall, Fall::At(at) if now >= at);
        match (self.high.is_on(), falls[0], falls[1]) {
            // a load that ended is one change: the bursts of both thresholds ended within a few seconds of each other
            (true, Fall::At(moderate), Fall::At(high)) if now >= high && moderate <= high + window / 3 => {
                if now >= moderate {
                    self.high.switch(false, now);
                    self.moderate.switch(false, now);
                    origin = mean_as_origin(signals);
                }
            }
            (true, _, fall) => {
                if due(fall) {
                    self.high.switch(false, now);
                    origin = holding_origin(0, signals, now, window, profile);
                }
            }
            (false, fall, _) => {
                if self.moderate.is_on() && due(fall) {
                    self.moderate.switch(false, now);
                    origin = mean_as_origin(signals);
                }
            }
        }
        self.support(observation, complete, now, window, profile);
        origin
    }

    /// Whether the data supports the band where it is now, and what to do if not.
    fn support(
        &mut self,
        observation: &Observation<'_>,
        complete: bool,
        now: Moment,
        window: Duration,
        profile: &Profile,
    ) {
        let &Observation { signals, missing, restarting, .. } = observation;
        let others_known = restarting && missing.is_none() && signals.iter().any(|signal| signal.settled);
        if complete || others_known || self.is_proven(signals, now, window, profile) {
            self.supported = Some(now);
            self.missing_since = None;
            self.phase = Phase::Known;
            return;
        }
        // a container that is expected back: the band holds, until what supported it is too old
        if missing == Some(UnknownReason::NotRunning) || (restarting && missing.is_none()) {
            self.missing_since = None;
            return;
        }
        let missing_since = *self.missing_since.get_or_insert(now);
        if now.since(missing_since) > profile.unknown_after() || matches!(self.phase, Phase::Suspended(_)) {
            self.phase = Phase::Suspended(missing.unwrap_or(UnknownReason::Absent));
        }
    }

    /// Whether these candidates alone keep the band where it is. They never prove `low`: an unknown one may be hot.
    fn is_proven(&self, signals: &[Signal], now: Moment, window: Duration, profile: &Profile) -> bool {
        let k = match (self.moderate.is_on(), self.high.is_on()) {
            (false, false) => return false,
            (_, true) => 1,
            (true, false) => 0,
        };
        let off = profile.thresholds[k] - profile.margin;
        let burst = |signal: &Signal| signal.last_bursts[k].is_some_and(|(last, _)| now.since(last) < window);
        signals.iter().any(|signal| signal.settled && (signal.mean >= off || burst(signal)))
    }

    fn begin(&mut self, band: Band, now: Moment) {
        self.moderate = Trigger::new(band >= Band::Moderate, now);
        self.high = Trigger::new(band >= Band::High, now);
        self.phase = Phase::Known;
        self.supported = Some(now);
        self.missing_since = None;
        self.classified = true;
    }
}

/// Why threshold number `k` is exceeded now, if it is: by a burst, or by the mean of the whole window.
fn rise(k: usize, signals: &[Signal], threshold: f64) -> Option<Origin> {
    let bursts = signals
        .iter()
        .enumerate()
        .filter_map(|(candidate, signal)| Some(of_burst(candidate, signal.bursts[k]?)));
    let means = signals.iter().enumerate().filter(|(_, signal)| signal.complete && signal.mean >= threshold);
    highest(signals, bursts).or_else(|| highest(signals, means.map(of_mean)))
}

/// Why threshold number `k`, which is on, does not fall: the mean, or else the last burst.
fn holding_origin(
    k: usize,
    signals: &[Signal],
    now: Moment,
    window: Duration,
    profile: &Profile,
) -> Option<Origin> {
    let bursts = signals.iter().enumerate().filter_map(|(candidate, signal)| {
        let (last, burst) = signal.last_bursts[k]?;
        (now.since(last) < window).then_some(of_burst(candidate, burst))
    });
    let mean = mean_as_origin(signals)?;
    if mean.utilization >= profile.thresholds[k] {
        Some(mean)
    } else {
        highest(signals, bursts).or(Some(mean))
    }
}

/// The highest mean.
pub(crate) fn mean_as_origin(signals: &[Signal]) -> Option<Origin> {
    highest(signals, signals.iter().enumerate().map(of_mean))
}

fn of_burst(candidate: usize, Excess { seconds, utilization }: Excess) -> Origin {
    Origin { candidate, rule: Rule::Burst, seconds, utilization }
}

fn of_mean((candidate, signal): (usize, &Signal)) -> Origin {
    Origin { candidate, rule: Rule::Mean, seconds: signal.seconds, utilization: signal.mean }
}

fn highest(signals: &[Signal], origins: impl Iterator<Item = Origin>) -> Option<Origin> {
    let rank = |origin: &Origin| origin.utilization - signals[origin.candidate].margin;
    origins.max_by(|a, b| rank(a).total_cmp(&rank(b)))
}

#[cfg(test)]
mod tests;
