//! The accept loop: one port until the shutdown.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::handler::Handler;
use super::limiter::{ConnectionLimiter, ConnectionPermit};
use super::tls::handshake;
use super::{BoxError, Limits, TlsSource, connection};
use crate::backoff::Backoff;
use crate::metrics::{HttpMetrics, Rejection};
use crate::rate_limit::RateLimiter;
use crate::shutdown::Shutdown;
use crate::tasks::panic_message;

/// Shortest and longest delay after failed accepts.
const ACCEPT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// Connections that the kernel completes before they are accepted; it uses `net.core.somaxconn` if that is less. The 128 of
/// the standard library overflow when all nodes of a large cluster connect at once, and a peer then tries again only after a
/// second.
const BACKLOG: u32 = 4096;

/// Opens a port for [`serve`].
///
/// # Errors
/// If the address is not available.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted process gets its port although connections of the previous one are not forgotten yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// As [`serve`] without TLS, on a thread with a runtime of its own: a port for probes, which must be answered however busy the
/// other tasks of the process are.
///
/// # Errors
/// As [`serve`]; also if the thread cannot be started, or panics.
pub async fn serve_on_own_thread<S, B>(
    name: &str,
    listener: TcpListener,
    service: S,
    limits: Limits,
    shutdown: Shutdown,
    metrics: HttpMetrics,
) -> anyhow::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = listener.into_std().context("cannot move a listener to another thread")?;
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start an async runtime")?.block_on(async {
            let listener =
                TcpListener::from_std(listener).context("cannot use a listener on another thread")?;
            serve(listener, service, None, limits, shutdown, metrics).await
        })
    };
    let (ended, end) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Without a receiver the process is stopping.
        let _ = ended.send(run());
    });
    thread.with_context(|| format!("cannot start the thread {name}"))?;
    end.await.with_context(|| format!("the thread {name} panicked; see its message in the log"))?
}

/// Serves `service` on `listener` until `shutdown` is triggered, then finishes the requests in flight and closes the
/// connections that remain after `limits.drain_grace`.
///
/// With a [`TlsSource`] the port speaks TLS only, without one plain HTTP only. Each request carries a
/// [`PeerAddr`](super::PeerAddr). A service that panics, fails or takes too long loses that connection; the process is
/// not affected. An axum router is passed through `hyper_util::service::TowerToHyperService`.
///
/// # Errors
///
/// If the listener has no address. Failed accepts are no error: they are retried with a back-off.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    tls: Option<TlsSource>,
    limits: Limits,
    shutdown: Shutdown,
    metrics: HttpMetrics,
) -> anyhow::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let address = listener.local_addr().context("cannot serve on a listener without an address")?;
    tracing::info!(%address, tls = tls.is_some(), "serving HTTP");
    let limiter = ConnectionLimiter::new(&limits, &metrics);
    let port = Arc::new(Port { tls, shutdown, handler: Handler::new(limits, metrics) });
    let mut connections = JoinSet::new();
    let (mut backoff, mut accept_errors) =
        (ACCEPT_BACKOFF, RateLimiter::new(1, Duration::from_secs(1), Instant::now()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = port.shutdown.triggered() => break,
            Some(ended) = connections.join_next() => {
                port.record_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // These concern the peer only. Any other failure (no descriptor left, no memory) would return at once and
            // turn this into a busy loop.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
                ) =>
            {
                continue;
            }
            Err(error) => {
                let delay = backoff.next_delay();
                if accept_errors.try_acquire(Instant::now()) {
                    tracing::error!(%error, ?delay, "cannot accept a connection, waiting");
                }
                let _ = timeout(delay, port.shutdown.triggered()).await;
                continue;
            }
        };
        backoff.reset();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let permit = match limiter.acquire(peer.ip()) {
            Ok(permit) => permit,
            // No time is left for an answer: every connection that is open is about to be answered itself.
            Err(rejection) => {
                port.handler.metrics.rejected(rejection).inc();
                continue;
            }
        };
        let (id, port, service) = (permit.id(), Arc::clone(&port), service.clone());
        let served = async move {
            // While the peer is silent, there is nothing of it but its socket and this small task. `readable` alone could
            // return although nothing is there.
            let mut byte = [0];
            let first = tokio::select! {
                () = port.shutdown.triggered() => return,
                first = timeout(port.handler.limits.silence_timeout, stream.peek(&mut byte)) => first,
            };
            match first {
                Ok(Ok(0)) => {}
                Ok(Ok(_)) => {
                    permit.spoke();
                    // If this fails, the peer is gone, and the first read will notice.
                    let _ = stream.set_nodelay(true);
                    Box::pin(port.serve_connection(stream, peer, service, &permit)).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "the connection broke"),
                Err(_elapsed) => port.handler.metrics.rejected(Rejection::Silent).inc(),
            }
        };
        let task = connections.spawn(served.instrument(debug_span!("connection", %peer)));
        limiter.set_task(id, task);
    }
    drop(listener);
    port.drain(connections).await;
    tracing::info!(%address, "stopped serving HTTP");
    Ok(())
}

/// What all connections of a port share.
pub(super) struct Port {
    pub(super) tls: Option<TlsSource>,
    pub(super) shutdown: Shutdown,
    pub(super) handler: Handler,
}

impl Port {
    /// Serves one connection, after a handshake if the port speaks TLS.
    pub(super) async fn serve_connection<IO, S, B>(
        &self,
        stream: IO,
        peer: SocketAddr,
        service: S,
        permit: &ConnectionPermit,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let Handler { limits, metrics, .. } = &self.handler;
        let handler = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(self.handler.handle(service, request, peer, permit).await) }
        });
        let Some(tls) = &self.tls else {
            return connection::drive(stream, handler, peer, limits, &self.shutdown).await;
        };
        match handshake(stream, tls, permit, limits).await {
            Ok(stream) => connection::drive(stream, handler, peer, limits, &self.shutdown).await,
            Err((rejection, error)) => {
                metrics.rejected(rejection).inc();
                tracing::debug!(reason = rejection.label(), %error, "no TLS connection");
            }
        }
    }

    /// A panic in a handler is caught there; this one occurred while a response body was generated.
    fn record_panic(&self, ended: Result<(), JoinError>) {
        if let Some(payload) = ended.err().and_then(|error| error.try_into_panic().ok()) {
            self.handler.metrics.panics().inc();
            let panic = panic_message(payload.as_ref());
            tracing::error!(panic, "a response body panicked, closing its connection");
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                self.record_panic(ended);
            }
        };
        let grace = self.handler.limits.drain_grace;
        if timeout(grace, finish).await.is_err() {
            let count = connections.len();
            tracing::warn!(count, ?grace, "closing connections that did not end");
            connections.shutdown().await;
        }
    }
}
