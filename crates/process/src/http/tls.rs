//! TLS with a certificate that may change while the port is open.
//!
//! Each connection asks for the configuration of the moment, so a rotation needs no restart and no lock: old
//! connections keep what they have until their age ends them.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Limits;
use crate::metrics::Refusal;

/// Where a connection gets its TLS configuration from. A cheap clone.
///
/// The configuration should offer ALPN `http/1.1` or nothing.
#[derive(Clone)]
pub struct TlsSource(Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>);

impl TlsSource {
    /// Asks `current` once per connection; it should only clone a pointer. `None` means that there is no certificate
    /// yet: the connection is closed.
    pub fn new(current: impl Fn() -> Option<Arc<ServerConfig>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        (self.0)().map(TlsAcceptor::from)
    }
}

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSource")
    }
}

/// Shakes hands within the limits.
pub(super) async fn handshake(
    stream: TcpStream,
    source: &TlsSource,
    turn: &Semaphore,
    limits: &Limits,
) -> Result<TlsStream<TcpStream>, (Refusal, io::Error)> {
    let late = |error: tokio::time::error::Elapsed| failed(error.into());
    // Two deadlines: who waited for a turn behind silent peers must still have the whole time to shake hands.
    let _turn = timeout(limits.handshake_timeout, turn.acquire())
        .await
        .map_err(late)?
        .map_err(|closed| failed(io::Error::other(closed)))?;
    let acceptor = source.acceptor().ok_or_else(missing)?;
    timeout(limits.handshake_timeout, acceptor.accept(stream)).await.map_err(late)?.map_err(failed)
}

fn missing() -> (Refusal, io::Error) {
    (Refusal::NoCertificate, io::Error::other("no certificate yet"))
}

fn failed(error: io::Error) -> (Refusal, io::Error) {
    (Refusal::Handshake, error)
}
