//! The aggregator as a whole, in this process, between a sandbox API server and hand-made agents: what it believes,
//! what it writes, and what it tells. Nothing is replaced: TLS, token reviews and server-side applies are real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a failure is a failed test")]

mod edges {
    mod identity;
    mod record;
    mod reports;
    mod serve;
    mod trust;
    mod wire;
    mod world;
    mod write;
}
