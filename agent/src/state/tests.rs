//! The state of simulated nodes, by subject.

mod bands;
mod basis;
mod cost;
mod elsewhere;
mod events;
mod missing;
mod restarts;
mod roster;
pub(crate) mod sim;
mod urgency;
