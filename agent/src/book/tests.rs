//! The book driven by simulated nodes: by subject in the files beside.

mod bands;
mod basis;
mod cost;
mod missing;
mod roster;
pub(crate) mod sim;
mod urgency;
