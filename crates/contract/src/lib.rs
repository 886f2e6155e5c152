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
//! | [`names`] | [`PodUid`], [`ContainerId`], [`NodeName`], [`PodName`] |
//! | [`load`] | [`ResourceLoad`](load::ResourceLoad): how loaded one resource of a pod is |
//! | [`report`] | an agent's statement about its node |
//! | [`rejection`] | what is rejected of a report, and why |
//! | [`resize`] | in-place resizing, as annotations keep it and people read it |
//! | [`moment`] | [`Moment`]: points in time |
//! | [`roster`] | what the aggregator tells an agent about its pods |
//! | [`status`] | what the aggregator tells people: pods, nodes, decisions |
//! | [`keys`] | labels and annotations on pods |
//! | [`api_status`] | how the API server says that a pod is gone |
//!
//! Pure: serde and arithmetic; no runtime, no clock, no input or output.

pub mod api_status;
pub mod band;
pub mod keys;
pub mod load;
pub mod moment;
pub mod names;
pub mod quantity;
pub mod rejection;
pub mod report;
pub mod resize;
pub mod roster;
pub mod status;
pub mod units;

pub use band::{Band, Basis, Resource};
pub use load::Amount;
pub use moment::Moment;
pub use names::{ContainerId, NodeName, PodName, PodUid};
pub use quantity::Quantity;
pub use report::Report;
pub use units::{Bytes, Cores, Limit};
