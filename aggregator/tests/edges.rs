//! The whole aggregator, in this process, between a sandbox API server and agents made by hand: which reports it accepts, what it
//! writes, and what it answers. Nothing is mocked: TLS, token reviews and server-side applies are real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a failure is a failed test")]

mod edges {
    mod certs;
    mod harness;
    mod hostile;
    mod people;
    mod ports;
    mod record;
    mod reports;
    mod resizing;
    mod trust;
    mod wire;
    mod write;
}
