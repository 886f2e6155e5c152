//! Amount to text: the canonical form, as Go writes it.
//!
//! No fraction is ever written; the largest suffix is taken that leaves a whole number.

use super::UNIT;

/// The three notations of Kubernetes. A quantity keeps the one it was read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Powers of a thousand: `12M`, `500m`. Go's `DecimalSI`.
    #[default]
    Decimal,
    /// Powers of 1024: `12Mi`. Go's `BinarySI`. Falls back to decimal below 1024 and for fractions of a unit.
    Binary,
    /// Powers of ten, in steps of three: `12e6`. Go's `DecimalExponent`.
    Exponent,
}

const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The canonical text of an amount in nano-units.
pub(super) fn canonical(nano: i128, format: Format) -> String {
    let binary = nano % UNIT == 0 && (nano / UNIT).abs() >= 1024;
    match format {
        _ if nano == 0 => "0".into(),
        Format::Binary if binary => {
            let (number, steps) = reduced(nano / UNIT, 1024, BINARY.len() - 1);
            format!("{number}{}", BINARY[steps])
        }
        Format::Binary | Format::Decimal => {
            let (number, steps) = reduced(nano, 1000, DECIMAL.len() - 1);
            format!("{number}{}", DECIMAL[steps])
        }
        Format::Exponent => {
            let (number, steps) = reduced(nano, 1000, usize::MAX);
            match steps {
                3 => number.to_string(),
                steps if steps < 3 => format!("{number}e-{}", 9 - 3 * steps),
                steps => format!("{number}e{}", 3 * steps - 9),
            }
        }
    }
}

/// Divides by `base` while nothing is lost, at most `most` times; the number left and how often.
fn reduced(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut steps = 0;
    while steps < most && number != 0 && number % base == 0 {
        number /= base;
        steps += 1;
    }
    (number, steps)
}
