//! How a set of measurements is summed up: the benches, the end-to-end tests and the peers include this file.

/// Smallest, middle and largest of several numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` for no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (first, last) = (numbers.first()?, numbers.last()?);
        Some(Spread { min: *first, median: numbers[numbers.len() / 2], max: *last })
    }
}
