//! Summary statistics of measurements: the benches, the end-to-end tests and the peers include this file.

/// Minimum, median and maximum of several numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` if there are no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (first, last) = (numbers.first()?, numbers.last()?);
        Some(Summary { min: *first, median: numbers[numbers.len() / 2], max: *last })
    }
}
