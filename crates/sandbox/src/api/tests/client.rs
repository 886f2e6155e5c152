//! A minimal HTTPS client: one connection per request, JSON, and the lines of watches.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::ApiServer;

pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

pub(super) struct Client {
    server: ApiServer,
    connector: TlsConnector,
    token: String,
    accept: &'static str,
}

pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn admin(server: &ApiServer) -> Self {
        Self::with_token(server, &server.admin_token())
    }

    pub(super) fn with_token(server: &ApiServer, token: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Self { server: server.clone(), connector, token: token.to_owned(), accept: "application/json" }
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<hyper::Response<Incoming>, hyper::Error> {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = self.connector.connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("user-agent", "tester/1.0")
            .header("authorization", format!("Bearer {}", self.token))
            .header("accept", self.accept)
            .header("content-type", content_type)
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))
            .unwrap();
        sender.send_request(request).await
    }

    /// Sends a request and reads the whole answer; an error is a connection that was closed without one.
    pub(super) async fn try_send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Reply, hyper::Error> {
        let response = self.open(method, path, content_type, body).await?;
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Reply { code, headers, body })
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.try_send(method, path, "application/json", Some(body)).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.try_send("GET", path, "application/json", None).await.unwrap()
    }

    pub(super) async fn patch(&self, path: &str, content_type: &str, body: &Value) -> Reply {
        self.try_send("PATCH", path, content_type, Some(body)).await.unwrap()
    }

    pub(super) async fn watch(&self, path: &str) -> Lines {
        let response = self.open("GET", path, "application/json", None).await.unwrap();
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), buffer: BytesMut::new() }
    }
}

/// The events of a watch.
pub(super) struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next event; `None` when the watch ended. Panics after 5 s without either.
    pub(super) async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(5), self.read()).await.unwrap()
    }

    /// Whether nothing is received for 300 ms.
    pub(super) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.read()).await.is_err()
    }

    /// Whether the connection is closed before anything more is received. Panics after 5 s.
    pub(super) async fn breaks(&mut self) -> bool {
        let frame = tokio::time::timeout(Duration::from_secs(5), self.body.frame()).await.unwrap();
        frame.is_none_or(|frame| frame.is_err())
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }
}
