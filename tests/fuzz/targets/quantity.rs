//! Any text as a quantity: the canonical form of a parsed quantity parses to the same amount.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_contract::Quantity;

fuzz_target!(|text: &str| {
    let Ok(quantity) = text.parse::<Quantity>() else { return };
    let canonical = quantity.to_string();
    assert_eq!(canonical.parse(), Ok(quantity), "{canonical}");
    assert_eq!(canonical.parse::<Quantity>().map(|again| again.to_string()), Ok(canonical));
    assert!(quantity.as_f64().is_finite());
});
