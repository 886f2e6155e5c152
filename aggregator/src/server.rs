//! The three ports: [`agents`] takes reports over TLS, [`people`] answers GET in plain HTTP, [`probes`] answers the kubelet.

pub(crate) mod agents;
mod list;
pub(crate) mod one_at_a_time;
pub(crate) mod people;
pub(crate) mod probes;
