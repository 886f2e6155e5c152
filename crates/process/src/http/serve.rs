//! The accept loop: one port until the shutdown.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::handler::{busy, handle};
use super::limiter::ConnectionLimiter;
use super::tls::handshake;
use super::{BoxError, Limits, TlsSource, connection};
use crate::backoff::Backoff;
use crate::metrics::HttpMetrics;
use crate::shutdown::Shutdown;
use crate::tasks::panic_message;

/// Shortest and longest delay after failed accepts.
const ACCEPT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// How long a rejected connection may take to receive its 503.
const REJECT_TIMEOUT: Duration = Duration::from_secs(2);

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
    let handshakes = Semaphore::new(limits.max_handshakes.min(Semaphore::MAX_PERMITS));
    let port = Arc::new(Port { tls, handshakes, limits, shutdown, metrics });
    let mut connections = JoinSet::new();
    let mut backoff = ACCEPT_BACKOFF;
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
                tracing::error!(%error, ?delay, "cannot accept a connection, waiting");
                let _ = timeout(delay, port.shutdown.triggered()).await;
                continue;
            }
        };
        backoff.reset();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let (port, span) = (Arc::clone(&port), debug_span!("connection", %peer));
        match limiter.acquire(peer.ip()) {
            Ok(permit) => {
                let service = service.clone();
                let served = async move {
                    port.serve_connection(stream, peer, Some(service)).await;
                    drop(permit);
                };
                connections.spawn(served.instrument(span));
            }
            Err(rejection) => {
                port.metrics.rejected(rejection).inc();
                let Some(permit) = limiter.reject() else { continue };
                let rejected = async move {
                    let _ = timeout(REJECT_TIMEOUT, port.serve_connection(stream, peer, None::<S>)).await;
                    drop(permit);
                };
                connections.spawn(rejected.instrument(span));
            }
        }
    }
    drop(listener);
    port.drain(connections).await;
    tracing::info!(%address, "stopped serving HTTP");
    Ok(())
}

/// What all connections of a port share.
struct Port {
    tls: Option<TlsSource>,
    handshakes: Semaphore,
    limits: Limits,
    shutdown: Shutdown,
    metrics: HttpMetrics,
}

impl Port {
    /// Serves one connection, after a handshake if the port speaks TLS. Without a service every request is answered 503.
    async fn serve_connection<S, B>(&self, stream: TcpStream, peer: SocketAddr, service: Option<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let (limits, metrics, shutdown) = (&self.limits, &self.metrics, &self.shutdown);
        let handler = service_fn(move |request| {
            let service = service.clone();
            async move {
                Ok::<_, Infallible>(match service {
                    Some(service) => handle(service, request, peer, limits, metrics).await,
                    None => busy("too many connections\n"),
                })
            }
        });
        // If this fails, the peer is gone, and the first read will notice.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return connection::drive(stream, handler, peer, limits, shutdown).await;
        };
        match handshake(stream, tls, &self.handshakes, limits).await {
            Ok(stream) => connection::drive(stream, handler, peer, limits, shutdown).await,
            Err((rejection, error)) => {
                metrics.rejected(rejection).inc();
                tracing::debug!(reason = rejection.label(), %error, "no TLS connection");
            }
        }
    }

    /// A panic in a handler is caught there; this one occurred while a response body was generated.
    fn record_panic(&self, ended: Result<(), JoinError>) {
        if let Some(payload) = ended.err().and_then(|error| error.try_into_panic().ok()) {
            self.metrics.panics().inc();
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
        if timeout(self.limits.drain_grace, finish).await.is_err() {
            let (count, grace) = (connections.len(), self.limits.drain_grace);
            tracing::warn!(count, ?grace, "closing connections that did not end");
            connections.shutdown().await;
        }
    }
}
