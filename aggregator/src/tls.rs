//! TLS on the agents' port, with a certificate that is swapped while the port is open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use plimsoll_process::http::TlsSource;
use rustls::ServerConfig;

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
    /// See [`Certificate::server_config`]; what was loaded before stays.
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

impl fmt::Debug for TlsSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSlot")
    }
}
