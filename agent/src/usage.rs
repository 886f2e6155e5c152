//! What a container name used: lately (p95 of 30 s), at its worst (largest 1-minute mean of 24 h), and how long it was watched.
//!
//! Pure, of fixed size, under 1 KiB. A minute is six slots of ten seconds, so that a burst is not diluted by where minutes begin;
//! a day is 24 whole hours and the current one. A gap in the data is not filled: it ends the `window`, and a minute with too little
//! of it has no mean. Proof: `usage/tests.rs`.

use std::time::Duration;

use crate::sample::Moment;

/// Seconds that the percentile looks back.
const RECENT: usize = 30;
const SLOT_SECONDS: u64 = 10;
const SLOTS: usize = 6;
/// Seconds of data that a minute needs to have a mean.
const MINUTE_LEAST: f32 = 40.0;
const HOURS: usize = 25;
const HOUR_SECONDS: u64 = 3600;

/// The memory of one container name.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    cpu: Worst,
    memory: Worst,
    recent: Recent,
}

impl Usage {
    /// CPU use in cores, mean between two moments. A gap longer than `longest` ends the window.
    pub fn cpu(&mut self, start: Moment, end: Moment, cores: f64, longest: Duration) {
        self.cpu.record(start, end, cores as f32, longest);
        self.recent.record(start, end, cores as f32);
    }

    /// Working set in bytes, held from one moment to another.
    pub fn memory(&mut self, start: Moment, end: Moment, bytes: f64, longest: Duration) {
        self.memory.record(start, end, bytes as f32, longest);
    }

    /// The container of `earlier` stopped and this one took its name: one history, without a gap.
    pub fn continue_from(&mut self, earlier: &Usage) {
        self.cpu.continue_from(&earlier.cpu);
        self.memory.continue_from(&earlier.memory);
        self.recent.continue_from(&earlier.recent);
    }

    /// 95th percentile (nearest rank) of the CPU use of the last 30 s, each second counting once; cores.
    pub fn cpu_p95(&self, now: Moment) -> Option<f64> {
        self.recent.p95(now)
    }

    /// Largest 1-minute mean of CPU of the last 24 h; cores.
    pub fn cpu_peak(&self, now: Moment) -> Option<f64> {
        self.cpu.peak(now)
    }

    /// Largest 1-minute mean of the working set of the last 24 h; bytes.
    pub fn memory_peak(&self, now: Moment) -> Option<f64> {
        self.memory.peak(now)
    }

    /// How long it has been watched without a gap: of the two resources the shorter.
    pub fn window(&self, now: Moment) -> Option<Duration> {
        [&self.cpu, &self.memory]
            .into_iter()
            .filter_map(|worst| worst.watched)
            .map(|(since, _)| now.since(since))
            .min()
    }
}

/// The largest 1-minute mean of the last 24 h.
#[derive(Debug, Clone, Default)]
struct Worst {
    /// Since when and until when it has been watched.
    watched: Option<(Moment, Moment)>,
    slot: u64,
    slots: [Slot; SLOTS],
    hour: u64,
    /// Largest mean by hour, where there is one; indexed by hour modulo [`HOURS`].
    hours: [Option<Peak>; HOURS],
}

/// Usage times seconds, and seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    sum: f32,
    seconds: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Peak(f32);

impl Worst {
    fn record(&mut self, start: Moment, end: Moment, usage: f32, longest: Duration) {
        let since = match self.watched {
            Some((since, until)) if start.since(until) <= longest => since,
            _ => start,
        };
        self.watched = Some((since, end));
        // a sample belongs where its middle lies
        self.turn(Moment((start.0 + end.0) / 2));
        let seconds = end.since(start).as_secs_f32();
        let slot = &mut self.slots[(self.slot % SLOTS as u64) as usize];
        slot.sum += usage * seconds;
        slot.seconds += seconds;
    }

    /// Closes the slots and hours that are over.
    fn turn(&mut self, now: Moment) {
        let slot = now.0.as_secs() / SLOT_SECONDS;
        if slot == self.slot {
            return;
        }
        self.close();
        for over in self.slot + 1..=slot.min(self.slot + SLOTS as u64) {
            self.slots[(over % SLOTS as u64) as usize] = Slot::default();
        }
        if slot > self.slot + SLOTS as u64 {
            self.slots = [Slot::default(); SLOTS];
        }
        self.slot = slot;
        self.turn_hour(now.0.as_secs() / HOUR_SECONDS);
    }

    fn turn_hour(&mut self, hour: u64) {
        for over in self.hour + 1..=hour.min(self.hour + HOURS as u64) {
            self.hours[(over % HOURS as u64) as usize] = None;
        }
        if hour > self.hour + HOURS as u64 {
            self.hours = [None; HOURS];
        }
        self.hour = hour;
    }

    /// Takes the mean of the last six slots, if they hold enough of a minute.
    fn close(&mut self) {
        let seconds: f32 = self.slots.iter().map(|slot| slot.seconds).sum();
        if seconds < MINUTE_LEAST {
            return;
        }
        let mean = self.slots.iter().map(|slot| slot.sum).sum::<f32>() / seconds;
        self.raise(self.hour, Peak(mean));
    }

    fn raise(&mut self, hour: u64, peak: Peak) {
        let largest = &mut self.hours[(hour % HOURS as u64) as usize];
        if largest.is_none_or(|largest| peak > largest) {
            *largest = Some(peak);
        }
    }

    fn peak(&self, now: Moment) -> Option<f64> {
        let hour = now.0.as_secs() / HOUR_SECONDS;
        let kept = |age: &u64| hour.saturating_sub(self.hour) + age < HOURS as u64 && *age <= self.hour;
        let ages = (0..HOURS as u64).filter(kept);
        let peaks = ages.filter_map(|age| self.hours[((self.hour - age) % HOURS as u64) as usize]);
        peaks.map(|peak| f64::from(peak.0)).reduce(f64::max)
    }

    fn continue_from(&mut self, earlier: &Worst) {
        let Some((since, _)) = earlier.watched else { return };
        let Some((_, until)) = self.watched else {
            *self = earlier.clone();
            return;
        };
        self.watched = Some((since, until));
        let recent = (0..SLOTS as u64).filter_map(|age| earlier.slot.checked_sub(age));
        for slot in recent.filter(|slot| self.slot < slot + SLOTS as u64) {
            let (before, own) =
                (earlier.slots[(slot % SLOTS as u64) as usize], (slot % SLOTS as u64) as usize);
            self.slots[own].sum += before.sum;
            self.slots[own].seconds += before.seconds;
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

/// The use of the last seconds, one number each.
#[derive(Debug, Clone, Default)]
struct Recent {
    sum: f32,
    seconds: f32,
    next: u8,
    /// The second it ended in, and the mean.
    means: [Option<(u32, f32)>; RECENT],
}

impl Recent {
    fn record(&mut self, start: Moment, end: Moment, usage: f32) {
        let seconds = end.since(start).as_secs_f32();
        self.sum += usage * seconds;
        self.seconds += seconds;
        // a second at 250 ms may come out a little short of one
        if self.seconds < 0.9 {
            return;
        }
        let second = u32::try_from(end.0.as_secs()).unwrap_or(u32::MAX);
        self.push((second, self.sum / self.seconds));
        (self.sum, self.seconds) = (0.0, 0.0);
    }

    fn push(&mut self, mean: (u32, f32)) {
        self.means[usize::from(self.next)] = Some(mean);
        self.next = (self.next + 1) % RECENT as u8;
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
        for index in 0..RECENT {
            if let Some(mean) = self.means[(usize::from(self.next) + index) % RECENT] {
                joined.push(mean);
            }
        }
        (joined.sum, joined.seconds) = (self.sum, self.seconds);
        *self = joined;
    }
}

#[cfg(test)]
mod tests;
