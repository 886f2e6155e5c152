//! How a process of ours behaves: what it logs, when it stops, whom it serves and how long it waits for them.
//!
//! ```text
//!   main ── crypto ── telemetry ── shutdown ───────────── trigger ────────────┐
//!                                     │                                       │
//!                                   tasks   named, owned; one that ends       │
//!                                     │     early ends the process            │
//!              ┌──────────────────────┼──────────────────────┐                │
//!          http::serve            your loop              your loop  <─────────┘
//!              │                      │
//!   accept ─ door ─ tls ─ handler     ├─ touches ── probe::Beat   (is it alive?)
//!              │                      └─ sets ───── probe::Latch  (was it ever ready?)
//!              └─ counts ── metrics ── render ── GET /metrics
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`telemetry`] | where logs go and how they look |
//! | [`crypto`] | which TLS provider is used |
//! | [`shutdown`] | how a stop begins, and how everyone hears of it |
//! | [`tasks`] | who owns a task, and what happens when it ends |
//! | [`probe`] | the two facts behind a liveness and a readiness endpoint |
//! | [`http`] | every limit a server needs, and plain answers |
//! | [`metrics`] | a registry that already knows this process |
//!
//! The crate knows no word of the product and imports nothing of ours: names of metrics and paths are arguments. It
//! reads no environment except through the flags of [`telemetry::TelemetryArgs`].

pub mod crypto;
pub mod http;
pub mod metrics;
pub mod probe;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
