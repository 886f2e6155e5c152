//! Process behavior shared by the agent and the aggregator: logging, shutdown, owned tasks, HTTP serving with limits.
//!
//! ```text
//!   main ── crypto ── telemetry ── shutdown ───────────────── trigger ────────────┐
//!                                     │                                           │
//!                                   tasks   named and owned; one that ends        │
//!                                     │     early ends the process                │
//!              ┌──────────────────────┼──────────────────────┐                    │
//!          http::serve            your loop              your loop  <─────────────┘
//!              │                      │
//!   accept ─ limiter ─ tls ─ handler  ├─ records ── probe::Heartbeat   (is it alive?)
//!              │                      └─ sets ───── probe::Latch       (was it ever ready?)
//!              └─ counts ── metrics ── render ── GET /metrics
//! ```
//!
//! | module | provides |
//! |---|---|
//! | [`telemetry`] | log format, log filter, panics in the log |
//! | [`crypto`] | the TLS provider of the process, random numbers |
//! | [`shutdown`] | one shutdown signal for all tasks |
//! | [`tasks`] | ownership of long-lived tasks |
//! | [`probe`] | the state behind liveness and readiness endpoints |
//! | [`http`] | an HTTP server with limits, and standard responses |
//! | [`metrics`] | a registry with the `process_*` metrics, HTTP metrics, the text format |
//! | [`descriptors`] | the limit on file descriptors |
//! | [`backoff`] | doubling delays between attempts |
//! | [`rate_limit`] | a token bucket |
//! | [`recording`] | a run as a file, and reading it |
//! | [`error`] | an error and its causes as one line |
//!
//! The crate contains no domain words and imports none of our crates: metric names and paths are arguments. It reads
//! the environment only through the flags of [`telemetry::TelemetryArgs`].

pub mod backoff;
pub mod crypto;
pub mod descriptors;
pub mod error;
pub mod http;
pub mod metrics;
pub mod probe;
pub mod rate_limit;
pub mod recording;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
