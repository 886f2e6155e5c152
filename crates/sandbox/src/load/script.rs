//! The scripts: notation, value and exact integral of each shape.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use plimsoll_contract::Quantity;
use serde::{Deserialize, Serialize};

/// The demand of one resource over time; cores or bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Script {
    Constant(Amount),
    Square(Square),
    Trace(Trace),
    Ramp(Ramp),
}

/// `low` for the first part of each period, then `high` for the share `duty` of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Square {
    low: Amount,
    high: Amount,
    period: Span,
    #[serde(default = "half")]
    duty: f64,
}

/// Values that each last until the next point; before the first point, the first value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    /// Ordered by time.
    points: Vec<(Span, Amount)>,
    /// The trace starts again after this time; if absent, the last value lasts forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Span>,
}

/// `from` until `start`, then a line to `to` for the time `over`, then `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ramp {
    from: Amount,
    to: Amount,
    #[serde(default)]
    start: Span,
    over: Span,
}

/// Cores or bytes: a number, or a Kubernetes quantity as text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Notation", into = "f64")]
pub(crate) struct Amount(pub(crate) f64);

/// A time: a number of seconds, or a text such as `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "Notation", into = "f64")]
struct Span(Duration);

#[derive(Deserialize)]
#[serde(untagged)]
enum Notation {
    Number(f64),
    Text(String),
}

impl TryFrom<Notation> for Amount {
    type Error = plimsoll_contract::quantity::InvalidQuantity;

    fn try_from(notation: Notation) -> Result<Amount, Self::Error> {
        match notation {
            Notation::Number(value) => Ok(Amount(value)),
            Notation::Text(text) => Ok(Amount(text.parse::<Quantity>()?.as_f64())),
        }
    }
}

impl From<Amount> for f64 {
    fn from(amount: Amount) -> f64 {
        amount.0
    }
}

impl TryFrom<Notation> for Span {
    type Error = anyhow::Error;

    fn try_from(notation: Notation) -> anyhow::Result<Span> {
        match notation {
            Notation::Number(seconds) => Ok(Span(Duration::try_from_secs_f64(seconds)?)),
            Notation::Text(text) => {
                let span = text.parse::<SignedDuration>()?;
                Ok(Span(Duration::try_from(span).with_context(|| format!("{text:?} is negative"))?))
            }
        }
    }
}

impl From<Span> for f64 {
    fn from(span: Span) -> f64 {
        span.seconds()
    }
}

impl Span {
    fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Whole periods of this length before `t`, and the seconds since the last one began.
    fn periods(self, t: Duration) -> (f64, f64) {
        let (t, period) = (t.as_nanos(), self.0.as_nanos().max(1));
        ((t / period) as f64, (t % period) as f64 / 1e9)
    }
}

impl Script {
    /// The value at the time `t` after the start.
    pub(crate) fn at(&self, t: Duration) -> f64 {
        match self {
            Script::Constant(value) => value.0,
            Script::Square(square) if square.period.periods(t).1 >= square.low_seconds() => square.high.0,
            Script::Square(square) => square.low.0,
            Script::Trace(trace) => trace.at(t),
            Script::Ramp(ramp) => {
                let (progress, from, to) = (ramp.progress(t.as_secs_f64()), ramp.from.0, ramp.to.0);
                (from * (1.0 - progress) + to * progress).clamp(from.min(to), from.max(to))
            }
        }
    }

    /// The exact integral between two times: core-seconds or byte-seconds. Zero when `to` is not after `from`.
    pub(crate) fn integral(&self, from: Duration, to: Duration) -> f64 {
        if to <= from { 0.0 } else { self.since_start(to) - self.since_start(from) }
    }

    /// The largest value that [`Script::at`] can return.
    pub(crate) fn max(&self) -> f64 {
        match self {
            Script::Constant(value) => value.0,
            Script::Square(square) => square.low.0.max(square.high.0),
            Script::Trace(trace) => trace.points.iter().map(|(_, value)| value.0).fold(0.0, f64::max),
            Script::Ramp(ramp) => ramp.from.0.max(ramp.to.0),
        }
    }

    /// The integral from the start to `t`.
    fn since_start(&self, t: Duration) -> f64 {
        let seconds = t.as_secs_f64();
        match self {
            Script::Constant(value) => value.0 * seconds,
            Script::Square(square) => {
                let (cycles, rest) = square.period.periods(t);
                let low = square.low_seconds();
                let high = cycles * (square.period.seconds() - low) + (rest - low).max(0.0);
                square.low.0 * seconds + (square.high.0 - square.low.0) * high
            }
            Script::Trace(trace) => match trace.repeat {
                Some(repeat) => {
                    let (cycles, rest) = repeat.periods(t);
                    cycles * trace.once(repeat.seconds()) + trace.once(rest)
                }
                None => trace.once(seconds),
            },
            Script::Ramp(ramp) => {
                let over = ramp.over.seconds();
                let moved = ramp.progress(seconds);
                let after = (seconds - ramp.start.seconds() - over).max(0.0);
                ramp.from.0 * seconds + (ramp.to.0 - ramp.from.0) * (moved * moved * over / 2.0 + after)
            }
        }
    }

    /// Whether all numbers are in their range; the error names the field.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self {
            Script::Constant(value) => amount("constant", *value),
            Script::Square(square) => {
                amount("low", square.low)?;
                amount("high", square.high)?;
                ensure!((0.0..=1.0).contains(&square.duty), "`duty` must be between 0 and 1");
                positive("period", square.period)
            }
            Script::Trace(trace) => {
                trace.points.iter().try_for_each(|(_, value)| amount("points", *value))?;
                ensure!(!trace.points.is_empty(), "`points` must not be empty");
                ensure!(trace.points.is_sorted_by(|a, b| a.0 < b.0), "the times of `points` must increase");
                trace.repeat.map_or(Ok(()), |repeat| positive("repeat", repeat))
            }
            Script::Ramp(ramp) => {
                amount("from", ramp.from)?;
                amount("to", ramp.to)?;
                positive("over", ramp.over)
            }
        }
    }
}

impl Square {
    fn low_seconds(&self) -> f64 {
        self.period.seconds() * (1.0 - self.duty)
    }
}

impl Ramp {
    /// The part of the way from `from` to `to`, 0 to 1.
    fn progress(&self, seconds: f64) -> f64 {
        ((seconds - self.start.seconds()) / self.over.seconds()).clamp(0.0, 1.0)
    }
}

impl Trace {
    fn at(&self, t: Duration) -> f64 {
        let seconds = self.repeat.map_or(t.as_secs_f64(), |repeat| repeat.periods(t).1);
        let next = self.points.partition_point(|(from, _)| from.seconds() <= seconds);
        self.points.get(next.saturating_sub(1)).map_or(0.0, |(_, value)| value.0)
    }

    /// The integral up to `t` without repetition, in seconds.
    fn once(&self, t: f64) -> f64 {
        let later = || self.points.iter().skip(1).map(|(from, _)| from.seconds());
        let (starts, ends) = ([0.0].into_iter().chain(later()), later().chain([f64::INFINITY]));
        let lasts = |(start, end): (f64, f64)| (end.min(t) - start).max(0.0);
        self.points.iter().zip(starts.zip(ends)).map(|((_, value), span)| value.0 * lasts(span)).sum()
    }
}

fn half() -> f64 {
    0.5
}

fn amount(field: &str, value: Amount) -> anyhow::Result<()> {
    ensure!(value.0.is_finite() && value.0 >= 0.0, "`{field}` must be finite and not negative");
    Ok(())
}

fn positive(field: &str, span: Span) -> anyhow::Result<()> {
    ensure!(!span.0.is_zero(), "`{field}` must be longer than zero");
    Ok(())
}
