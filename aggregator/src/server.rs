//! The three ports: [`agents`] takes reports over TLS, [`people`] answers GET in plain HTTP, [`probes`] answers the kubelet.

pub(crate) mod agents;
pub(crate) mod people;
mod pod_list;
pub(crate) mod probes;
