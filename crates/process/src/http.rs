//! Serving HTTP/1.1 to peers that may be slow, silent, numerous or hostile.
//!
//! ```text
//!  listener ── accept ──── limiter ──── first ──── tls ─────────── connection ───── handler ──── your service
//!              backs off   full? the    byte       turns, after    header and       permit,
//!              when no     least        in time    the complete    idle limits,     deadline, panic,
//!              fd is left  closes                  ClientHello     age, stalled     peer address,
//!                                                                  reader           metrics
//! ```
//!
//! [`bind`] opens a port, [`serve`] runs it until the shutdown, [`serve_on_own_thread`] does so for probes; [`Limits`]
//! bounds what a peer may use; [`read_body`] reads a request's body within them; [`answer`] builds plain responses. HTTP/2 is
//! not supported: our clients do not need it, and attacks on it do not reach us.
//!
//! `axum::serve` is not used anywhere: it sets no timer, and without one hyper's own limits are silently off.

pub mod answer;
mod body;
mod connection;
mod handler;
mod limiter;
mod limits;
mod response;
mod serve;
mod stall;
mod tls;

use std::net::SocketAddr;

pub use self::body::{BodyError, read_body};
pub use self::limits::Limits;
pub use self::serve::{bind, serve, serve_on_own_thread};
pub use self::tls::TlsSource;

/// An error of a service or a body that [`serve`] was given.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The address of the client: in the extensions of every request that [`serve`] passes to a service. An IPv4 peer on an
/// IPv6 socket appears as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

#[cfg(test)]
mod tests;
