//! The TLS provider of the process: ring, installed once, by name.
//!
//! Without an installed provider rustls panics at the first handshake if the build contains none, or two. A workspace
//! build can hide that, because features of sibling crates are unified, so every `main` calls this first.

/// Makes ring the TLS provider of the process. The first call wins, later calls have no effect.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what was wanted.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::install_crypto_provider;

    #[test]
    fn a_second_installation_changes_nothing() {
        install_crypto_provider();
        install_crypto_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
