//! Whether sweeps are on time. They are late when the node leaves the agent too little CPU, when a read hangs, or when the
//! machine slept.
//!
//! Pure. How late sweeps affect bands is decided in `sample` and `classify`; this module only finds what is logged and counted.

use std::time::Duration;

use plimsoll_contract::Moment;

use crate::profile::Profile;

/// Sweeps are on time again after this long without a late one.
const ON_TIME_AFTER: Duration = Duration::from_secs(30);

/// Timing of the sweeps so far.
#[derive(Debug)]
pub(crate) struct SweepTiming {
    period: Duration,
    /// [`Profile::late_sweep`].
    late_after: Duration,
    last: Option<Moment>,
    /// While sweeps are late: the last late one, and how many were missed.
    late: Option<(Moment, u64)>,
}

/// A change to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimingChange {
    /// Sweeps are late; the time between the last two.
    Late(Duration),
    /// Sweeps are on time again; how many were missed.
    OnTime { missed: u64 },
}

impl SweepTiming {
    pub(crate) fn new(profile: &Profile) -> SweepTiming {
        SweepTiming { period: profile.period, late_after: profile.late_sweep(), last: None, late: None }
    }

    /// Records the start of a sweep. Returns how many sweeps were missed since the last one, and what changed.
    pub(crate) fn record(&mut self, now: Moment) -> (u64, Option<TimingChange>) {
        let Some(last) = self.last.replace(now) else {
            return (0, None);
        };
        let gap = now.since(last);
        let periods = (gap.as_secs_f64() / self.period.as_secs_f64()).round() as u64;
        let missed = periods.saturating_sub(1);
        let (change, late) = match (self.late, gap > self.late_after) {
            (None, false) => (None, None),
            (None, true) => (Some(TimingChange::Late(gap)), Some((now, missed))),
            (Some((_, count)), true) => (None, Some((now, count + missed))),
            (Some((since, count)), false) if now.since(since) >= ON_TIME_AFTER => {
                (Some(TimingChange::OnTime { missed: count + missed }), None)
            }
            (Some((since, count)), false) => (None, Some((since, count + missed))),
        };
        self.late = late;
        (missed, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sweeps at these seconds: how many were missed in total, and what changed.
    fn record(seconds: &[f64]) -> (u64, Vec<TimingChange>) {
        let mut timing = SweepTiming::new(&Profile::standard());
        let at = |second: &f64| Moment(Duration::from_secs_f64(*second));
        let (missed, changes): (Vec<_>, Vec<_>) =
            seconds.iter().map(|second| timing.record(at(second))).unzip();
        (missed.into_iter().sum(), changes.into_iter().flatten().collect())
    }

    #[test]
    fn a_sweep_per_period_is_on_time_and_so_is_one_slightly_delayed() {
        assert_eq!(record(&[0.0, 1.0, 2.4, 3.0, 4.0, 6.9]), (2, vec![]));
    }

    #[test]
    fn late_sweeps_are_reported_once_and_their_end_with_the_number_missed() {
        let mut seconds = vec![0.0, 1.0, 6.0, 11.0, 15.0];
        seconds.extend((16..60).map(f64::from));
        let expected =
            [TimingChange::Late(Duration::from_secs(5)), TimingChange::OnTime { missed: 4 + 4 + 3 }];
        assert_eq!(record(&seconds).1, expected);
    }

    #[test]
    fn sweeps_are_not_on_time_again_while_late_ones_still_occur() {
        let mut seconds = vec![0.0];
        // a late one every twenty seconds
        for round in 0..5 {
            seconds.extend((0..16).map(|second| f64::from(round * 20 + 5 + second)));
        }
        assert_eq!(record(&seconds).1.len(), 1);
    }
}
