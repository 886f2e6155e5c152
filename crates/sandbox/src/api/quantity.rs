//! Quantities in the JSON of objects: compared exactly, and stored in the canonical form as a real server does.

use plimsoll_contract::Quantity;
use serde_json::{Value, json};

fn parse(quantity: &Value) -> Option<Quantity> {
    match quantity {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The amount in billionths of a unit, or `None` when it is no quantity.
pub(super) fn nanos(quantity: &Value) -> Option<i128> {
    parse(quantity).map(Quantity::nano_value)
}

/// Rewrites `1000m` as `1`, and what is finer than a thousandth as the next one; what is no quantity stays, to be refused by
/// name later.
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
