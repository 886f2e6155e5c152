//! What the test programs of this package share: the conformance script, which `make test` and `make e2e` both play.

#[path = "../conformance/conformance.rs"]
pub mod conformance;
