//! Whether sweeps come in time. They do not when the node leaves the agent too little CPU, when a read hangs, or when the
//! machine slept.
//!
//! Pure. What late sweeps do to bands is for `sample` and `classify`; this is for whoever has to find out why.

use std::time::Duration;

use crate::profile::Profile;
use crate::sample::Moment;

/// In time again after so long without a late sweep.
const STEADY: Duration = Duration::from_secs(30);

/// The rhythm of the sweeps so far.
#[derive(Debug)]
pub struct Pace {
    period: Duration,
    /// [`Profile::late_sweep`].
    late_after: Duration,
    last: Option<Moment>,
    /// The last late sweep, and how many were missed since they come late; while they do.
    late: Option<(Moment, u64)>,
}

/// What a sweep did to the rhythm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Sweeps that should have been since the last one.
    pub missed: u64,
    /// What is new.
    pub turn: Option<Turn>,
}

/// A change worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Sweeps come late; this one after so long.
    Late(Duration),
    /// They come in time again; so many were missed.
    InTime(u64),
}

impl Pace {
    /// Before the first sweep.
    pub fn new(profile: &Profile) -> Pace {
        Pace { period: profile.period, late_after: profile.late_sweep(), last: None, late: None }
    }

    /// A sweep begins.
    pub fn step(&mut self, now: Moment) -> Step {
        let Some(last) = self.last.replace(now) else {
            return Step::default();
        };
        let gap = now.since(last);
        let periods = (gap.as_secs_f64() / self.period.as_secs_f64()).round() as u64;
        let missed = periods.saturating_sub(1);
        let (turn, late) = match (self.late, gap > self.late_after) {
            (None, false) => (None, None),
            (None, true) => (Some(Turn::Late(gap)), Some((now, missed))),
            (Some((_, count)), true) => (None, Some((now, count + missed))),
            (Some((since, count)), false) if now.since(since) >= STEADY => {
                (Some(Turn::InTime(count + missed)), None)
            }
            (Some((since, count)), false) => (None, Some((since, count + missed))),
        };
        self.late = late;
        Step { missed, turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sweeps at these seconds.
    fn steps(seconds: &[f64]) -> Vec<Step> {
        let mut pace = Pace::new(&Profile::standard());
        seconds.iter().map(|second| pace.step(Moment(Duration::from_secs_f64(*second)))).collect()
    }

    fn turns(seconds: &[f64]) -> Vec<Turn> {
        steps(seconds).into_iter().filter_map(|step| step.turn).collect()
    }

    #[test]
    fn a_sweep_each_period_is_in_time_and_so_is_one_that_waited_a_little() {
        let steps = steps(&[0.0, 1.0, 2.4, 3.0, 4.0, 6.9]);
        assert!(steps.iter().all(|step| step.turn.is_none()), "{steps:?}");
        assert_eq!(steps.iter().map(|step| step.missed).sum::<u64>(), 2);
    }

    #[test]
    fn late_sweeps_are_told_once_and_their_end_with_what_was_missed() {
        let mut seconds = vec![0.0, 1.0, 6.0, 11.0, 15.0];
        seconds.extend((16..60).map(f64::from));
        assert_eq!(turns(&seconds), [Turn::Late(Duration::from_secs(5)), Turn::InTime(4 + 4 + 3)]);
    }

    #[test]
    fn it_is_not_over_while_late_ones_still_come() {
        let mut seconds = vec![0.0];
        // a late one each twenty seconds
        for round in 0..5 {
            seconds.extend((0..16).map(|second| f64::from(round * 20 + 5 + second)));
        }
        assert_eq!(turns(&seconds).len(), 1);
    }
}
