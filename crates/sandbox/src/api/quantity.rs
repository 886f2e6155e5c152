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

/// Rewrites `1000m` as `1`; what is no quantity stays, to be refused by name later.
pub(super) fn canonicalize(quantity: &mut Value) {
    if let Some(parsed) = parse(quantity) {
        *quantity = json!(parsed.to_string());
    }
}
