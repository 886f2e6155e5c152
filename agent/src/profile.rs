//! How fast bands follow the load: every number of the band rules in one place.
//!
//! Pure data. [`Profile::standard`] is for clusters, [`Profile::lab`] for demonstrations. Flags can replace some of the times;
//! `Profile::check` reports every problem of those.

use std::time::Duration;

use plimsoll_contract::band::{HIGH_FROM, MODERATE_FROM};

/// The numbers behind the bands.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Time between two sweeps.
    pub period: Duration,
    /// Half-life of the usage smoothing.
    pub half_life: Duration,
    /// How long a threshold must stay crossed upward before the band follows.
    pub dwell_on: Duration,
    /// How long a threshold must stay crossed downward before the band follows.
    pub dwell_off: Duration,
    /// Data needed before a new pod gets its first band.
    pub warm_up: Duration,
    /// The threshold between `low` and `moderate`.
    pub moderate: Threshold,
    /// The threshold between `moderate` and `high`.
    pub high: Threshold,
    /// How many changes lengthen the dwell.
    pub flaps: FlapLimit,
    /// How long the state of a container or pod is kept without data, for example across a restart.
    pub retention: Duration,
    /// Smallest CPU request used as a denominator, in cores: relative to a smaller one, a utilization depends more on the request
    /// than on the load.
    pub request_floor: f64,
}

/// A threshold with hysteresis, as utilization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Crossed upward at this utilization or above.
    pub on: f64,
    /// Crossed downward below this utilization.
    pub off: f64,
}

/// The dwell doubles after `transitions` within `window`, up to `max_dwell`, and halves after a `window` without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapLimit {
    /// This many transitions within the window double the dwell; as many again double it again.
    pub transitions: u8,
    /// The window.
    pub window: Duration,
    /// The longest dwell reached by doubling.
    pub max_dwell: Duration,
}

impl Profile {
    /// For clusters: half-life 5 s, dwell 10 s and 60 s, one sweep a second.
    pub fn standard() -> Self {
        Profile {
            period: Duration::from_secs(1),
            half_life: Duration::from_secs(5),
            dwell_on: Duration::from_secs(10),
            dwell_off: Duration::from_secs(60),
            warm_up: Duration::from_secs(10),
            moderate: Threshold { on: MODERATE_FROM, off: 0.30 },
            high: Threshold { on: HIGH_FROM, off: 0.63 },
            flaps: FlapLimit {
                transitions: 6,
                window: Duration::from_secs(30 * 60),
                max_dwell: Duration::from_secs(10 * 60),
            },
            retention: Duration::from_secs(60),
            request_floor: 0.05,
        }
    }

    /// For demonstrations: half-life 2 s, dwell 5 s and 30 s, four sweeps a second.
    pub fn lab() -> Self {
        Profile {
            period: Duration::from_millis(250),
            half_life: Duration::from_secs(2),
            dwell_on: Duration::from_secs(5),
            dwell_off: Duration::from_secs(30),
            warm_up: Duration::from_secs(5),
            ..Profile::standard()
        }
    }

    /// The longest time between two readings over which a rate is computed. The mean of a counter is exact however late it is
    /// read, so an agent that gets too little CPU continues to work; but a machine that was suspended in between used nothing,
    /// and that must not last long enough to lower a band: hence a quarter of the dwell (`docs/adr/0008`).
    pub(crate) fn longest_gap(&self) -> Duration {
        self.late_sweep().max(self.dwell_off.min(self.retention) / 4)
    }

    /// A sweep that begins more than this after the last one is late.
    pub(crate) fn late_sweep(&self) -> Duration {
        self.period.saturating_mul(3)
    }

    /// How long a band is kept without data before it becomes `unknown`.
    pub(crate) fn unknown_after(&self) -> Duration {
        self.late_sweep().max(self.half_life)
    }

    /// Returns every problem found, each naming the number and what it must be.
    pub(crate) fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: String| problems.extend((!holds).then_some(problem));
        let Profile { period, half_life, retention, .. } = self;
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(15));
        require((shortest..=longest).contains(period), format!("--period is {period:?}: use 50ms to 15s"));
        require(
            half_life >= period,
            format!("--half-life is {half_life:?}: it must not be shorter than --period, {period:?}"),
        );
        for (name, dwell) in [("--dwell-on", self.dwell_on), ("--dwell-off", self.dwell_off)] {
            let problem =
                format!("{name} is {dwell:?}: it must not be shorter than --half-life, {half_life:?}");
            require(dwell >= *half_life, problem);
        }
        let forgotten = "after which a load is forgotten";
        require(
            half_life < retention,
            format!("--half-life is {half_life:?}: it must be shorter than {retention:?}, {forgotten}"),
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
            let Profile { moderate, high, flaps, .. } = profile;
            let edges = [0.0, moderate.off, moderate.on, high.off, high.on, 1.0];
            assert!(edges.is_sorted_by(|lower, upper| lower < upper), "{edges:?}");
            assert!(profile.request_floor > 0.0 && profile.request_floor <= 1.0, "{profile:?}");
            assert!(profile.retention > profile.longest_gap(), "{profile:?}");
            assert!(flaps.transitions > 0 && !flaps.window.is_zero(), "{flaps:?}");
            assert!(flaps.max_dwell >= profile.dwell_on.max(profile.dwell_off), "{flaps:?}");
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let profile = Profile {
            period: Duration::ZERO,
            half_life: Duration::from_secs(60),
            dwell_on: Duration::from_secs(1),
            ..Profile::standard()
        };
        let problems = profile.check().unwrap_err();
        for word in ["period", "half-life", "dwell-on"] {
            assert!(problems.iter().any(|p| p.contains(word)), "{word} in {problems:?}");
        }
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
