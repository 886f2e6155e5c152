//! The two ports: [`agents`] takes reports over TLS, [`people`] answers GET in plain HTTP.

pub(crate) mod agents;
pub(crate) mod people;
mod pod_list;
