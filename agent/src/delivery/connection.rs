//! One connection to one replica: TLS verified against the pinned CA and the Service's name, HTTP/1.1, one request at
//! a time, every operation with a timeout.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Delivery;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer accepted, in bytes.
const MAX_ANSWER: usize = 8 << 20;
/// Characters of a rejection that are logged.
const MAX_LOGGED: usize = 300;

/// Why there was no answer to a report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Another CA, another name, or expired.
    #[error("TLS handshake failed: {0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer in {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

/// What a replica answered.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// `Retry-After`, in whole seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl HttpAnswer {
    /// The body for a log: short, and on one line.
    pub(super) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(MAX_LOGGED).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    send: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    host: HeaderValue,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(super) async fn open(
        address: SocketAddr,
        delivery: &Delivery,
        tls: Arc<ClientConfig>,
    ) -> Result<Connection, ConnectionError> {
        use ConnectionError::{Broken, Connect, Tls};
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream
            .map_err(|_| Connect(format!("no connection in {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| Connect(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Connect(error.to_string()))?;
        let stream =
            timeout(TLS_TIMEOUT, TlsConnector::from(tls).connect(delivery.server.clone(), stream)).await;
        let stream = stream
            .map_err(|_| Tls(format!("no handshake in {} s", TLS_TIMEOUT.as_secs())))?
            .map_err(|error| Tls(error.to_string()))?;
        let (send, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Broken(error.to_string()))?;
        let driver = tokio::spawn(async move {
            // a request in flight sees how the connection ends; otherwise it does not matter
            let _ = driver.await;
        });
        let host = HeaderValue::from_str(&format!("{}:{}", delivery.host, delivery.port))
            .map_err(|error| Connect(error.to_string()))?;
        Ok(Connection { send, driver: driver.abort_handle(), host })
    }

    /// Whether the peer has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    /// Posts one report.
    pub(super) async fn post(
        &mut self,
        authorization: HeaderValue,
        body: Vec<u8>,
    ) -> Result<HttpAnswer, ConnectionError> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/v1/reports");
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        timeout(ANSWER_TIMEOUT, self.exchange(request)).await.map_err(|_| ConnectionError::Timeout)?
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, ConnectionError> {
        let broken = |error: hyper::Error| ConnectionError::Broken(error.to_string());
        self.send.ready().await.map_err(broken)?;
        let response = self.send.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| {
            let seconds: u64 = value.to_str().ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| ConnectionError::Broken(error.to_string()))?.to_bytes();
        Ok(HttpAnswer { status, retry_after, body })
    }
}
