//! How fast bands follow the load: every number of the rules in one place.
//!
//! Pure data. [`Profile::standard`] is for clusters, [`Profile::lab`] for demonstrations. [`Profile::check`] says everything
//! that is wrong with a set of numbers at once; the rules in `classify` rely on what it checks.

use std::time::Duration;

use plimsoll_contract::band::{HIGH_FROM, MODERATE_FROM};

/// The numbers behind the bands.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Time between two sweeps.
    pub period: Duration,
    /// Half-life of the smoothing.
    pub half_life: Duration,
    /// How long a threshold must stay crossed upward before the band follows.
    pub dwell_on: Duration,
    /// How long a threshold must stay crossed downward before the band follows.
    pub dwell_off: Duration,
    /// Data needed before a new pod gets its first band.
    pub warm_up: Duration,
    /// Between `low` and `moderate`.
    pub moderate: Threshold,
    /// Between `moderate` and `high`.
    pub high: Threshold,
    /// When bands change so often that the dwell grows.
    pub flaps: FlapLimit,
    /// How long what is known of a container or pod survives without data, for example across a restart.
    pub memory: Duration,
    /// Smallest CPU request that a band divides by, in cores: below it a share says more about the request than the load.
    pub request_floor: f64,
}

/// A threshold with hysteresis, as utilization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Crossed upward from here on.
    pub on: f64,
    /// Crossed downward below this.
    pub off: f64,
}

/// The dwell doubles after `transitions` within `window`, up to `max_dwell`, and halves after a `window` without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapLimit {
    /// So many transitions within the window double the dwell; so many more double it again.
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
            memory: Duration::from_secs(60),
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

    /// The longest time between two readings that still says something about the time between them. A counter's mean is
    /// exact however late it is read, so a starved agent goes on; but a machine that stood still meanwhile used nothing,
    /// and that must not last long enough to lower a band: hence a quarter of the dwell (`docs/adr/0008`).
    pub fn longest_gap(&self) -> Duration {
        self.late_sweep().max(self.dwell_off.min(self.memory) / 4)
    }

    /// A sweep that begins more than this after the last one is late.
    pub fn late_sweep(&self) -> Duration {
        self.period.saturating_mul(3)
    }

    /// How long a band outlives its data before it becomes `unknown`.
    pub fn patience(&self) -> Duration {
        self.late_sweep().max(self.half_life)
    }

    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// Everything found wrong, each naming the number and what it must be.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(15));
        let period = self.period;
        require((shortest..=longest).contains(&period), format!("--period is {period:?}: use 50ms to 15s"));
        for (name, time) in [("--half-life", self.half_life), ("warm-up", self.warm_up)] {
            require(
                time >= period,
                format!("{name} is {time:?}: it must not be shorter than --period, {period:?}"),
            );
        }
        for (name, dwell) in [("--dwell-on", self.dwell_on), ("--dwell-off", self.dwell_off)] {
            let least = self.half_life;
            require(
                dwell >= least,
                format!("{name} is {dwell:?}: it must not be shorter than --half-life, {least:?}"),
            );
        }
        let (half_life, memory) = (self.half_life, self.memory);
        require(
            half_life < memory,
            format!(
                "--half-life is {half_life:?}: it must be shorter than {memory:?}, after which a load is forgotten"
            ),
        );
        let gap = self.longest_gap();
        require(
            period > longest || memory > gap,
            format!("memory is {memory:?}: it must be longer than three periods, {gap:?}"),
        );
        for (name, at) in [("moderate", self.moderate), ("high", self.high)] {
            let Threshold { on, off } = at;
            require(
                0.0 < off && off < on && on.is_finite(),
                format!("{name} switches on at {on} and off below {off}: use 0 < off < on"),
            );
        }
        let (moderate, high) = (self.moderate, self.high);
        require(
            moderate.on <= high.off,
            format!(
                "moderate switches on at {} and high off below {}: they must not overlap",
                moderate.on, high.off
            ),
        );
        let FlapLimit { transitions, window, .. } = self.flaps;
        require(transitions >= 2, format!("the flap limit is {transitions} transitions: use 2 or more"));
        require(!window.is_zero(), "the flap window is empty: use a time such as 30m".into());
        let floor = self.request_floor;
        require(
            floor.is_finite() && floor > 0.0,
            format!("the request floor is {floor} cores: use a positive number"),
        );
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_pass_their_own_check() {
        assert_eq!(Profile::standard().check(), Ok(()));
        assert_eq!(Profile::lab().check(), Ok(()));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let profile = Profile {
            period: Duration::ZERO,
            dwell_on: Duration::from_secs(1),
            moderate: Threshold { on: 0.3, off: 0.33 },
            request_floor: f64::NAN,
            ..Profile::standard()
        };
        let problems = profile.check().unwrap_err();
        for word in ["period", "dwell-on", "moderate", "request floor"] {
            assert!(problems.iter().any(|p| p.contains(word)), "{word} in {problems:?}");
        }
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
