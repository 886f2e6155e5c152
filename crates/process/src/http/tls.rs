//! TLS with a certificate that may change while the port is open.
//!
//! Each connection uses the configuration that is current when it starts, so a rotation needs no restart and no lock:
//! open connections keep their configuration until they reach their maximum age.

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
use crate::metrics::Rejection;

/// Where connections get their TLS configuration. Cheap to clone.
///
/// The configuration should offer ALPN `http/1.1` or nothing.
#[derive(Clone)]
pub struct TlsSource(Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>);

impl TlsSource {
    /// Calls `current` once per connection; it should only clone a pointer. `None` means that there is no certificate
    /// yet: the connection is closed.
    pub fn new(current: impl Fn() -> Option<Arc<ServerConfig>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }
}

impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSource")
    }
}

/// Performs the TLS handshake within the limits. `handshakes` bounds how many run at once.
pub(super) async fn handshake(
    stream: TcpStream,
    source: &TlsSource,
    handshakes: &Semaphore,
    limits: &Limits,
) -> Result<TlsStream<TcpStream>, (Rejection, io::Error)> {
    let failed = |error: io::Error| (Rejection::Handshake, error);
    let elapsed = |error: tokio::time::error::Elapsed| failed(error.into());
    // Two deadlines: a peer that waited behind silent peers still has the full time for its handshake.
    let waited = timeout(limits.handshake_timeout, handshakes.acquire()).await.map_err(elapsed)?;
    let _permit = waited.map_err(|closed| failed(io::Error::other(closed)))?;
    let Some(config) = (source.0)() else {
        return Err((Rejection::NoCertificate, io::Error::other("no certificate yet")));
    };
    let accepted = timeout(limits.handshake_timeout, TlsAcceptor::from(config).accept(stream)).await;
    accepted.map_err(elapsed)?.map_err(failed)
}
