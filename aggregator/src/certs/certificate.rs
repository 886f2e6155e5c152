//! Makes a CA and a leaf, and checks those that were stored. Pure but for the randomness of the keys.
//!
//! The CA signs exactly one leaf, and its key is dropped before this module returns: nothing that could sign another leaf exists.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long a CA and its leaf are valid.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far clocks of nodes may be behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A leaf, its key and the CA that signed it, all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The leaf.
    pub leaf: String,
    /// The leaf's private key.
    pub key: String,
    /// The CA's certificate. Its key was dropped.
    pub ca: String,
}

/// Without the key: this may be logged.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

/// What a valid certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// When leaf or CA stops being valid, whichever is first.
    pub not_after: Timestamp,
    /// The DNS names of the leaf.
    pub names: Vec<String>,
}

impl Certificate {
    /// A new CA, a leaf for `names`, valid from an hour before `now` for [`LIFETIME`] from `now`.
    ///
    /// # Errors
    /// If a name cannot be in a certificate, or the provider cannot make a key.
    pub fn make(names: &[String], now: Timestamp) -> anyhow::Result<Certificate> {
        let ca_key = KeyPair::generate().context("cannot make the CA's key")?;
        let mut ca = params(Vec::new(), "Plimsoll aggregator CA", now)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_certificate = ca.self_signed(&ca_key).context("cannot sign the CA")?;

        let key = KeyPair::generate().context("cannot make the leaf's key")?;
        let mut leaf = params(names.to_vec(), "plimsoll-aggregator", now)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).context("cannot sign the leaf")?;
        Ok(Certificate { leaf: leaf.pem(), key: key.serialize_pem(), ca: ca_certificate.pem() })
    }

    /// Checks that the parts can be read, belong together and are valid at `now`.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(&self, now: Timestamp) -> anyhow::Result<CertificateInfo> {
        self.server_config()?;
        let (leaf, ca) = (der(&self.leaf, "leaf")?, der(&self.ca, "CA")?);
        let info = read_info(&leaf, &ca)?;
        let name = info.names.first().context("the leaf has no DNS name")?;
        verify(&leaf, ca, name, now)?;
        Ok(info)
    }

    /// The TLS configuration of the agents' port: TLS 1.3 and HTTP/1.1 only. No client certificates: agents send tokens.
    ///
    /// # Errors
    /// If leaf or key cannot be read, or do not belong together.
    pub fn server_config(&self) -> anyhow::Result<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| anyhow!("the key is not PEM: {error}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .context("the TLS provider does not speak TLS 1.3")?
            .with_no_client_auth()
            .with_single_cert(vec![der(&self.leaf, "leaf")?], key)
            .context("the leaf and its key cannot be served")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would not see a new certificate, and an agent keeps its connection anyway.
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Whether `pem` is a certificate.
pub fn is_one(pem: &str) -> bool {
    der(pem, "text").is_ok_and(|der| X509Certificate::from_der(&der).is_ok())
}

fn params(names: Vec<String>, common_name: &str, now: Timestamp) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("a DNS name cannot be in a certificate")?;
    let seconds = u64::try_from(now.as_second()).context("the clock stands before 1970")?;
    let now = Duration::from_secs(seconds);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + LIFETIME);
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn der(pem: &str, what: &str) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| anyhow!("the {what} is not PEM: {error}"))
}

fn read_info(leaf: &CertificateDer<'_>, ca: &CertificateDer<'_>) -> anyhow::Result<CertificateInfo> {
    let (_, leaf) = X509Certificate::from_der(leaf).context("the leaf is not a certificate")?;
    let (_, ca) = X509Certificate::from_der(ca).context("the CA is not a certificate")?;
    let until = leaf.validity().not_after.timestamp().min(ca.validity().not_after.timestamp());
    let names = match leaf.subject_alternative_name().context("the leaf's names")? {
        Some(names) => names.value.general_names.iter().filter_map(dns_name).collect(),
        None => Vec::new(),
    };
    Ok(CertificateInfo { not_after: Timestamp::from_second(until)?, names })
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

/// Verifies the leaf as an agent does.
fn verify(
    leaf: &CertificateDer<'_>,
    ca: CertificateDer<'static>,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).context("the CA cannot be a root")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let name = ServerName::try_from(name.to_owned()).context("the leaf's name is not a DNS name")?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second())?));
    verifier.verify_server_cert(leaf, &[], &name, &[], now).context("an agent would not accept the leaf")?;
    Ok(())
}
