//! Who is served first: fixed-range TOPSIS over four criteria of need, with AHP weights.
//!
//! ```text
//! z = criterion / its range, 0 to 1        D+ = sqrt(sum (w (1 - z))^2)   D- = sqrt(sum (w z)^2)   U = D- / (D+ + D-)
//! ```
//!
//! The ranges are fixed, not those of the pods at hand as in textbook TOPSIS: a score does not depend on who else is on the node, is comparable
//! between nodes and times, and is defined where all are alike. A criterion that is not known is left out, with its weight.

use std::fmt;

mod notation;
mod promethee;
mod weights;

pub use notation::NotWeights;
pub use promethee::net_flows;
pub use weights::{Comparisons, Consistency, Inconsistent, Weights};

#[cfg(test)]
mod tests;

/// How many criteria there are of each resource.
pub const COUNT: usize = 4;

/// Criteria of CPU: share of throttled periods, utilization of the basis, pressure, seconds in the high band.
const CPU: [(&str, f64); COUNT] = [("throttle", 0.5), ("util", 1.0), ("psi", 50.0), ("high", 300.0)];
/// Criteria of memory, in the order of the weights: hits of the limit, utilization, pressure, and how soon the limit is reached.
const MEMORY: [(&str, f64); COUNT] = [("events", 10.0), ("util", 1.0), ("psi", 20.0), ("trend", 1.0)];
/// A limit that is reached within this many seconds is as urgent as one that is reached now.
const TREND_SECONDS: f64 = 300.0;

/// What a container needs more of, by criterion: each 0 (no need) to 1; absent where it is not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criteria {
    names: [&'static str; COUNT],
    values: [Option<f64>; COUNT],
}

impl Criteria {
    /// CPU: share of throttled periods (0 to 1), utilization of the basis, PSI `some avg10` (percent), and for how many seconds it
    /// has been in the band `high`.
    pub fn cpu(
        throttled: Option<f64>,
        utilization: Option<f64>,
        psi: Option<f64>,
        high: Option<f64>,
    ) -> Self {
        Self::of(CPU, [throttled, utilization, psi, high])
    }

    /// Memory: hits of the limit (event `max`) in the last minute and recent kills, use over limit, PSI `some avg10` (percent), and in how many seconds the
    /// limit is reached (infinite: it is not).
    pub fn memory(
        events: Option<f64>,
        utilization: Option<f64>,
        psi: Option<f64>,
        left: Option<f64>,
    ) -> Self {
        let trend = left.filter(|left| *left >= 0.0).map(|left| TREND_SECONDS / left.max(1.0));
        Self::of(MEMORY, [events, utilization, psi, trend])
    }

    fn of(criteria: [(&'static str, f64); COUNT], values: [Option<f64>; COUNT]) -> Self {
        let mut scaled = [None; COUNT];
        for ((scaled, value), (_, most)) in scaled.iter_mut().zip(values).zip(criteria) {
            *scaled = crate::fit::known(value).map(|value| (value / most).min(1.0));
        }
        Self { names: criteria.map(|(name, _)| name), values: scaled }
    }

    /// The known ones, with their weights.
    fn weighed(&self, weights: &Weights) -> impl Iterator<Item = (f64, f64)> {
        self.values.into_iter().zip(weights.values()).filter_map(|(z, w)| Some((z?, w)))
    }
}

/// Urgency, 0 to 1. 0 where nothing is known: it is served after those whose need is known.
pub fn score(criteria: &Criteria, weights: &Weights) -> f64 {
    let from = |end: f64| criteria.weighed(weights).map(|(z, w)| (w * (end - z)).powi(2)).sum::<f64>().sqrt();
    let (to_most, to_least) = (from(1.0), from(0.0));
    if to_most + to_least > 0.0 { to_least / (to_most + to_least) } else { 0.0 }
}

/// How a score came about, each criterion times its weight: `[throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12]`.
pub struct Terms<'a>(pub &'a Criteria, pub &'a Weights);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms(criteria, weights) = *self;
        let mut before = "[";
        for ((name, z), w) in criteria.names.iter().zip(criteria.values).zip(weights.values()) {
            write!(f, "{before}{name} ")?;
            match z {
                Some(z) => write!(f, "{}x{}", Short(z), Short(w))?,
                None => f.write_str("unknown")?,
            }
            before = ", ";
        }
        f.write_str("]")
    }
}

/// A number from 0 to 1 in two decimals, without the leading zero.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 * 100.0).round() as u64 {
            part @ 0..100 => write!(f, ".{part:02}"),
            _ => f.write_str("1.00"),
        }
    }
}
