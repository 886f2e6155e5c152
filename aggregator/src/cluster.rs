//! Everything that talks to the API server.
//!
//! | module | what |
//! |---|---|
//! | [`client`] | the clients; deadlines and errors of calls |
//! | [`watch`] | one generic watch; pods, nodes, namespaces and the pause switch are its kinds |
//! | [`pods`], [`nodes`], [`amounts`] | pods and nodes as the API server sends them, reduced to their facts |
//! | [`classes`], [`autoscalers`], [`quotas`] | the same of what resizing needs: SLA classes, HorizontalPodAutoscalers, ResourceQuotas and LimitRanges |
//! | [`lease`] | who may write |
//! | [`apply`] | performs writes and says their outcome; the only code that changes pods |
//! | [`events`] | publishes Events |
//! | [`ledger`] | writes the status of SLA classes |

mod amounts;
pub(crate) mod apply;
pub(crate) mod autoscalers;
pub(crate) mod classes;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod ledger;
mod names;
pub(crate) mod nodes;
pub(crate) mod pods;
pub(crate) mod quotas;
pub(crate) mod watch;
