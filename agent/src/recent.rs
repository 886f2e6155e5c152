//! The last seconds of a managed container, from which a resize is decided: throttling and CPU use over 2 s and 3 s, the smallest
//! unreclaimable memory of 2 s, and its growth over 15 s.
//!
//! Pure, and of fixed size: what is older is overwritten. A number is absent until there is data of all of its time; a gap begins that
//! time anew. A sample counts in part where only a part of it is in that time, and not at all where it is longer than that time: the mean
//! of 15 s says nothing of the last 3. Proof: `recent/tests.rs`.

use plimsoll_contract::{Bytes, Moment};

use crate::sample::{CpuSample, throttled_share};

/// Samples shorter than this, in seconds, are joined.
const SHORTEST: f64 = 0.2;
/// How far a time may be exceeded or not reached by its data, as a share of it: sweeps are not on time to the millisecond.
const TOLERANCE: f64 = 0.1;
/// The time in which memory must not have been lower, in seconds.
const LEAST_OF: f64 = 2.0;
/// The time over which memory grows, how much of it must be known, and the time between two samples, in seconds.
const GROWTH_OVER: f64 = 15.0;
const GROWTH_KNOWN: f64 = 10.0;
const GROWTH_STEP: f64 = 0.9;

/// The last seconds of one container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    cpu: Ring<CpuSpan, 20>,
    memory: Ring<Level, 14>,
    /// Coarser and longer.
    growth: Ring<Level, 20>,
    /// When the quota was last seen to have changed: throttling before that was of another one.
    pub(crate) quota_since: Option<Moment>,
}

/// CPU use and quota periods of an uninterrupted time.
#[derive(Debug, Clone, Copy)]
struct CpuSpan {
    start: Moment,
    end: Moment,
    core_seconds: f64,
    /// Periods, and those that were throttled; absent where they were not counted.
    periods: Option<[f64; 2]>,
}

/// Unreclaimable memory at a time.
#[derive(Debug, Clone, Copy)]
struct Level {
    at: Moment,
    bytes: Bytes,
}

/// The last values, newest last.
#[derive(Debug, Clone)]
struct Ring<T, const N: usize> {
    values: [Option<T>; N],
}

impl Recent {
    /// Records the use since the last sweep.
    pub(crate) fn record_cpu(&mut self, sample: &CpuSample) {
        let CpuSample { start, end, cores, throttling } = *sample;
        let periods = throttling.map(|counts| [counts.periods as f64, counts.throttled as f64]);
        let span = CpuSpan { start, end, core_seconds: cores.0 * seconds(start, end), periods };
        match self.cpu.newest_mut() {
            Some(last) if last.end == start && seconds(last.start, last.end) < SHORTEST => last.join(&span),
            _ => self.cpu.push(span),
        }
    }

    /// Records the unreclaimable memory, or that it is not known now.
    pub(crate) fn record_memory(&mut self, at: Moment, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else {
            self.memory = Ring::default();
            return;
        };
        match self.memory.newest_mut() {
            Some(last) if seconds(last.at, at) < SHORTEST => last.bytes = last.bytes.min(bytes),
            _ => self.memory.push(Level { at, bytes }),
        }
        if self.growth.newest().is_none_or(|last| seconds(last.at, at) >= GROWTH_STEP) {
            self.growth.push(Level { at, bytes });
        }
    }

    /// Share of the quota's periods throttled over the last `time` seconds; absent where the quota changed within them.
    pub(crate) fn throttled(&self, now: Moment, time: f64) -> Option<f64> {
        let last = self.last(now, time)?;
        let [periods, throttled] = last.periods.filter(|_| Some(last.start) >= self.quota_since)?;
        Some(throttled_share(periods, throttled))
    }

    /// Mean CPU use over the last `time` seconds, in cores.
    pub(crate) fn mean(&self, now: Moment, time: f64) -> Option<f64> {
        let last = self.last(now, time)?;
        Some(last.core_seconds / seconds(last.start, last.end))
    }

    /// The sum of the last `time` seconds; absent where there is no data of all of them.
    fn last(&self, now: Moment, time: f64) -> Option<CpuSpan> {
        let newest = self.cpu.newest().filter(|newest| seconds(newest.end, now) < time)?;
        let end = newest.end;
        let mut sum = CpuSpan { start: end, end, core_seconds: 0.0, periods: Some([0.0; 2]) };
        for span in self.cpu.newest_first() {
            let (length, missing) = (seconds(span.start, span.end), time - seconds(sum.start, end));
            let is_complete = missing < time * TOLERANCE / 2.0;
            if is_complete || span.end != sum.start || length > time * (1.0 + TOLERANCE) {
                break;
            }
            sum.prepend(span, (missing / length).min(1.0));
        }
        (seconds(sum.start, end) >= time * (1.0 - TOLERANCE)).then_some(sum)
    }

    /// The smallest unreclaimable memory of the last 2 s.
    pub(crate) fn least_memory(&self, now: Moment) -> Option<Bytes> {
        let newest = self.memory.newest().filter(|newest| seconds(newest.at, now) < LEAST_OF)?.at;
        let within = |level: &&Level| seconds(level.at, newest) <= LEAST_OF * (1.0 + TOLERANCE);
        let levels = || self.memory.newest_first().take_while(within);
        let known = levels().last().map_or(0.0, |oldest| seconds(oldest.at, newest));
        (known >= LEAST_OF * (1.0 - TOLERANCE)).then(|| levels().map(|level| level.bytes).min())?
    }

    /// Growth of the unreclaimable memory over the last 15 s, in bytes per second; of the last 10 s, until 15 are known. What happened
    /// in between does not matter, so a gap does not either.
    pub(crate) fn growth(&self, now: Moment) -> Option<f64> {
        let newest = self.memory.newest().filter(|newest| seconds(newest.at, now) < LEAST_OF)?;
        let within = |level: &&Level| seconds(level.at, newest.at) <= GROWTH_OVER + GROWTH_STEP / 2.0;
        let oldest = self.growth.newest_first().take_while(within).last()?;
        let time = seconds(oldest.at, newest.at);
        (time >= GROWTH_KNOWN).then(|| (newest.bytes.as_f64() - oldest.bytes.as_f64()) / time)
    }
}

impl CpuSpan {
    fn join(&mut self, later: &CpuSpan) {
        self.end = later.end;
        self.core_seconds += later.core_seconds;
        self.periods = added(self.periods, later.periods, 1.0);
    }

    /// Adds the last `share` of the time before.
    fn prepend(&mut self, earlier: &CpuSpan, share: f64) {
        self.start = Moment(self.start.0 - earlier.end.since(earlier.start).mul_f64(share));
        self.core_seconds += earlier.core_seconds * share;
        self.periods = added(self.periods, earlier.periods, share);
    }
}

fn added(sum: Option<[f64; 2]>, periods: Option<[f64; 2]>, share: f64) -> Option<[f64; 2]> {
    let ([all, throttled], [more, more_throttled]) = (sum?, periods?);
    Some([all + more * share, throttled + more_throttled * share])
}

fn seconds(start: Moment, end: Moment) -> f64 {
    end.since(start).as_secs_f64()
}

impl<T, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Ring { values: [const { None }; N] }
    }
}

impl<T, const N: usize> Ring<T, N> {
    fn push(&mut self, value: T) {
        self.values.rotate_left(1);
        self.values[N - 1] = Some(value);
    }

    fn newest(&self) -> Option<&T> {
        self.values[N - 1].as_ref()
    }

    fn newest_mut(&mut self) -> Option<&mut T> {
        self.values[N - 1].as_mut()
    }

    fn newest_first(&self) -> impl Iterator<Item = &T> {
        self.values.iter().rev().flatten()
    }
}

#[cfg(test)]
mod tests;
