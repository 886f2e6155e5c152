//! Usage of the last seconds and its largest 1-minute mean of the last 24 hours, as the agent keeps them.

use std::collections::VecDeque;

/// Seconds that the 95th percentile is of.
const RECENT: usize = 30;
/// A minute in intervals of 10 s: its mean slides by these.
const INTERVALS: usize = 6;
const INTERVAL_SECONDS: u64 = 10;
const HOUR_SECONDS: u64 = 3600;
const HOURS: usize = 24;

/// One sample a second.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    seconds: u64,
    /// Usage and share of throttled periods, the newest last.
    recent: VecDeque<(f64, f64)>,
    /// Sum of the interval being collected.
    sum: f64,
    /// Means of the last complete intervals.
    intervals: VecDeque<f64>,
    /// Largest 1-minute mean of each hour, the current one last.
    hours: VecDeque<Option<f64>>,
}

impl History {
    pub(super) fn record(&mut self, used: f64, throttled: f64) {
        push(&mut self.recent, (used, throttled), RECENT);
        if self.seconds.is_multiple_of(HOUR_SECONDS) {
            push(&mut self.hours, None, HOURS);
        }
        self.seconds += 1;
        self.sum += used;
        if !self.seconds.is_multiple_of(INTERVAL_SECONDS) {
            return;
        }
        push(&mut self.intervals, self.sum / INTERVAL_SECONDS as f64, INTERVALS);
        self.sum = 0.0;
        if self.intervals.len() == INTERVALS
            && let Some(largest) = self.hours.back_mut()
        {
            let mean = self.intervals.iter().sum::<f64>() / INTERVALS as f64;
            *largest = Some(largest.map_or(mean, |largest| largest.max(mean)));
        }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.seconds
    }

    /// Mean usage of the last seconds; absent until there are so many.
    pub(super) fn mean(&self, seconds: usize) -> Option<f64> {
        self.mean_of(seconds, |(used, _)| *used)
    }

    /// Share of throttled periods of the last seconds; absent until there are so many.
    pub(super) fn throttled(&self, seconds: usize) -> Option<f64> {
        self.mean_of(seconds, |(_, throttled)| *throttled)
    }

    fn mean_of(&self, seconds: usize, value: impl Fn(&(f64, f64)) -> f64) -> Option<f64> {
        let sum: f64 = self.recent.iter().rev().take(seconds).map(value).sum();
        (self.recent.len() >= seconds).then(|| sum / seconds as f64)
    }

    /// Nearest rank.
    pub(super) fn p95(&self) -> Option<f64> {
        let mut used: Vec<_> = self.recent.iter().map(|(used, _)| *used).collect();
        let rank = (used.len() * 95).div_ceil(100).checked_sub(1)?;
        Some(*used.select_nth_unstable_by(rank, f64::total_cmp).1)
    }

    pub(super) fn peak(&self) -> Option<f64> {
        self.hours.iter().flatten().copied().reduce(f64::max)
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(value);
}
