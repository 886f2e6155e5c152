//! A cluster that fits on a laptop: everything around the agent and the aggregator, made of sand. For the demo, the tests
//! and the benches; never for production.
//!
//! ```text
//!   aggregator, kubectl, tests ── HTTPS on loopback ──> api      objects, field ownership, watches, tokens; in memory
//!                                                        │ ^
//!                                   pods bound to a node │ │ statuses
//!                                                        v │
//!                                                     kubelet    cgroups, containers; resizes late, partial or never
//!                                                        │
//!                                                        v
//!   agent <────────── reads cgroup files ─────────────  host     real cgroups, or a directory tree that looks like them
//!                                                        ^
//!                                            load ───────┴────── workload: a process that does what its script says
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`api`] | an API server that behaves as a real one where Plimsoll can tell the difference, and misbehaves when told to |
//! | [`kubelet`] | runs the pods of one node on a host; projects tokens and ConfigMaps as files |
//! | [`host`] | where containers live: real processes in real cgroups, or simulated counters |
//! | [`load`] | what a container wants over time: constant, step, square wave, ramp, noise, trace |
//! | [`workload`] | the process in a real container |
//!
//! It binds loopback only, and writes nothing but the directories it is given and cgroups below a directory of its own,
//! which are removed at the end, after a kill by the next run. What it refuses, it refuses in a real server's words.
//! Proof: `api/tests/`, `kubelet/tests/`, `host/*/tests.rs`, `load/tests.rs`.

pub mod api;
pub mod host;
pub mod kubelet;
pub mod load;
pub mod workload;
