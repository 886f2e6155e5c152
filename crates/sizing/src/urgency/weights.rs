//! Weights of the criteria from comparisons of pairs (AHP), refused if they contradict each other.

use serde::{Deserialize, Serialize};

use super::{COUNT, CPU};

/// How much more row `i` matters than column `j`: 1 equal, 9 extremely; `a[j][i] = 1 / a[i][j]`. The order is that of the criteria of CPU:
/// throttling, utilization, pressure, persistence.
pub type Comparisons = [[f64; COUNT]; COUNT];

/// Pressure weighs no more than throttling: throttling itself raises the pressure of a cgroup.
pub(super) const DEFAULT: Comparisons = [
    [1.0, 2.0, 2.0, 3.0],
    [1.0 / 2.0, 1.0, 1.0, 2.0],
    [1.0 / 2.0, 1.0, 1.0, 2.0],
    [1.0 / 3.0, 1.0 / 2.0, 1.0 / 2.0, 1.0],
];
/// Consistency index of random comparisons of four criteria (Saaty).
const RANDOM_INDEX: f64 = 0.90;
/// Comparisons above this consistency ratio are refused.
const LARGEST_RATIO: f64 = 0.10;

/// Weights of the criteria; their sum is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights([f64; COUNT]);

/// How far comparisons contradict each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consistency {
    /// Estimate of the largest eigenvalue; the number of criteria if nothing contradicts.
    pub lambda: f64,
    /// Consistency index.
    pub index: f64,
    /// Consistency ratio: 0 nothing contradicts, 1 as random comparisons do.
    pub ratio: f64,
}

/// Why comparisons are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Inconsistent {
    /// Not a comparison.
    #[error(
        "{row} compared with {column} is {value}: use a number from 1/9 to 9, and its inverse the other way round"
    )]
    Value {
        /// The criterion of the row.
        row: &'static str,
        /// That of the column.
        column: &'static str,
        /// What is there.
        value: f64,
    },
    /// They contradict each other.
    #[error(
        "the comparisons contradict each other (consistency ratio {ratio:.2}, at most 0.10): revisit {row} compared with {column}, \
         which is {stated:.2} but {implied:.2} by the other comparisons"
    )]
    Ratio {
        /// The consistency ratio.
        ratio: f64,
        /// The comparison that contradicts the others most.
        row: &'static str,
        /// It is of these two criteria.
        column: &'static str,
        /// As it was made.
        stated: f64,
        /// As the weights of all comparisons say.
        implied: f64,
    },
}

impl Default for Weights {
    fn default() -> Self {
        Self(geometric_means(&DEFAULT))
    }
}

impl Weights {
    /// By the geometric mean of each row.
    ///
    /// # Errors
    /// [`Inconsistent`], naming the comparison to revisit.
    pub fn from_comparisons(comparisons: &Comparisons) -> Result<Self, Inconsistent> {
        check_values(comparisons)?;
        let weights = geometric_means(comparisons);
        let ratio = Consistency::of(comparisons).ratio;
        if ratio <= LARGEST_RATIO {
            return Ok(Self(weights));
        }
        let implied = |i: usize, j: usize| weights[i] / weights[j];
        let contradiction = |(i, j): (usize, usize)| (comparisons[i][j] / implied(i, j)).ln().abs();
        let (i, j) = pairs()
            .reduce(|most, pair| if contradiction(pair) > contradiction(most) { pair } else { most })
            .unwrap_or_default();
        Err(Inconsistent::Ratio {
            ratio,
            row: CPU[i].0,
            column: CPU[j].0,
            stated: comparisons[i][j],
            implied: implied(i, j),
        })
    }

    /// In the order of the criteria.
    pub fn values(&self) -> [f64; COUNT] {
        self.0
    }
}

impl Consistency {
    /// Of these comparisons.
    pub fn of(comparisons: &Comparisons) -> Self {
        let weights = geometric_means(comparisons);
        let product = |row: &[f64; COUNT]| row.iter().zip(weights).map(|(a, w)| a * w).sum::<f64>();
        let n = COUNT as f64;
        let lambda = comparisons.iter().zip(weights).map(|(row, w)| product(row) / w).sum::<f64>() / n;
        let index = (lambda - n) / (n - 1.0);
        Self { lambda, index, ratio: index / RANDOM_INDEX }
    }
}

fn geometric_means(comparisons: &Comparisons) -> [f64; COUNT] {
    let means = comparisons.map(|row| row.iter().product::<f64>().powf(1.0 / COUNT as f64));
    let sum: f64 = means.iter().sum();
    means.map(|mean| mean / sum)
}

fn check_values(comparisons: &Comparisons) -> Result<(), Inconsistent> {
    let scale = 1.0 / 9.0 - 1e-6..=9.0 + 1e-6;
    let diagonal = (0..COUNT).map(|i| (i, i));
    for (i, j) in pairs().chain(pairs().map(|(i, j)| (j, i))).chain(diagonal) {
        let value = comparisons[i][j];
        // rounded inverses such as 0.33 are accepted
        if !scale.contains(&value) || (value * comparisons[j][i] - 1.0).abs() > 0.02 {
            return Err(Inconsistent::Value { row: CPU[i].0, column: CPU[j].0, value });
        }
    }
    Ok(())
}

/// Each pair of criteria once.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..COUNT).flat_map(|i| (i + 1..COUNT).map(move |j| (i, j)))
}
