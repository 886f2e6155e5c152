//! TLS on the agents' port: 1.3 only, HTTP/1.1 only, with a certificate that is swapped while the port is open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use plimsoll_process::http::TlsSource;
use rustls::ServerConfig;
use rustls::version::TLS13;

use crate::identity::certificate::Certificate;

/// Where the TLS configuration of the moment stands. A cheap clone; empty until the first certificate is loaded.
#[derive(Clone, Default)]
pub struct TlsSlot(Arc<RwLock<Option<Arc<ServerConfig>>>>);

impl TlsSlot {
    /// Nothing yet: connections are closed.
    pub fn new() -> TlsSlot {
        TlsSlot::default()
    }

    /// New connections get this certificate from now on.
    ///
    /// # Errors
    /// See [`server_config`]; what was loaded before stays.
    pub fn load(&self, certificate: &Certificate) -> anyhow::Result<()> {
        let config = Arc::new(server_config(certificate)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
        Ok(())
    }

    /// For [`plimsoll_process::http::serve`].
    pub fn source(&self) -> TlsSource {
        let slot = self.clone();
        TlsSource::new(move || slot.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for TlsSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSlot")
    }
}

/// The configuration of the agents' port with this certificate. No client certificates: agents show tokens.
///
/// # Errors
/// If leaf or key cannot be read, or do not belong together.
pub fn server_config(certificate: &Certificate) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("the TLS provider does not speak TLS 1.3")?
        .with_no_client_auth()
        .with_single_cert(certificate.chain()?, certificate.private_key()?)
        .context("the leaf and its key cannot be served")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not see a new certificate, and an agent keeps its connection anyway.
    config.send_tls13_tickets = 0;
    Ok(config)
}
