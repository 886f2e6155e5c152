//! TLS with a certificate that may change while the port is open.
//!
//! Each connection uses the configuration that is current when it starts, so a rotation needs no restart and no lock:
//! open connections keep their configuration until they reach their maximum age.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Limits;
use super::limiter::ConnectionPermit;
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

/// Performs the TLS handshake within the limits. Only a complete `ClientHello` gets a turn, so a peer that says nothing, or
/// only a part of it, delays nobody.
pub(super) async fn handshake<IO>(
    stream: IO,
    source: &TlsSource,
    connection: &ConnectionPermit,
    limits: &Limits,
) -> Result<TlsStream<IO>, (Rejection, io::Error)>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error: io::Error| (Rejection::Handshake, error);
    let Some(config) = (source.0)() else {
        return Err((Rejection::NoCertificate, io::Error::other("no certificate yet")));
    };
    let whole = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let turn = connection.handshake_turn().await;
        let mut rest = pin!(hello.into_stream(config));
        match timeout(limits.handshake_turn, &mut rest).await {
            Ok(accepted) => accepted,
            Err(_elapsed) => {
                drop(turn);
                rest.await
            }
        }
    };
    let accepted = timeout(limits.handshake_timeout, whole).await;
    accepted.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)
}
