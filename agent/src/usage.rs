//! Usage history of a container name: recent (p95 of 30 s), peak (largest 1-minute mean of 24 h), and how long it was observed.
//!
//! Pure, of fixed size, under 1 KiB. A minute is six intervals of ten seconds, so that a burst is not diluted by where
//! minutes begin; a day is 24 whole hours and the current one. A gap in the data is not filled: it ends the `window`, and a
//! minute with too little data has no mean. Proof: `usage/tests.rs`.

use std::time::Duration;

use plimsoll_contract::Moment;

/// Seconds covered by the percentile.
const RECENT: usize = 30;
const INTERVAL_SECONDS: u64 = 10;
const INTERVALS: usize = 6;
/// Seconds of data required for the mean of a minute.
const MIN_MINUTE_SECONDS: f32 = 40.0;
const HOURS: usize = 25;
const HOUR_SECONDS: u64 = 3600;

/// Usage history of one container name.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsageHistory {
    cpu: Peaks,
    memory: Peaks,
    recent_cpu: Recent,
}

impl UsageHistory {
    /// Records the mean CPU use, in cores, between two moments. A gap longer than `longest` ends the window.
    pub(crate) fn record_cpu(&mut self, start: Moment, end: Moment, cores: f64, longest: Duration) {
        self.cpu.record(start, end, cores as f32, longest);
        self.recent_cpu.record(start, end, cores as f32);
    }

    /// Records the working set, in bytes, from one moment to another.
    pub(crate) fn record_memory(&mut self, start: Moment, end: Moment, bytes: f64, longest: Duration) {
        self.memory.record(start, end, bytes as f32, longest);
    }

    /// Joins the history of `earlier`, a stopped container of the same name, to this one, without a gap.
    pub(crate) fn continue_from(&mut self, earlier: &UsageHistory) {
        self.cpu.continue_from(&earlier.cpu);
        self.memory.continue_from(&earlier.memory);
        self.recent_cpu.continue_from(&earlier.recent_cpu);
    }

    /// 95th percentile (nearest rank) of the CPU use of the last 30 s, each second counting once; cores.
    pub(crate) fn cpu_p95(&self, now: Moment) -> Option<f64> {
        self.recent_cpu.p95(now)
    }

    /// Largest 1-minute mean of CPU of the last 24 h; cores.
    pub(crate) fn cpu_peak(&self, now: Moment) -> Option<f64> {
        self.cpu.peak(now)
    }

    /// Largest 1-minute mean of the working set of the last 24 h; bytes.
    pub(crate) fn memory_peak(&self, now: Moment) -> Option<f64> {
        self.memory.peak(now)
    }

    /// How long it has been observed without a gap: the shorter of the two resources.
    pub(crate) fn window(&self, now: Moment) -> Option<Duration> {
        [&self.cpu, &self.memory]
            .into_iter()
            .filter_map(|peaks| peaks.observed)
            .map(|(since, _)| now.since(since))
            .min()
    }
}

/// The largest 1-minute mean of each of the last 24 hours.
#[derive(Debug, Clone, Default)]
struct Peaks {
    /// Start and end of the uninterrupted observation.
    observed: Option<(Moment, Moment)>,
    /// Number of the current interval; intervals are indexed by number modulo [`INTERVALS`].
    interval: u64,
    intervals: [Interval; INTERVALS],
    hour: u64,
    /// Largest mean of each hour, where there is one; indexed by hour modulo [`HOURS`].
    hours: [Option<f32>; HOURS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    /// Usage times seconds.
    sum: f32,
    seconds: f32,
}

impl Peaks {
    fn record(&mut self, start: Moment, end: Moment, usage: f32, longest: Duration) {
        let since = match self.observed {
            Some((since, until)) if start.since(until) <= longest => since,
            _ => start,
        };
        self.observed = Some((since, end));
        // a sample belongs to the interval of its middle
        self.advance((start.0 + end.0) / 2);
        let seconds = end.since(start).as_secs_f32();
        let interval = &mut self.intervals[(self.interval % INTERVALS as u64) as usize];
        interval.sum += usage * seconds;
        interval.seconds += seconds;
    }

    /// Closes the intervals and hours that have ended.
    fn advance(&mut self, now: Duration) {
        let (interval, hour) = (now.as_secs() / INTERVAL_SECONDS, now.as_secs() / HOUR_SECONDS);
        if interval == self.interval {
            return;
        }
        let seconds: f32 = self.intervals.iter().map(|interval| interval.seconds).sum();
        if seconds >= MIN_MINUTE_SECONDS {
            let mean = self.intervals.iter().map(|interval| interval.sum).sum::<f32>() / seconds;
            self.raise(self.hour, mean);
        }
        clear_between(&mut self.intervals, self.interval, interval);
        clear_between(&mut self.hours, self.hour, hour);
        (self.interval, self.hour) = (interval, hour);
    }

    fn raise(&mut self, hour: u64, peak: f32) {
        let largest = &mut self.hours[(hour % HOURS as u64) as usize];
        if largest.is_none_or(|largest| peak > largest) {
            *largest = Some(peak);
        }
    }

    fn peak(&self, now: Moment) -> Option<f64> {
        let hour = now.0.as_secs() / HOUR_SECONDS;
        let remembered = |age: &u64| hour.saturating_sub(self.hour) + age < HOURS as u64 && *age <= self.hour;
        let ages = (0..HOURS as u64).filter(remembered);
        let peaks = ages.filter_map(|age| self.hours[((self.hour - age) % HOURS as u64) as usize]);
        peaks.map(f64::from).reduce(f64::max)
    }

    fn continue_from(&mut self, earlier: &Peaks) {
        let Some((since, _)) = earlier.observed else { return };
        let Some((_, until)) = self.observed else {
            *self = earlier.clone();
            return;
        };
        self.observed = Some((since, until));
        let recent = (0..INTERVALS as u64).filter_map(|age| earlier.interval.checked_sub(age));
        for number in recent.filter(|number| self.interval < number + INTERVALS as u64) {
            let index = (number % INTERVALS as u64) as usize;
            self.intervals[index].sum += earlier.intervals[index].sum;
            self.intervals[index].seconds += earlier.intervals[index].seconds;
        }
        let this = self.hour;
        let hours = (0..HOURS as u64).filter_map(|age| earlier.hour.checked_sub(age));
        for hour in hours.filter(|hour| this < hour + HOURS as u64) {
            if let Some(peak) = earlier.hours[(hour % HOURS as u64) as usize] {
                self.raise(hour, peak);
            }
        }
    }
}

/// Clears the entries of a ring for every number after `last`, up to and including `now`.
fn clear_between<T: Default, const N: usize>(ring: &mut [T; N], last: u64, now: u64) {
    for number in last + 1..=now.min(last + N as u64) {
        ring[(number % N as u64) as usize] = T::default();
    }
}

/// Usage of the last seconds, one mean each.
#[derive(Debug, Clone, Default)]
struct Recent {
    /// The second being collected: usage times seconds, and seconds.
    sum: f32,
    seconds: f32,
    /// The second in which each ended, and its mean; the newest last.
    means: [Option<(u32, f32)>; RECENT],
}

impl Recent {
    fn record(&mut self, start: Moment, end: Moment, usage: f32) {
        let seconds = end.since(start).as_secs_f32();
        self.sum += usage * seconds;
        self.seconds += seconds;
        // four periods of 250 ms may be slightly less than a second
        if self.seconds < 0.9 {
            return;
        }
        let second = u32::try_from(end.0.as_secs()).unwrap_or(u32::MAX);
        self.push((second, self.sum / self.seconds));
        (self.sum, self.seconds) = (0.0, 0.0);
    }

    fn push(&mut self, mean: (u32, f32)) {
        self.means.rotate_left(1);
        self.means[RECENT - 1] = Some(mean);
    }

    fn p95(&self, now: Moment) -> Option<f64> {
        let oldest = now.0.as_secs().saturating_sub(RECENT as u64);
        let recent = self.means.iter().flatten().filter(|(second, _)| u64::from(*second) >= oldest);
        let mut means: Vec<f32> = recent.map(|(_, mean)| *mean).collect();
        means.sort_by(f32::total_cmp);
        let rank = (means.len() * 95).div_ceil(100);
        means.get(rank.checked_sub(1)?).map(|mean| f64::from(*mean))
    }

    fn continue_from(&mut self, earlier: &Recent) {
        let mut joined = earlier.clone();
        self.means.iter().flatten().for_each(|mean| joined.push(*mean));
        (joined.sum, joined.seconds) = (self.sum, self.seconds);
        *self = joined;
    }
}

#[cfg(test)]
mod tests;
