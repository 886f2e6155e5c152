//! Which TLS provider the process uses: ring, chosen once, by name.
//!
//! Without a chosen provider rustls panics at the first handshake if the build happens to contain none, or two. A
//! workspace build can hide that (features of siblings are unified), so every `main` calls this first.

/// Makes ring the TLS provider of the process. The first call wins, later ones change nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what was wanted.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
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
