//! The recent past of a usage, for its mean.

use std::collections::VecDeque;
use std::time::Duration;

use plimsoll_contract::Moment;

/// Share of a time that must be covered by data, so that its mean counts for all of it: a reading may be lost.
const COVERED: f64 = 0.9;

/// Mean usages of the last minutes, one per sample, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Window {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    end: Moment,
    seconds: f64,
    usage: f64,
}

/// A mean usage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    /// Cores or bytes.
    pub(crate) usage: f64,
    /// The time with data, in seconds.
    pub(crate) seconds: f64,
    /// Whether there is data of the whole time that was asked for.
    pub(crate) complete: bool,
}

impl Window {
    /// Adds the mean usage between two moments, of which the first is not before the end of the last sample.
    pub(crate) fn add(&mut self, start: Moment, end: Moment, usage: f64) {
        let seconds = end.since(start).as_secs_f64();
        self.samples.push_back(Sample { end, seconds, usage });
    }

    /// Drops what is older than `keep`, compared with the newest sample.
    pub(crate) fn trim(&mut self, keep: Duration) {
        let Some(newest) = self.samples.back().map(|sample| sample.end) else { return };
        while self.samples.front().is_some_and(|oldest| newest.since(oldest.end) >= keep) {
            self.samples.pop_front();
        }
    }

    /// The mean of the last `time` before the end of the newest sample.
    pub(crate) fn mean(&self, time: Duration) -> Option<Mean> {
        let newest = self.samples.back()?.end;
        let time = time.as_secs_f64();
        let (mut area, mut seconds) = (0.0, 0.0);
        for sample in self.samples.iter().rev() {
            let room = time - newest.since(sample.end).as_secs_f64();
            if room <= 0.0 {
                break;
            }
            let within = sample.seconds.min(room);
            area += sample.usage * within;
            seconds += within;
        }
        (seconds > 0.0).then(|| Mean { usage: area / seconds, seconds, complete: seconds >= COVERED * time })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Multiplies every usage.
    pub(crate) fn scale(&mut self, factor: f64) {
        for sample in &mut self.samples {
            sample.usage *= factor;
        }
    }

    /// Continues the past of `earlier`, a stopped container of the same name.
    pub(crate) fn continue_from(&mut self, earlier: &Window) {
        let first = self.samples.front().map(|sample| sample.end);
        let before = earlier.samples.iter().filter(|sample| first.is_none_or(|first| sample.end < first));
        let mut samples: VecDeque<Sample> = before.copied().collect();
        samples.append(&mut self.samples);
        self.samples = samples;
    }
}
