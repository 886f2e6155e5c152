//! Everything that talks to the API server.
//!
//! | module | what |
//! |---|---|
//! | [`client`] | the clients; deadlines and errors of calls |
//! | [`watch`] | one generic watch; pods, nodes, namespaces and the pause switch are its kinds |
//! | [`pods`], [`nodes`] | pods and nodes as the API server sends them, reduced to their facts |
//! | [`lease`] | who may write |
//! | [`apply`] | performs writes and says their outcome; the only code that changes pods |
//! | [`events`] | publishes Events |

pub(crate) mod apply;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod nodes;
pub(crate) mod pods;
pub(crate) mod watch;
