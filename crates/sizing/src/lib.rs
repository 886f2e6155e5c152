//! How large a container should be, and who gets what when there is not enough for all. Pure arithmetic: no clock, no I/O, no Kubernetes.
//!
//! | module | idea |
//! |---|---|
//! | [`size`] | requests and limits of a container, in whole millicores and bytes, and their bounds |
//! | [`policy`] | what an SLA class says |
//! | [`cpu`], [`memory`] | whether one container grows or shrinks, by how much, and why |
//! | [`verdict`] | what was decided, and why |
//! | [`urgency`] | who is served first: fixed-range TOPSIS with AHP weights |
//! | [`share`] | what each gets when headroom is short |
//! | [`model`] | a container under a CPU quota, for tests and replay |
//! | [`replay`] | rules compared on a trace of usage |
//!
//! The aggregator's plan, `plimsoll-demo replay` and the benches call the same functions.

pub mod cpu;
mod fit;
pub mod memory;
pub mod model;
pub mod policy;
pub mod replay;
pub mod share;
pub mod size;
mod timing;
pub mod urgency;
pub mod verdict;

pub use fit::least_change;
