use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::crypto::install_crypto_provider;
use crate::metrics::Rejection;

/// A self-signed certificate for `localhost`.
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    pub(super) server: Arc<ServerConfig>,
}

pub(super) fn identity() -> Identity {
    install_crypto_provider();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    Identity { certificate: cert.der().clone(), server: Arc::new(server) }
}

pub(super) fn fixed(config: Arc<ServerConfig>) -> TlsSource {
    TlsSource::new(move || Some(Arc::clone(&config)))
}

/// A connection of a client that trusts only this certificate.
async fn connect(address: SocketAddr, trusted: &Identity) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(client(trusted)).connect(name(), stream).await
}

/// The configuration of a client that trusts only this certificate.
pub(super) fn client(trusted: &Identity) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.clone()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The name in the certificates.
pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn works(stream: &mut TlsStream<TcpStream>) {
    get(stream, "/x").await;
    until(stream, "nothing at /x\n").await;
}

#[tokio::test]
async fn a_certificate_is_swapped_while_the_port_is_open() {
    let (old, new) = (identity(), identity());
    let current = Arc::new(Mutex::new(None));
    let shown = Arc::clone(&current);
    let source = TlsSource::new(move || shown.lock().unwrap().clone());
    let server = Running::start(Limits::default(), Some(source)).await;

    assert!(connect(server.address, &old).await.is_err(), "there is no certificate yet");
    assert_eq!(server.metrics.rejected(Rejection::NoCertificate).get(), 1);

    *current.lock().unwrap() = Some(Arc::clone(&old.server));
    let mut early = connect(server.address, &old).await.unwrap();
    works(&mut early).await;

    *current.lock().unwrap() = Some(Arc::clone(&new.server));
    assert!(connect(server.address, &old).await.is_err(), "the old certificate is gone");
    works(&mut connect(server.address, &new).await.unwrap()).await;
    works(&mut early).await;

    server.shutdown.trigger();
    server.stopped().await;
}

#[tokio::test]
async fn a_full_server_closes_a_silent_connection_for_one_with_tls() {
    let trusted = identity();
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let server = Running::start(limits, Some(fixed(Arc::clone(&trusted.server)))).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    works(&mut connect(server.address, &trusted).await.unwrap()).await;
    assert_eq!(until_closed(&mut silent).await, "");
    assert_eq!(server.metrics.rejected(Rejection::Full).get(), 1);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_rejected() {
    let server = Running::start(Limits::default(), Some(fixed(identity().server))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    get(&mut stream, "/x").await;
    let mut bytes = Vec::new();
    // The response is a TLS alert.
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"));
    assert_eq!(server.metrics.rejected(Rejection::Handshake).get(), 1);
}
