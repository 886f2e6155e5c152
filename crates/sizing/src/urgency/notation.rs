//! Comparisons of criteria as a person writes them: `throttle/util=2,psi/high=3` says that throttling matters twice as much as utilization, and
//! pressure three times as much as persistence.

use std::str::FromStr;

use super::weights::{DEFAULT, Inconsistent, Weights};
use super::{COUNT, CPU};

/// Why a text holds no weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotWeights {
    /// It is no list of comparisons.
    #[error(
        "{0:?} is no comparison: write A/B=N where A matters N times as much as B, such as throttle/util=2"
    )]
    Form(String),
    /// There is no such criterion.
    #[error("{part:?} names {name:?}: the criteria are {}", CPU.map(|(name, _)| name).join(", "))]
    Criterion {
        /// The comparison.
        part: String,
        /// What it names.
        name: String,
    },
    /// The number is none, or out of range.
    #[error(
        "{part:?} says {number:?}: write a number from 1 (as much) to 9 (far more); where the first matters less, write {second}/{first}"
    )]
    Number {
        /// The comparison.
        part: String,
        /// Its number.
        number: String,
        /// Its criteria.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// Both are the same.
    #[error("{0:?} compares a criterion with itself: name two")]
    Itself(String),
    /// The two were compared before.
    #[error("{0:?} compares two that were compared before: keep one of the comparisons")]
    Twice(String),
    /// They contradict each other.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

/// Comparisons that are not written are those of the default.
impl FromStr for Weights {
    type Err = NotWeights;

    fn from_str(text: &str) -> Result<Self, NotWeights> {
        let mut comparisons = DEFAULT;
        let mut compared = [[false; COUNT]; COUNT];
        for part in text.split(',').map(str::trim) {
            let form = || NotWeights::Form(part.to_owned());
            let (pair, number) = part.split_once('=').ok_or_else(form)?;
            let (first, second) = pair.split_once('/').ok_or_else(form)?;
            let (i, j) = (criterion(first, part)?, criterion(second, part)?);
            if i == j {
                return Err(NotWeights::Itself(part.to_owned()));
            }
            if compared[i.min(j)][i.max(j)] {
                return Err(NotWeights::Twice(part.to_owned()));
            }
            compared[i.min(j)][i.max(j)] = true;
            let value = number.trim().parse::<f64>().ok().filter(|value| (1.0..=9.0).contains(value));
            let value = value.ok_or_else(|| NotWeights::Number {
                part: part.to_owned(),
                number: number.trim().to_owned(),
                first: CPU[i].0,
                second: CPU[j].0,
            })?;
            comparisons[i][j] = value;
            comparisons[j][i] = 1.0 / value;
        }
        Ok(Weights::from_comparisons(&comparisons)?)
    }
}

fn criterion(name: &str, part: &str) -> Result<usize, NotWeights> {
    let name = name.trim();
    CPU.iter()
        .position(|(known, _)| *known == name)
        .ok_or_else(|| NotWeights::Criterion { part: part.to_owned(), name: name.to_owned() })
}
