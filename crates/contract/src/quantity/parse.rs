//! Text to amount: `[+-] digits [. digits] suffix`.
//!
//! No floating point and no digit dropped: a text may have as many digits as it likes, and the result is still the
//! exact amount rounded up to the next nano-unit.

use std::str::FromStr;

use super::{Format, Quantity, UNIT};

/// Where decimal amounts saturate: 10^29 units, in nano-units.
pub(super) const LARGEST_DECIMAL: i128 = 10_i128.pow(38);
/// Where binary amounts saturate, as in Go: 2^63 - 1 units, in nano-units.
const LARGEST_BINARY: i128 = i64::MAX as i128 * UNIT;

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// There is no number at its start.
    #[error("{0:?} is not a quantity: it has no digits; write for example 500m, 2 or 1.5Gi")]
    NoDigits(String),
    /// What follows the number is not a suffix.
    #[error(
        "{text:?} is not a quantity: {suffix:?} is not a suffix; use one of n u m k M G T P E Ki Mi Gi Ti Pi Ei \
         or an exponent, for example 500m, 1.5Gi or 12e3"
    )]
    Suffix {
        /// The text, cut to 80 characters.
        text: String,
        /// The part that is not a suffix, cut to 80 characters.
        suffix: String,
    },
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Ten(i64),
    /// A power of two.
    Two(u32),
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(InvalidQuantity::NoDigits(shortened(text)));
        }
        let (scale, format) = interpret(suffix)
            .ok_or_else(|| InvalidQuantity::Suffix { text: shortened(text), suffix: shortened(suffix) })?;
        let amount = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(exponent) => binary(whole, fraction, exponent),
        };
        // Below one unit a binary notation would have to round: Go changes to decimal there, and so do we.
        let format = match format {
            Format::Binary if amount > 0 && amount < UNIT => Format::Decimal,
            format => format,
        };
        Ok(Quantity { nano: if negative { -amount } else { amount }, format })
    }
}

/// The leading ASCII digits, and what follows.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn interpret(suffix: &str) -> Option<(Scale, Format)> {
    let ten = |exponent| Some((Scale::Ten(exponent), Format::Decimal));
    let two = |exponent| Some((Scale::Two(exponent), Format::Binary));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        _ => exponent(suffix.strip_prefix(['e', 'E'])?).map(|e| (Scale::Ten(e), Format::Exponent)),
    }
}

/// A signed whole number; one too long for 64 bits saturates, as the amount will.
fn exponent(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let valid = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
    let bound = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    valid.then(|| text.parse().unwrap_or(bound))
}

/// Moves the point instead of multiplying: the digits up to the nano place are the amount, any other digit after it
/// rounds up.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let digits: Vec<i128> = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')).collect();
    if digits.iter().all(|d| *d == 0) {
        return 0;
    }
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent).saturating_add(9);
    let point = usize::try_from(point.max(0)).unwrap_or(usize::MAX);
    let mut amount: i128 = 0;
    for place in 0..point {
        amount = amount.saturating_mul(10).saturating_add(digits.get(place).copied().unwrap_or(0));
        if amount >= LARGEST_DECIMAL {
            return LARGEST_DECIMAL;
        }
    }
    amount + i128::from(digits.iter().skip(point).any(|d| *d != 0))
}

/// `whole` times the unit, plus the fraction's digits from the last to the first: rounding up at each place is the
/// same as rounding up once, because `ceil(ceil(x) / n) = ceil(x / n)`.
fn binary(whole: &str, fraction: &str, exponent: u32) -> i128 {
    let unit = UNIT << exponent;
    let digit = |b: u8| i128::from(b - b'0');
    let rest = fraction.bytes().rev().fold(0, |rest, b| (rest + digit(b) * unit + 9) / 10);
    let whole = whole.bytes().fold(0_i128, |n, b| (n * 10 + digit(b)).min(LARGEST_BINARY));
    whole.saturating_mul(unit).saturating_add(rest).min(LARGEST_BINARY)
}
