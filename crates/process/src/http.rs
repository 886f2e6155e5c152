//! Serving HTTP/1.1 to peers that may be slow, silent, many or hostile.
//!
//! ```text
//!  listener ── accept ── door ────────── tls ───────── connection ───────── handler ──── your service
//!              backs     full? 503       certificate   header and idle      deadline, panic,
//!              off when  (refused, not   per connec-   limits, age, a       peer address,
//!              no fd     queued)         tion          reader that stalls   counters
//!              is left
//! ```
//!
//! [`serve`] runs one port until the shutdown; [`Limits`] says how much of anything a peer may have; [`read_body`]
//! is how a handler reads a body within them; [`answer`] makes plain responses. HTTP/2 is not spoken: what we serve
//! does not need it, and what attacks it does not reach us.
//!
//! `axum::serve` is not used anywhere: it sets no timer, and without one hyper's own limits are silently off.

pub mod answer;
mod body;
mod connection;
mod door;
mod handler;
mod limits;
mod serve;
mod stall;
mod tls;

use std::net::SocketAddr;

pub use self::body::{BodyError, read_body};
pub use self::limits::Limits;
pub use self::serve::serve;
pub use self::tls::TlsSource;

/// An error of somebody else's body or service.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who sent a request: in the extensions of every request that [`serve`] hands to a service. An IPv4 peer on an IPv6
/// socket appears as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

#[cfg(test)]
mod tests;
