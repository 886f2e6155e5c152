//! Bursts: much more than a threshold for a few seconds.

use plimsoll_contract::Moment;

/// The excess of a utilization above one threshold, summed: a leaky sum, which is never negative and starts over at each burst.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Burst {
    /// Utilization-seconds above the threshold.
    excess: f64,
    /// Utilization-seconds, and seconds, since the sum was last zero.
    area: f64,
    seconds: f64,
    last: Option<(Moment, Excess)>,
}

/// A burst that was just completed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Excess {
    /// How long it took.
    pub(crate) seconds: f64,
    /// Mean utilization during that time.
    pub(crate) utilization: f64,
}

impl Burst {
    /// Adds the mean utilization of `seconds`, which ended at `end`. Returns the burst that this completed: the excess above
    /// `threshold` has reached `enough` utilization-seconds. More than the whole basis counts as the whole basis.
    pub(crate) fn add(
        &mut self,
        end: Moment,
        seconds: f64,
        utilization: f64,
        threshold: f64,
        enough: f64,
    ) -> Option<Excess> {
        self.excess += (utilization.min(1.0) - threshold) * seconds;
        if self.excess <= 0.0 {
            *self = Burst { last: self.last, ..Burst::default() };
            return None;
        }
        self.area += utilization * seconds;
        self.seconds += seconds;
        if self.excess < enough {
            return None;
        }
        let burst = Excess { seconds: self.seconds, utilization: self.area / self.seconds };
        *self = Burst { last: Some((end, burst)), ..Burst::default() };
        Some(burst)
    }

    /// The last burst, and when it was completed.
    pub(crate) fn last(&self) -> Option<(Moment, Excess)> {
        self.last
    }

    /// Takes over the last burst of `earlier`, a stopped container of the same name.
    pub(crate) fn continue_from(&mut self, earlier: &Burst) {
        self.last = self.last.or(earlier.last);
    }
}
