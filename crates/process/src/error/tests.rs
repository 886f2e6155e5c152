use std::io;

use thiserror::Error;

use super::error_chain;

#[derive(Debug, Error)]
#[error("cannot list: {0}")]
struct PrintsItsSource(#[source] HidesItsSource);

#[derive(Debug, Error)]
#[error("cannot connect")]
struct HidesItsSource(#[source] io::Error);

#[test]
fn every_cause_is_named_once() {
    let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    let error = PrintsItsSource(HidesItsSource(refused));
    assert_eq!(error_chain(&error), "cannot list: cannot connect: connection refused");
}
