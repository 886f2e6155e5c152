//! The server as its peers see it. Time limits are tested on a paused clock over an in-memory stream, so that they are
//! exact and take no time; what needs sockets is tested on loopback.

mod handshakes;
mod loopback;
mod requests;
mod timed;
mod tls;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::handler::Handler;
use super::limiter::ConnectionLimiter;
use super::serve::Port;
use super::{Limits, PeerAddr, TlsSource, answer, read_body, serve};
use crate::metrics::HttpMetrics;
use crate::shutdown::Shutdown;

/// Longer than any of these tests takes, even on a busy machine. Only a failing test waits for it.
const TIMEOUT: Duration = Duration::from_secs(20);

fn metrics() -> HttpMetrics {
    HttpMetrics::register(&Registry::new(), "test").unwrap()
}

/// A service with one path for each thing that a handler may do.
fn routes(limits: Limits) -> impl Routes {
    service_fn(move |request: Request<Incoming>| {
        let limits = limits.clone();
        async move { Ok::<_, Infallible>(route(request, &limits).await) }
    })
}

/// A name for what [`routes`] returns.
trait Routes:
    Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Routes for S where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

async fn route(request: Request<Incoming>, limits: &Limits) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/peer" => {
            let PeerAddr(peer) = request.extensions().get().unwrap();
            answer::text(StatusCode::OK, peer.to_string())
        }
        "/body" => match read_body(request.into_body(), limits).await {
            Ok(body) => answer::text(StatusCode::OK, body),
            Err(error) => answer::text(error.status(), error.to_string()),
        },
        "/ok" => answer::text(StatusCode::OK, "ok"),
        "/large" => answer::text(StatusCode::OK, vec![b'x'; 1 << 20]),
        "/panic" => panic!("out of cheese"),
        "/never" => pending().await,
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(250)).await;
            answer::text(StatusCode::OK, "slow")
        }
        path => answer::not_found(path),
    }
}

/// A running server on loopback.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    metrics: HttpMetrics,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(limits: Limits, tls: Option<TlsSource>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, metrics) = (Shutdown::new(), metrics());
        let service = routes(limits.clone());
        let task = tokio::spawn(serve(listener, service, tls, limits, shutdown.clone(), metrics.clone()));
        Self { address, shutdown, metrics, task }
    }

    /// Waits for a server that is shutting down.
    async fn stopped(self) {
        tokio::time::timeout(TIMEOUT, self.task).await.expect("it stops").unwrap().unwrap();
    }
}

/// A port without a listener: its connections are in memory, so that tests can pause the clock.
struct InMemory {
    port: Arc<Port>,
    limiter: ConnectionLimiter,
    metrics: HttpMetrics,
}

impl InMemory {
    fn new(limits: Limits, tls: Option<TlsSource>) -> InMemory {
        let metrics = metrics();
        let limiter = ConnectionLimiter::new(&limits, &metrics);
        let handler = Handler::new(limits, metrics.clone());
        let port = Arc::new(Port { tls, shutdown: Shutdown::new(), handler });
        InMemory { port, limiter, metrics }
    }

    /// A connection from an address, whose first byte is there: the client's end, and the server's task.
    fn connect<S, B>(&self, from: [u8; 4], service: S) -> (DuplexStream, JoinHandle<()>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let (client, server) = duplex(4096);
        let (port, peer) = (Arc::clone(&self.port), SocketAddr::from((from, 64)));
        let permit = self.limiter.acquire(peer.ip()).unwrap();
        permit.spoke();
        let id = permit.id();
        let task = tokio::spawn(async move { port.serve_connection(server, peer, service, &permit).await });
        self.limiter.set_task(id, task.abort_handle());
        (client, task)
    }

    /// A connection from an address to the [`routes`].
    fn routes_from(&self, from: [u8; 4]) -> DuplexStream {
        self.connect(from, routes(self.port.handler.limits.clone())).0
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn get(stream: &mut (impl AsyncWrite + Unpin), path: &str) {
    send(stream, &format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
}

/// Reads until the peer closes the connection. A reset counts as closing.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut bytes)).await.expect("the peer closes");
    String::from_utf8(bytes).unwrap()
}

/// Reads up to and including `end`.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(TIMEOUT, stream.read_u8()).await.expect("something comes");
        bytes.push(read.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&bytes))));
    }
    String::from_utf8(bytes).unwrap()
}
