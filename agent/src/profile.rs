//! How fast bands follow the load: every number of the band rules in one place.
//!
//! Pure data. [`Profile::standard`] is for clusters, [`Profile::lab`] for demonstrations. Flags can replace some of the times;
//! `Profile::check` reports every problem of those.

use std::time::Duration;

use plimsoll_contract::Band;
use plimsoll_contract::band::{HIGH_FROM, MODERATE_FROM};
use serde::{Deserialize, Serialize};

/// The numbers behind the bands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Time between two sweeps.
    pub period: Duration,
    /// Half-life of the smoothed utilization in metrics.
    pub half_life: Duration,
    /// The utilization-seconds above a threshold that make a burst.
    pub burst: f64,
    /// The time whose mean counts, and for which a band holds after a burst.
    pub window: Duration,
    /// Data needed before a new pod gets its first band.
    pub warm_up: Duration,
    /// The thresholds, as utilization: from the first on `moderate`, from the second on `high`.
    pub thresholds: [f64; 2],
    /// A band falls when the mean is below its threshold by more than this.
    pub margin: f64,
    /// How many changes make bursts and the window longer.
    pub flaps: FlapLimit,
    /// How long the state of a container or pod is kept without data, for example across a restart.
    pub retention: Duration,
    /// Smallest CPU request used as a denominator, in cores: relative to a smaller one, a utilization depends more on the request
    /// than on the load.
    pub request_floor: f64,
}

/// Bursts and the window double after `changes` within `window`, up to `most` times as much, and halve after `calm` without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlapLimit {
    /// This many changes of a band within the window double them; as many again double them again.
    pub changes: u8,
    /// The time in which changes are counted.
    pub window: Duration,
    /// The time without a change that halves them.
    pub calm: Duration,
    /// The largest factor; a power of two.
    pub most: u32,
}

impl Profile {
    /// For clusters: a burst of 2.4 utilization-seconds, means of 60 s, one sweep a second.
    pub fn standard() -> Self {
        Profile {
            period: Duration::from_secs(1),
            half_life: Duration::from_secs(5),
            burst: 2.4,
            window: Duration::from_secs(60),
            warm_up: Duration::from_secs(10),
            thresholds: [MODERATE_FROM, HIGH_FROM],
            margin: 0.04,
            flaps: FlapLimit {
                changes: 6,
                window: Duration::from_secs(30 * 60),
                calm: Duration::from_secs(90 * 60),
                most: 8,
            },
            retention: Duration::from_secs(60),
            request_floor: 0.05,
        }
    }

    /// For demonstrations: half of each time that a band follows its load by, four sweeps a second.
    pub fn lab() -> Self {
        Profile {
            period: Duration::from_millis(250),
            half_life: Duration::from_millis(2500),
            burst: 1.2,
            window: Duration::from_secs(30),
            warm_up: Duration::from_secs(5),
            ..Profile::standard()
        }
    }

    /// The band of a utilization.
    pub(crate) fn band(&self, utilization: f64) -> Band {
        match self.thresholds.map(|threshold| utilization >= threshold) {
            [_, true] => Band::High,
            [true, false] => Band::Moderate,
            [false, false] => Band::Low,
        }
    }

    /// The longest time between two readings over which a rate is computed. The mean of a counter is exact however late it is
    /// read, so an agent that gets too little CPU continues to work; but a machine that was suspended in between used nothing,
    /// and that must not last long enough to lower a band: hence a quarter of the window (`docs/adr/0008`).
    pub(crate) fn longest_gap(&self) -> Duration {
        self.late_sweep().max(self.window.min(self.retention) / 4)
    }

    /// A sweep that begins more than this after the last one is late.
    pub(crate) fn late_sweep(&self) -> Duration {
        self.period.saturating_mul(3)
    }

    /// How long a band is kept without data before it becomes `unknown`.
    pub(crate) fn unknown_after(&self) -> Duration {
        self.late_sweep().max(self.window / 12)
    }

    /// Returns every problem found, each naming the number and what it must be.
    pub(crate) fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: String| problems.extend((!holds).then_some(problem));
        let Profile { period, half_life, burst, window, retention, .. } = self;
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(15));
        require((shortest..=longest).contains(period), format!("--period is {period:?}: use 50ms to 15s"));
        require(
            half_life >= period,
            format!("--half-life is {half_life:?}: it must not be shorter than --period, {period:?}"),
        );
        let forgotten = "after which a load is forgotten";
        require(
            half_life < retention,
            format!("--half-life is {half_life:?}: it must be shorter than {retention:?}, {forgotten}"),
        );
        let shortest = period.saturating_mul(4);
        require(
            (shortest..=Duration::from_secs(600)).contains(window),
            format!("--window is {window:?}: use four times --period, {shortest:?}, to 600s"),
        );
        let most = window.as_secs_f64() / 5.0;
        require(
            *burst > 0.0 && *burst <= most,
            format!("--burst is {burst}: use more than 0 and at most a fifth of --window, {most}"),
        );
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_are_valid() {
        for profile in [Profile::standard(), Profile::lab()] {
            assert_eq!(profile.check(), Ok(()));
            let Profile { thresholds: [moderate, high], margin, flaps, .. } = profile;
            let edges = [0.0, moderate - margin, moderate, high - margin, high, 1.0];
            assert!(edges.is_sorted_by(|lower, upper| lower < upper), "{edges:?}");
            assert!(profile.request_floor > 0.0 && profile.request_floor <= 1.0, "{profile:?}");
            assert!(profile.retention > profile.longest_gap(), "{profile:?}");
            assert!(flaps.changes > 0 && !flaps.calm.is_zero() && flaps.most.is_power_of_two(), "{flaps:?}");
        }
    }

    #[test]
    fn the_lab_profile_is_the_standard_one_in_half_the_time() {
        let (standard, lab) = (Profile::standard(), Profile::lab());
        assert_eq!(
            (lab.burst, lab.window, lab.warm_up),
            (standard.burst / 2.0, standard.window / 2, standard.warm_up / 2)
        );
        assert_eq!(
            (lab.half_life, lab.thresholds, lab.margin),
            (standard.half_life / 2, standard.thresholds, standard.margin)
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let profile = Profile {
            period: Duration::ZERO,
            half_life: Duration::from_secs(60),
            burst: f64::NAN,
            window: Duration::from_secs(601),
            ..Profile::standard()
        };
        let problems = profile.check().unwrap_err();
        for word in ["--period", "--half-life", "--burst", "--window"] {
            assert!(problems.iter().any(|p| p.starts_with(word)), "{word} in {problems:?}");
        }
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
