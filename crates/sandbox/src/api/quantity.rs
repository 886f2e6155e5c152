//! Quantities in the JSON of objects: compared exactly, and stored in the canonical form like in a real server.

use plimsoll_contract::Quantity;
use serde_json::{Value, json};

fn parse(quantity: &Value) -> Option<Quantity> {
    match quantity {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The amount in billionths of a unit, or `None` if it is not a quantity.
pub(super) fn nanos(quantity: &Value) -> Option<i128> {
    parse(quantity).map(Quantity::nano_value)
}

/// Converts `1000m` to `1`, and rounds fractions of a thousandth up. Invalid quantities remain unchanged; they are rejected later.
pub(super) fn canonicalize(quantity: &mut Value) {
    let Some(parsed) = parse(quantity) else { return };
    let nanos = parsed.nano_value();
    let rounded = if nanos > 0 && nanos % 1_000_000 != 0 {
        u64::try_from(nanos / 1_000_000 + 1).ok().map(Quantity::from_millicores)
    } else {
        None
    };
    *quantity = json!(rounded.unwrap_or(parsed).to_string());
}
