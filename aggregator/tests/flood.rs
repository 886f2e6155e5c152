//! Floods against the aggregator as it is shipped: a process of its own, so that its memory can be measured, and a test program of
//! its own, so that no other test runs at the same time.
//!
//! Each flood takes 10 s. `PLIMSOLL_FLOOD_SECONDS=60 cargo test --release --package plimsoll-aggregator --test flood -- --nocapture`
//! is the full run; it prints what it measured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a failure is a failed test")]
#![allow(clippy::print_stdout, reason = "what was measured is shown with --nocapture")]

mod edges {
    mod flood;
    #[allow(dead_code, reason = "the harness of the edge tests, of which the floods need a part")]
    mod harness;
    #[allow(dead_code, reason = "as above")]
    mod wire;
}
