//! PROMETHEE II, the alternative to TOPSIS in experiments: its scores depend on who else there is.

use super::{Criteria, Weights};

/// Differences up to this share of a criterion's range do not count.
const INDIFFERENCE: f64 = 0.05;
/// Differences from this share on count fully.
const PREFERENCE: f64 = 0.5;

/// Net flows, -1 to 1, in the order of `all`: how much more urgent each is than the others, less how much the others are than it. 0 for one alone.
/// A criterion that one of a pair does not know prefers neither.
pub fn net_flows(all: &[Criteria], weights: &Weights) -> Vec<f64> {
    let others = all.len().saturating_sub(1).max(1) as f64;
    let flow =
        |a: &Criteria| all.iter().map(|b| preference(a, b, weights) - preference(b, a, weights)).sum::<f64>();
    all.iter().map(|a| flow(a) / others).collect()
}

fn preference(a: &Criteria, b: &Criteria, weights: &Weights) -> f64 {
    let pairs = a.values.into_iter().zip(b.values).zip(weights.values());
    pairs.filter_map(|((a, b), w)| Some(w * strength(a? - b?))).sum()
}

fn strength(difference: f64) -> f64 {
    ((difference - INDIFFERENCE) / (PREFERENCE - INDIFFERENCE)).clamp(0.0, 1.0)
}
