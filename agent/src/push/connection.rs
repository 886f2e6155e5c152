//! One connection to one replica: TLS verified against the pinned CA and the Service's name, HTTP/1.1, one request at
//! a time, everything under a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Delivery;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// No roster is larger than this.
const MOST_ANSWER: usize = 8 << 20;
/// Of an answer that is not a roster, so much goes into the log.
const MOST_COMPLAINT: usize = 300;

/// Why a report was not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No TLS: another CA, another name, out of date.
    #[error("TLS is not accepted: {0}")]
    Tls(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer in {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

/// What a replica answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// `Retry-After`, in whole seconds.
    pub(super) retry_after: Option<Duration>,
    /// The body.
    pub(super) body: Bytes,
}

impl Answered {
    /// What the body says, for a log: short, and on one line.
    pub(super) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(MOST_COMPLAINT).map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    /// Connects and shakes hands.
    pub(super) async fn open(
        address: SocketAddr,
        delivery: &Delivery,
        tls: Arc<ClientConfig>,
    ) -> Result<Connection, Undelivered> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream
            .map_err(|_| Undelivered::Connect(format!("no connection in {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| Undelivered::Connect(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Undelivered::Connect(error.to_string()))?;
        let server: ServerName<'static> = delivery.server.clone();
        let stream = timeout(TLS_TIMEOUT, TlsConnector::from(tls).connect(server, stream)).await;
        let stream = stream
            .map_err(|_| Undelivered::Tls(format!("no handshake in {} s", TLS_TIMEOUT.as_secs())))?
            .map_err(|error| Undelivered::Tls(error.to_string()))?;
        let (send, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|e| Undelivered::Broken(e.to_string()))?;
        let driver = tokio::spawn(async move {
            // How a connection ends is seen by the request on it, or does not matter.
            let _ = driver.await;
        });
        let host = HeaderValue::from_str(&format!("{}:{}", delivery.host, delivery.port))
            .map_err(|error| Undelivered::Connect(error.to_string()))?;
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
    ) -> Result<Answered, Undelivered> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/v1/reports");
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        timeout(ANSWER_TIMEOUT, self.exchange(request)).await.map_err(|_| Undelivered::Timeout)?
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answered, Undelivered> {
        let broken = |error: &dyn std::fmt::Display| Undelivered::Broken(error.to_string());
        self.send.ready().await.map_err(|e| broken(&e))?;
        let response = self.send.send_request(request).await.map_err(|e| broken(&e))?;
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| {
            let seconds: u64 = value.to_str().ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let body = Limited::new(response.into_body(), MOST_ANSWER)
            .collect()
            .await
            .map_err(|e| broken(&e))?
            .to_bytes();
        Ok(Answered { status, retry_after, body })
    }
}
