//! Whom we trust, and what we show for ourselves: the aggregator's CA and our token, both files that change.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The CA file is looked at again after so long.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Neither file is larger than this.
const MOST_BYTES: u64 = 256 << 10;

/// What stands in the way of a delivery before anything is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    /// The CA is not there: the aggregator has not published it yet, or the mount is missing.
    #[error(
        "no CA at {path}: {source}; the aggregator publishes it in ConfigMap plimsoll-ca: wait a minute, then look at \
         the aggregator's log and at --ca-file"
    )]
    NoCa {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and is no CA.
    #[error("{path} holds no certificate in PEM form; it should be what ConfigMap plimsoll-ca holds")]
    BadCa {
        /// The file.
        path: PathBuf,
    },
    /// The token is not there.
    #[error(
        "no token at {path}: {source}; it is a projected service-account token with audience plimsoll-aggregator: look \
         at the pod's volumes and at --token-file"
    )]
    NoToken {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and is no token.
    #[error("{path} does not hold a token; the kubelet should have put a service-account token there")]
    BadToken {
        /// The file.
        path: PathBuf,
    },
}

/// The certificates we trust, as a TLS configuration that is made anew when the file changes.
#[derive(Debug)]
pub(super) struct Trust {
    file: PathBuf,
    looked: Option<Instant>,
    pem: Vec<u8>,
    config: Option<Arc<ClientConfig>>,
    /// Whether the last look found a usable file; logged when it changes.
    usable: bool,
}

impl NotReady {
    /// Tells one from the other.
    pub(super) fn number(&self) -> u16 {
        match self {
            NotReady::NoCa { .. } => 1,
            NotReady::BadCa { .. } => 2,
            NotReady::NoToken { .. } => 3,
            NotReady::BadToken { .. } => 4,
        }
    }
}

impl Trust {
    /// Trust in what `path` holds: a file, or a directory with `ca.crt`.
    pub(super) fn new(path: &Path) -> Trust {
        Trust { file: path.into(), looked: None, pem: Vec::new(), config: None, usable: true }
    }

    /// The TLS configuration of this moment, and whether it is another one than before.
    ///
    /// # Errors
    /// If there is no certificate to trust. A file that became unreadable keeps the last configuration.
    pub(super) fn current(&mut self, now: Instant) -> Result<(Arc<ClientConfig>, bool), NotReady> {
        let due = self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY);
        let mut changed = false;
        if due || self.config.is_none() {
            self.looked = Some(now);
            let looked = self.look();
            let before = std::mem::replace(&mut self.usable, looked.is_ok());
            match looked {
                Ok(renewed) => changed = renewed,
                Err(problem) if self.config.is_none() => return Err(problem),
                Err(problem) if before => {
                    tracing::warn!(%problem, "the aggregator's CA cannot be read anew; the last one stands");
                }
                Err(_) => {}
            }
        }
        match &self.config {
            Some(config) => Ok((config.clone(), changed)),
            None => Err(NotReady::BadCa { path: self.file.clone() }),
        }
    }

    fn look(&mut self) -> Result<bool, NotReady> {
        let path = if self.file.is_dir() { self.file.join("ca.crt") } else { self.file.clone() };
        let pem = read_small(&path).map_err(|source| NotReady::NoCa { path: path.clone(), source })?;
        if pem == self.pem && self.config.is_some() {
            return Ok(false);
        }
        let config = client_config(&pem).ok_or(NotReady::BadCa { path })?;
        if self.config.replace(Arc::new(config)).is_some() {
            tracing::info!("the aggregator's CA has changed; connecting anew");
        }
        self.pem = pem;
        Ok(true)
    }
}

/// Our token, as the header that carries it.
///
/// # Errors
/// If the file is missing or cannot be a token.
pub(super) fn authorization(path: &Path) -> Result<HeaderValue, NotReady> {
    let text = read_small(path).map_err(|source| NotReady::NoToken { path: path.into(), source })?;
    let bad = || NotReady::BadToken { path: path.into() };
    let token = text.trim_ascii();
    if token.is_empty() {
        return Err(bad());
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| bad())?;
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
    fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca".into()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_ca_that_appears_or_changes_is_taken_up_within_two_seconds() {
        plimsoll_process::crypto::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let (mut trust, start) = (Trust::new(dir.path()), Instant::now());
        assert!(matches!(trust.current(start), Err(NotReady::NoCa { .. })));
        fs::write(dir.path().join("ca.crt"), ca()).unwrap();
        assert!(trust.current(start).unwrap().1, "nothing trusted yet: looked at again at once");
        fs::write(dir.path().join("ca.crt"), ca()).unwrap();
        assert!(!trust.current(start + Duration::from_secs(1)).unwrap().1);
        assert!(trust.current(start + Duration::from_secs(2)).unwrap().1);
        assert!(!trust.current(start + Duration::from_secs(4)).unwrap().1);
    }

    #[test]
    fn a_ca_that_breaks_leaves_the_last_good_one_in_force() {
        plimsoll_process::crypto::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.crt");
        fs::write(&file, ca()).unwrap();
        let (mut trust, start) = (Trust::new(&file), Instant::now());
        assert!(trust.current(start).is_ok());
        fs::write(&file, "garbage").unwrap();
        assert!(trust.current(start + Duration::from_secs(2)).is_ok());
        assert!(matches!(Trust::new(&file).current(start), Err(NotReady::BadCa { .. })));
    }

    #[test]
    fn a_token_is_sent_without_its_newline_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(matches!(authorization(&file), Err(NotReady::NoToken { .. })));
        fs::write(&file, "abc\n").unwrap();
        assert_eq!(authorization(&file).unwrap().as_bytes(), b"Bearer abc");
        fs::write(&file, "\n").unwrap();
        assert!(matches!(authorization(&file), Err(NotReady::BadToken { .. })));
    }
}
