//! The TLS provider of the process: ring, installed once, by name; and its random numbers.
//!
//! Without an installed provider rustls panics at the first handshake if the build contains none, or two. A workspace
//! build can hide that, because features of sibling crates are unified, so every `main` calls this first.

/// Makes ring the TLS provider of the process. The first call wins, later calls have no effect.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what was wanted.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// A random number of the operating system's, that no other process has.
///
/// # Errors
/// If the operating system gives none.
pub fn random_number() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let filled = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the operating system gives no random numbers"))?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::{install_crypto_provider, random_number};

    #[test]
    fn no_two_random_numbers_are_the_same() {
        assert_ne!(random_number().unwrap(), random_number().unwrap());
    }

    #[test]
    fn a_second_installation_changes_nothing() {
        install_crypto_provider();
        install_crypto_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
