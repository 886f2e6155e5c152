//! placeholder

pub mod api;
pub mod host;
pub mod kubelet;
pub mod load;
pub mod workload;
