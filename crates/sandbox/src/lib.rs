//! A Kubernetes cluster in one process: what surrounds the agent and the aggregator in the demo, the tests and the benchmarks.
//! Never for production.
//!
//! ```text
//!   aggregator, kubectl, tests ── HTTPS on loopback ──> api      objects, field ownership, watches, tokens; in memory
//!                                                        │ ^
//!                                   pods bound to a node │ │ statuses
//!                                                        v │
//!                                                     kubelet    cgroups, containers; resizes immediately, late, partially
//!                                                        │
//!                                                        v
//!   agent <────────── reads cgroup files ─────────────  host     real cgroups, or a directory tree with the same files
//!                                                        ^
//!                                            load ───────┴────── workload: a process that follows a load script
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`api`] | an API server with the answers of a real one to Plimsoll's requests, and with scripted faults |
//! | [`kubelet`] | runs the pods of one node on a host; projects tokens and ConfigMaps as files |
//! | [`host`] | where containers run: processes in real cgroups, or simulated counters |
//! | [`load`] | the demand of a container over time: constant, square wave, trace, ramp |
//! | [`workload`] | the process in a real container |
//!
//! **This crate is frozen.** It has the rules that a request of ours depends on: of the aggregator, the command line, the demo,
//! `kubectl get pods -A -L ... -w` as the demo advertises it, our tests, or the conformance script (`tests/conformance`), whose
//! recorded answers of a real Kubernetes must stay the same. A new rule needs the product request that depends on it, named
//! beside it in a comment, and a step of the conformance script; a rule without a request is deleted.
//!
//! It binds only to loopback, and writes only to the directories it is given and to cgroups below a directory of its own, which
//! it removes when it stops, or, if it was killed, at the next start. Its error messages are those of a real server.
//! Tests: `api/tests/`, `kubelet/tests/`, `host/*/tests.rs`, `load/tests.rs`, and `tests/conformance`.

pub mod api;
pub mod host;
pub mod kubelet;
pub mod load;
pub mod workload;
