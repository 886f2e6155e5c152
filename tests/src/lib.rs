//! Shared by the test programs of this package: the conformance script, which both `make test` and `make e2e` run.

#[path = "../conformance/conformance.rs"]
pub mod conformance;
