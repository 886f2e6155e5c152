//! The scripts: value and exact integral of each shape.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notation::{optional_span, span, value};

/// What is wanted of one resource over time; cores or bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// Always the same.
    Constant(#[serde(with = "value")] f64),
    /// One change, and perhaps the way back.
    Step(Step),
    /// Low and high in turn.
    Square(Square),
    /// Something and nothing in turn.
    Duty(Duty),
    /// Normal noise.
    Noise(Noise),
    /// Recorded values.
    Trace(Trace),
    /// A straight line between two values.
    Ramp(Ramp),
}

/// `from` until `at`, then `to`; `from` again from `back` on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Value before `at` and after `back`.
    #[serde(with = "value")]
    pub from: f64,
    /// Value between.
    #[serde(with = "value")]
    pub to: f64,
    /// When it steps.
    #[serde(with = "span")]
    pub at: Duration,
    /// When it steps back; never, if absent.
    #[serde(with = "optional_span", default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Duration>,
}

/// `low` for the first part of each period, then `high` for `duty` of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Square {
    /// Lower value.
    #[serde(with = "value")]
    pub low: f64,
    /// Higher value.
    #[serde(with = "value")]
    pub high: f64,
    /// Length of one low and one high.
    #[serde(with = "span")]
    pub period: Duration,
    /// Share of the period that is high; 0.5 if absent.
    #[serde(default = "half")]
    pub duty: f64,
}

/// `value` for `share` of each period, then nothing for the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Value while on.
    #[serde(with = "value")]
    pub value: f64,
    /// Share of the period that is on.
    pub share: f64,
    /// Length of one on and one off; 1 s if absent.
    #[serde(with = "span", default = "one_second")]
    pub period: Duration,
}

/// A normal draw every `hold`, cut at 4 standard deviations and at 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Mean of the draws before the cut.
    #[serde(with = "value")]
    pub mean: f64,
    /// Their standard deviation.
    #[serde(with = "value")]
    pub sd: f64,
    /// The same seed gives the same noise.
    #[serde(default)]
    pub seed: u64,
    /// How long a draw holds; 1 s if absent.
    #[serde(with = "span", default = "one_second")]
    pub hold: Duration,
}

/// Values that each hold until the next point; before the first point, the first value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// In order of time.
    pub points: Vec<Point>,
    /// Start again after this time; hold the last value for ever, if absent.
    #[serde(with = "optional_span", default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Duration>,
}

/// A time and the value from then on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point(#[serde(with = "span")] pub Duration, #[serde(with = "value")] pub f64);

/// `from` until `start`, a line to `to` that takes `over`, then `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Value at the start.
    #[serde(with = "value")]
    pub from: f64,
    /// Value at the end.
    #[serde(with = "value")]
    pub to: f64,
    /// When it starts to move; at once, if absent.
    #[serde(with = "span", default)]
    pub start: Duration,
    /// How long it takes.
    #[serde(with = "span")]
    pub over: Duration,
}

/// Field, value and rule of a number that makes no sense.
type Objection = (&'static str, f64, &'static str);

impl Script {
    /// The value at `t` after the start.
    pub fn at(&self, t: Duration) -> f64 {
        match self {
            Script::Constant(value) => *value,
            Script::Step(step) if step.is_on(t) => step.to,
            Script::Step(step) => step.from,
            Script::Square(square) if phase(t, square.period).1 >= square.low_seconds() => square.high,
            Script::Square(square) => square.low,
            Script::Duty(duty) if phase(t, duty.period).1 < duty.on_seconds() => duty.value,
            Script::Duty(_) => 0.0,
            Script::Noise(noise) => noise.draw(noise.index(t)),
            Script::Trace(trace) => trace.at(t),
            Script::Ramp(ramp) => {
                let progress = ramp.progress(t.as_secs_f64());
                (ramp.from * (1.0 - progress) + ramp.to * progress)
                    .clamp(ramp.from.min(ramp.to), ramp.from.max(ramp.to))
            }
        }
    }

    /// The exact integral between two times: core-seconds or byte-seconds. Zero when `to` is not after `from`.
    pub fn integral(&self, from: Duration, to: Duration) -> f64 {
        if to <= from {
            return 0.0;
        }
        match self {
            Script::Constant(value) => value * (to - from).as_secs_f64(),
            Script::Noise(noise) => noise.integral(from, to),
            _ => self.since_start(to) - self.since_start(from),
        }
    }

    /// The CPU time that the script uses between two times, when its values are cores.
    pub fn cpu_time(&self, from: Duration, to: Duration) -> Duration {
        Duration::try_from_secs_f64(self.integral(from, to).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// The smallest and the largest value that [`Script::at`] can give.
    pub fn bounds(&self) -> (f64, f64) {
        let pair = |a: f64, b: f64| (a.min(b), a.max(b));
        match self {
            Script::Constant(value) => (*value, *value),
            Script::Step(step) => pair(step.from, step.to),
            Script::Square(square) => pair(square.low, square.high),
            Script::Duty(duty) => (0.0, duty.value),
            Script::Noise(noise) => ((noise.mean - 4.0 * noise.sd).max(0.0), noise.mean + 4.0 * noise.sd),
            Script::Trace(trace) => {
                let values = trace.points.iter().map(|point| point.1);
                (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
            }
            Script::Ramp(ramp) => pair(ramp.from, ramp.to),
        }
    }

    /// Integral from the start to `t`, for the shapes that have it in closed form.
    fn since_start(&self, t: Duration) -> f64 {
        let seconds = t.as_secs_f64();
        match self {
            Script::Constant(value) => value * seconds,
            Script::Step(step) => step.from * seconds + (step.to - step.from) * step.seconds_on(t),
            Script::Square(square) => {
                let (cycles, rest) = phase(t, square.period);
                let low = square.low_seconds();
                let high = cycles * (square.period.as_secs_f64() - low) + (rest - low).max(0.0);
                square.low * seconds + (square.high - square.low) * high
            }
            Script::Duty(duty) => {
                let (cycles, rest) = phase(t, duty.period);
                duty.value * (cycles * duty.on_seconds() + rest.min(duty.on_seconds()))
            }
            Script::Noise(noise) => noise.integral(Duration::ZERO, t),
            Script::Trace(trace) => trace.since_start(t),
            Script::Ramp(ramp) => {
                let over = ramp.over.as_secs_f64();
                let moved = ramp.progress(seconds);
                let after = (seconds - ramp.start.as_secs_f64() - over).max(0.0);
                ramp.from * seconds + (ramp.to - ramp.from) * (moved * moved * over / 2.0 + after)
            }
        }
    }

    /// What makes no sense in this script, if anything.
    pub(super) fn check(&self) -> Result<(), Objection> {
        match self {
            Script::Constant(value) => amount("constant", *value),
            Script::Step(step) => {
                amount("from", step.from)?;
                amount("to", step.to)?;
                match step.back {
                    Some(back) if back < step.at => {
                        Err(("back", back.as_secs_f64(), "it must not be before `at`"))
                    }
                    _ => Ok(()),
                }
            }
            Script::Square(square) => {
                amount("low", square.low)?;
                amount("high", square.high)?;
                share("duty", square.duty)?;
                positive("period", square.period)
            }
            Script::Duty(duty) => {
                amount("value", duty.value)?;
                share("share", duty.share)?;
                positive("period", duty.period)
            }
            Script::Noise(noise) => {
                amount("mean", noise.mean)?;
                amount("sd", noise.sd)?;
                positive("hold", noise.hold)
            }
            Script::Trace(trace) => trace.check(),
            Script::Ramp(ramp) => {
                amount("from", ramp.from)?;
                amount("to", ramp.to)?;
                positive("over", ramp.over)
            }
        }
    }
}

impl Step {
    fn is_on(&self, t: Duration) -> bool {
        t >= self.at && self.back.is_none_or(|back| t < back)
    }

    fn seconds_on(&self, t: Duration) -> f64 {
        let end = self.back.map_or(t, |back| back.min(t));
        end.saturating_sub(self.at).as_secs_f64()
    }
}

impl Square {
    fn low_seconds(&self) -> f64 {
        self.period.as_secs_f64() * (1.0 - self.duty)
    }
}

impl Duty {
    fn on_seconds(&self) -> f64 {
        self.period.as_secs_f64() * self.share
    }
}

impl Ramp {
    /// How far it has moved, 0 to 1.
    fn progress(&self, seconds: f64) -> f64 {
        ((seconds - self.start.as_secs_f64()) / self.over.as_secs_f64()).clamp(0.0, 1.0)
    }
}

impl Noise {
    fn index(&self, t: Duration) -> u64 {
        u64::try_from(t.as_nanos() / self.hold.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    /// The value of the draw with this index (Box and Muller, 1958).
    fn draw(&self, index: u64) -> f64 {
        let mut random = fastrand::Rng::with_seed(self.seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * random.f64()).cos();
        (self.mean + self.sd * normal.clamp(-4.0, 4.0)).max(0.0)
    }

    fn integral(&self, from: Duration, to: Duration) -> f64 {
        let hold = self.hold.as_secs_f64();
        let (first, last) = (self.index(from), self.index(to));
        let part = |index: u64| {
            let start = (index as f64 * hold).max(from.as_secs_f64());
            let end = ((index + 1) as f64 * hold).min(to.as_secs_f64());
            self.draw(index) * (end - start).max(0.0)
        };
        (first..=last).map(part).sum()
    }
}

impl Trace {
    fn at(&self, t: Duration) -> f64 {
        let t = self.repeat.map_or(t, |repeat| wrap(t, repeat));
        let next = self.points.partition_point(|point| point.0 <= t);
        self.points.get(next.saturating_sub(1)).map_or(0.0, |point| point.1)
    }

    fn since_start(&self, t: Duration) -> f64 {
        match self.repeat {
            Some(repeat) => phase(t, repeat).0 * self.once(repeat) + self.once(wrap(t, repeat)),
            None => self.once(t),
        }
    }

    /// Integral up to `t` without repetition.
    fn once(&self, t: Duration) -> f64 {
        let ends = self.points.iter().skip(1).map(|point| point.0).chain([Duration::MAX]);
        let starts = [Duration::ZERO].into_iter().chain(self.points.iter().skip(1).map(|point| point.0));
        let held = |(start, end): (Duration, Duration)| end.min(t).saturating_sub(start).as_secs_f64();
        self.points.iter().zip(starts.zip(ends)).map(|(point, span)| point.1 * held(span)).sum()
    }

    fn check(&self) -> Result<(), Objection> {
        self.points.iter().try_for_each(|point| amount("points", point.1))?;
        if self.points.is_empty() {
            return Err(("points", 0.0, "there must be at least one"));
        }
        if !self.points.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(("points", self.points.len() as f64, "their times must rise"));
        }
        self.repeat.map_or(Ok(()), |repeat| positive("repeat", repeat))
    }
}

/// Whole periods before `t`, and the seconds since the last began.
fn phase(t: Duration, period: Duration) -> (f64, f64) {
    let (t, period) = (t.as_nanos(), period.as_nanos().max(1));
    ((t / period) as f64, (t % period) as f64 / 1e9)
}

fn wrap(t: Duration, period: Duration) -> Duration {
    Duration::from_nanos(u64::try_from(t.as_nanos() % period.as_nanos().max(1)).unwrap_or(u64::MAX))
}

fn half() -> f64 {
    0.5
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn amount(field: &'static str, value: f64) -> Result<(), Objection> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err((field, value, "it must be finite and not negative"))
    }
}

fn share(field: &'static str, value: f64) -> Result<(), Objection> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err((field, value, "it must be between 0 and 1")) }
}

fn positive(field: &'static str, span: Duration) -> Result<(), Objection> {
    if span.is_zero() { Err((field, 0.0, "it must be longer than nothing")) } else { Ok(()) }
}
