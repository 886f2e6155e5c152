//! The TLS configuration of the agents' port, replaced while the port is open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use plimsoll_process::http::TlsSource;
use rustls::ServerConfig;

use super::certificate::Certificate;

/// Holds the current TLS configuration. A cheap clone; empty until the first certificate is loaded.
#[derive(Clone, Default)]
pub struct TlsConfig(Arc<RwLock<Option<Arc<ServerConfig>>>>);

impl TlsConfig {
    /// Empty: connections are closed.
    pub fn new() -> TlsConfig {
        TlsConfig::default()
    }

    /// Uses this certificate for new connections.
    ///
    /// # Errors
    /// See [`Certificate::server_config`]; the certificate loaded before stays.
    pub fn load(&self, certificate: &Certificate) -> anyhow::Result<()> {
        let config = Arc::new(certificate.server_config()?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
        Ok(())
    }

    /// For [`plimsoll_process::http::serve`].
    pub fn source(&self) -> TlsSource {
        let slot = self.clone();
        TlsSource::new(move || slot.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}
