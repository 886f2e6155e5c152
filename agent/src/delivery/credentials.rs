//! The aggregator's CA, which its certificate is verified against, and the agent's token: two files that change at run time.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::regular;

/// Shortest interval at which the CA file is read.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// Neither file is larger than this, in bytes.
const MAX_SIZE: u64 = 256 << 10;

/// Why nothing can be sent yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialError {
    /// The aggregator has not published it yet, or the mount is missing.
    #[error(
        "no CA at {path}: {source}; the aggregator publishes it in ConfigMap plimsoll-ca: wait a minute, then check \
         the aggregator's log and --ca-file"
    )]
    NoCa { path: PathBuf, source: io::Error },
    #[error(
        "{path} does not contain a certificate in PEM form; it should have the content of ConfigMap plimsoll-ca"
    )]
    InvalidCa { path: PathBuf },
    #[error(
        "no token at {path}: {source}; it is a projected service account token with audience plimsoll-aggregator: \
         check the pod's volumes and --token-file"
    )]
    NoToken { path: PathBuf, source: io::Error },
    #[error("{path} does not contain a token; it should be a service account token written by the kubelet")]
    InvalidToken { path: PathBuf },
}

/// The CA certificates, as a TLS configuration that is rebuilt when the file changes.
#[derive(Debug)]
pub(super) struct Ca {
    file: PathBuf,
    last_read: Option<Instant>,
    pem: Vec<u8>,
    config: Option<Arc<ClientConfig>>,
    /// Whether the file was usable when last read; logged when it changes.
    usable: bool,
}

impl Ca {
    /// `path` is a file, or a directory with `ca.crt`.
    pub(super) fn new(path: &Path) -> Ca {
        Ca { file: path.into(), last_read: None, pem: Vec::new(), config: None, usable: true }
    }

    /// The current TLS configuration, and whether it has just changed.
    ///
    /// # Errors
    /// If there is no certificate. While a file is unusable, the last configuration remains in use.
    pub(super) fn current(&mut self, now: Instant) -> Result<(Arc<ClientConfig>, bool), CredentialError> {
        let due = self.last_read.is_none_or(|at| now.saturating_duration_since(at) >= READ_INTERVAL);
        let mut changed = false;
        if due || self.config.is_none() {
            self.last_read = Some(now);
            let read = self.read();
            let before = std::mem::replace(&mut self.usable, read.is_ok());
            match read {
                Ok(renewed) => changed = renewed,
                Err(problem) if self.config.is_none() => return Err(problem),
                Err(problem) if before => {
                    tracing::warn!(%problem, "cannot read the aggregator's CA; the last one remains in use");
                }
                Err(_) => {}
            }
        }
        match &self.config {
            Some(config) => Ok((config.clone(), changed)),
            None => Err(CredentialError::InvalidCa { path: self.file.clone() }),
        }
    }

    /// Reads the file; true if it changed.
    fn read(&mut self) -> Result<bool, CredentialError> {
        let path = if self.file.is_dir() { self.file.join("ca.crt") } else { self.file.clone() };
        let pem = read_small(&path).map_err(|source| CredentialError::NoCa { path: path.clone(), source })?;
        if pem == self.pem && self.config.is_some() {
            return Ok(false);
        }
        let config = client_config(&pem).ok_or(CredentialError::InvalidCa { path })?;
        if self.config.replace(Arc::new(config)).is_some() {
            tracing::info!("the aggregator's CA has changed; reconnecting");
        }
        self.pem = pem;
        Ok(true)
    }
}

/// The token, as a header value.
pub(super) fn authorization(path: &Path) -> Result<HeaderValue, CredentialError> {
    let text = read_small(path).map_err(|source| CredentialError::NoToken { path: path.into(), source })?;
    let invalid = || CredentialError::InvalidToken { path: path.into() };
    let token = text.trim_ascii();
    if token.is_empty() {
        return Err(invalid());
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok(value)
}

fn client_config(pem: &[u8]) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if roots.is_empty() {
        return None;
    }
    let versions = &[&rustls::version::TLS13];
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(config)
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // a pipe that nobody writes to would stop the agent
    regular::open_linked(path)?.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca".into()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_new_or_changed_ca_is_used_within_two_seconds() {
        plimsoll_process::crypto::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let (mut ca_file, start) = (Ca::new(dir.path()), Instant::now());
        assert!(matches!(ca_file.current(start), Err(CredentialError::NoCa { .. })));
        fs::write(dir.path().join("ca.crt"), ca()).unwrap();
        assert!(ca_file.current(start).unwrap().1, "no CA so far: read again at once");
        fs::write(dir.path().join("ca.crt"), ca()).unwrap();
        assert!(!ca_file.current(start + Duration::from_secs(1)).unwrap().1);
        assert!(ca_file.current(start + Duration::from_secs(2)).unwrap().1);
        assert!(!ca_file.current(start + Duration::from_secs(4)).unwrap().1);
    }

    #[test]
    fn a_ca_that_becomes_invalid_leaves_the_last_valid_one_in_use() {
        plimsoll_process::crypto::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.crt");
        fs::write(&file, ca()).unwrap();
        let (mut ca_file, start) = (Ca::new(&file), Instant::now());
        assert!(ca_file.current(start).is_ok());
        fs::write(&file, "garbage").unwrap();
        assert!(ca_file.current(start + Duration::from_secs(2)).is_ok());
        assert!(matches!(Ca::new(&file).current(start), Err(CredentialError::InvalidCa { .. })));
    }

    #[test]
    fn a_token_is_sent_without_its_newline_and_an_empty_one_is_invalid() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(matches!(authorization(&file), Err(CredentialError::NoToken { .. })));
        fs::write(&file, "abc\n").unwrap();
        assert_eq!(authorization(&file).unwrap().as_bytes(), b"Bearer abc");
        fs::write(&file, "\n").unwrap();
        assert!(matches!(authorization(&file), Err(CredentialError::InvalidToken { .. })));
    }

    #[test]
    fn a_pipe_or_a_device_in_place_of_the_token_is_named_and_neither_waited_for_nor_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, device) = (dir.path().join("pipe"), dir.path().join("device"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        for (path, what) in [(pipe, "a named pipe"), (device, "a device")] {
            let error = authorization(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(what), "{error}");
            let error = Ca::new(&path).current(Instant::now()).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(what), "{error}");
        }
    }
}
