//! Kubernetes' number notation, exact: `500m`, `1.5Gi`, `12e3`.
//!
//! An amount is kept in nano-units, the finest that Kubernetes knows, so that nothing is lost on the way from a
//! pod's spec to a patch. `parse` reads what Go's `resource.Quantity` reads and rounds as it does (a remainder below one
//! nano is rounded away from zero); `format` writes the canonical text in the notation that was read. Differences from
//! Go, on purpose: a text without any digit (`m`, `.`) is an error and not 0, and decimal amounts saturate at
//! [`Quantity::MAX`] instead of growing without bound. Proof: `tests.rs`, with a table of what Go answers.

mod format;
mod parse;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use format::Format;
pub use parse::InvalidQuantity;

use crate::{Bytes, Cores};

/// Nano-units in one unit.
const UNIT: i128 = 1_000_000_000;
/// Nano-units in one thousandth.
const MILLI: i128 = 1_000_000;

/// An exact amount, and the notation it is written in.
///
/// Two quantities are equal when their amounts are: `1024Mi` equals `1Gi` and `1`'s notation does not matter.
///
/// ```
/// use plimsoll_contract::Quantity;
///
/// let limit: Quantity = "1.5Gi".parse()?;
/// assert_eq!(limit.value(), 1_610_612_736);
/// assert_eq!(limit.to_string(), "1536Mi");
/// # Ok::<(), plimsoll_contract::quantity::InvalidQuantity>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// The largest amount, 10^29 units; the smallest is its negative. Binary notation ends at 2^63 - 1, as in Go.
    pub const MAX: Quantity = Quantity { nano: parse::LARGEST_DECIMAL, format: Format::Decimal };

    /// CPU in thousandths of a core; written `250m`, `2`.
    pub fn from_millicores(millicores: u64) -> Self {
        Quantity { nano: i128::from(millicores) * MILLI, format: Format::Decimal }
    }

    /// CPU, to the nearest nano-core; none when it is not a finite number.
    pub fn from_cores(cores: Cores) -> Option<Self> {
        let limit = parse::LARGEST_DECIMAL;
        let nano = || ((cores.0 * UNIT as f64).round() as i128).clamp(-limit, limit);
        cores.0.is_finite().then(|| Quantity { nano: nano(), format: Format::Decimal })
    }

    /// Memory; written in the largest binary unit that divides it: `512Mi`, `1025`.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Quantity { nano: i128::from(bytes.0) * UNIT, format: Format::Binary }
    }

    /// In whole units, a remainder rounded away from zero.
    pub fn value(self) -> i128 {
        divide_away_from_zero(self.nano, UNIT)
    }

    /// In thousandths of a unit, a remainder rounded away from zero.
    pub fn milli_value(self) -> i128 {
        divide_away_from_zero(self.nano, MILLI)
    }

    /// In nano-units, exact.
    pub fn nano_value(self) -> i128 {
        self.nano
    }

    /// In units, to the nearest floating-point number.
    pub fn as_f64(self) -> f64 {
        self.nano as f64 / UNIT as f64
    }

    /// The notation it is written in.
    pub fn format(self) -> Format {
        self.format
    }

    /// The same amount, to be written in another notation.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Quantity { format, ..self }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format::canonical(self.nano, self.format))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nano.hash(state);
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A string, or a bare number as YAML often has it (`cpu: 2`). Space around the text is ignored, as in Go.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Notation)
    }
}

struct Notation;

impl de::Visitor<'_> for Notation {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as \"500m\" or \"1.5Gi\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
        Ok(Quantity { nano: i128::from(number) * UNIT, format: Format::Decimal })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
        Ok(Quantity { nano: i128::from(number) * UNIT, format: Format::Decimal })
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }
}

fn divide_away_from_zero(amount: i128, by: i128) -> i128 {
    amount / by + if amount % by == 0 { 0 } else { amount.signum() }
}
