//! Which moves of a script are worth telling: the ground truth is a list of changes, not of samples.

/// Remembers what was last told.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    told: Option<f64>,
}

impl Changes {
    /// Smallest move that is told, as a share of the larger of the two values.
    pub const SMALLEST: f64 = 0.05;

    /// Whether `value` is to be told: the first one, and each that is more than [`Changes::SMALLEST`] away from the last told.
    pub fn tells(&mut self, value: f64) -> bool {
        let tells = match self.told {
            None => true,
            Some(last) => (value - last).abs() > Self::SMALLEST * value.max(last),
        };
        if tells {
            self.told = Some(value);
        }
        tells
    }
}
