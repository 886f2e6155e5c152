//! A minimal HTTP client, plain and over TLS: one connection per request, and a deadline for everything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const DEADLINE: Duration = Duration::from_secs(20);

/// A complete response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as a JSON document.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Code and reason of a rejection.
    pub(crate) fn rejection(&self) -> (u16, String) {
        let body: serde_json::Value = self.json();
        (self.code, body["reason"].as_str().unwrap_or_default().to_owned())
    }
}

/// A GET over plain HTTP; `None` without a connection or response.
pub(crate) async fn try_get(address: SocketAddr, path: &str) -> Option<Reply> {
    let stream = TcpStream::connect(address).await.ok()?;
    Some(whole(exchange(stream, request("GET", path)).await?).await)
}

/// A request without a body over plain HTTP.
pub(crate) async fn plain(address: SocketAddr, method: &str, path: &str) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    whole(exchange(stream, request(method, path)).await.expect("no answer")).await
}

/// A GET with `If-None-Match` over plain HTTP.
pub(crate) async fn get_if_changed(address: SocketAddr, path: &str, etag: &str) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = request("GET", path);
    request.headers_mut().insert("if-none-match", etag.parse().unwrap());
    whole(exchange(stream, request).await.expect("no answer")).await
}

/// A request over TLS to `localhost`, trusting only this CA.
pub(crate) async fn tls(address: SocketAddr, ca: &str, request: Request<Full<Bytes>>) -> Reply {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    whole(exchange(stream, request).await.expect("no answer")).await
}

fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    request.body(Full::default()).unwrap()
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Option<http::Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    timeout(DEADLINE, sender.send_request(request)).await.ok()?.ok()
}

async fn whole(response: http::Response<Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = timeout(DEADLINE, body.collect()).await.expect("the body does not end");
    let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
    Reply { code: parts.status.as_u16(), headers: parts.headers, text }
}
