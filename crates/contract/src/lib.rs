//! What the processes of Plimsoll agree on: words, units, and the documents they exchange.
//!
//! ```text
//!   agent ---- Report ----> aggregator ---- labels, annotations (keys) ----> API server
//!         <--- Answer -----     |
//!             (roster)          +---- PodStatus, NodeStatus, Decision ----> plimsoll (command line), page
//! ```
//!
//! | module | words |
//! |---|---|
//! | [`band`] | [`Band`], [`Basis`], [`Resource`], the thresholds |
//! | [`units`] | [`Cores`], [`Bytes`], [`Limit`] |
//! | [`quantity`] | Kubernetes' number notation, exact |
//! | [`identity`] | [`PodUid`], [`ContainerId`], [`NodeName`], [`PodName`] |
//! | [`report`] | what an agent says of its node |
//! | [`roster`] | what the aggregator tells an agent about its pods |
//! | [`status`] | what the aggregator tells people: pods, nodes, decisions |
//! | [`keys`] | labels and annotations on pods |
//!
//! Pure: serde and arithmetic; no runtime, no clock, no input or output.

pub mod band;
pub mod identity;
pub mod keys;
pub mod quantity;
pub mod report;
pub mod roster;
pub mod status;
pub mod units;

pub use band::{Band, Basis, Resource};
pub use identity::{ContainerId, NodeName, PodName, PodUid};
pub use quantity::Quantity;
pub use report::Report;
pub use units::{Bytes, Cores, Limit};
