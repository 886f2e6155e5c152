//! The accept loop: one port until the shutdown.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, debug_span};

use super::door::Door;
use super::handler::{Answer, busy, handle};
use super::tls::handshake;
use super::{BoxError, Limits, TlsSource, connection};
use crate::metrics::HttpMetrics;
use crate::shutdown::Shutdown;
use crate::tasks::panic_message;

/// The pauses after failed accepts double from the first to the second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Being told 503 must not take long.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves `service` on `listener` until `shutdown` is triggered, then finishes the requests in flight, and cuts what
/// is left after `limits.drain_grace`.
///
/// With a [`TlsSource`] the port speaks TLS only, without one plain HTTP only. Each request carries a
/// [`PeerAddr`](super::PeerAddr). A service that panics, fails or takes too long costs its peer the connection and the
/// process nothing. An axum router comes in through `hyper_util::service::TowerToHyperService`.
///
/// # Errors
///
/// If the listener has no address. A port that is open stays open: failed accepts are waited out.
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
    let door = Door::new(&limits, &metrics);
    let handshakes = Semaphore::new(limits.max_handshakes.min(Semaphore::MAX_PERMITS));
    let port = Arc::new(Port { tls, handshakes, limits, shutdown, metrics });
    let mut connections = JoinSet::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = port.shutdown.triggered() => break,
            Some(ended) = connections.join_next() => {
                port.note_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = SHORTEST_PAUSE;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                port.admit(&door, stream, peer, service.clone(), &mut connections);
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(%error, ?pause, "cannot accept a connection, waiting");
                let _woken = timeout(pause, port.shutdown.triggered()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
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
    /// Gives a peer a place, or tells it that there is none, or, if too many are being told, just closes.
    fn admit<S, B>(
        self: &Arc<Self>,
        door: &Door,
        stream: TcpStream,
        peer: SocketAddr,
        service: S,
        connections: &mut JoinSet<()>,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let port = Arc::clone(self);
        let span = debug_span!("connection", %peer);
        match door.enter(peer.ip()) {
            Ok(place) => {
                let serving = async move {
                    port.connect(stream, peer, service).await;
                    drop(place);
                };
                connections.spawn(serving.instrument(span));
            }
            Err(refusal) => {
                self.metrics.refused(refusal).inc();
                let Some(permit) = door.farewell() else { return };
                let refusing = async move {
                    let _in_time = timeout(FAREWELL_TIMEOUT, port.refuse(stream, peer)).await;
                    drop(permit);
                };
                connections.spawn(refusing.instrument(span));
            }
        }
    }

    async fn connect<S, B>(&self, stream: TcpStream, peer: SocketAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (limits, metrics) = (&self.limits, &self.metrics);
        let handler = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(handle(service, request, peer, limits, metrics).await) }
        });
        self.open(stream, peer, handler).await;
    }

    async fn refuse(&self, stream: TcpStream, peer: SocketAddr) {
        let full =
            |_request| async { Ok::<Answer<Empty<Bytes>>, Infallible>(busy("too many connections\n")) };
        self.open(stream, peer, service_fn(full)).await;
    }

    /// Shakes hands if the port speaks TLS, then serves.
    async fn open<S, B>(&self, stream: TcpStream, peer: SocketAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        // A peer that is gone already will be noticed at the first read.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.drive(stream, peer, service).await;
        };
        match handshake(stream, tls, &self.handshakes, &self.limits).await {
            Ok(stream) => self.drive(stream, peer, service).await,
            Err((refusal, error)) => {
                self.metrics.refused(refusal).inc();
                tracing::debug!(reason = refusal.label(), %error, "no TLS connection");
            }
        }
    }

    async fn drive<IO, S, B>(&self, io: IO, peer: SocketAddr, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        connection::drive(io, service, peer, &self.limits, &self.shutdown).await;
    }

    /// A handler's panic is caught where it happens; this one came while a response body was being made.
    fn note_panic(&self, ended: Result<(), JoinError>) {
        let Some(payload) = ended.err().and_then(|error| error.try_into_panic().ok()) else {
            return;
        };
        self.metrics.panics().inc();
        tracing::error!(
            panic = panic_message(payload.as_ref()),
            "a response body panicked, its connection is closed"
        );
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                self.note_panic(ended);
            }
        };
        if timeout(self.limits.drain_grace, finish).await.is_err() {
            let count = connections.len();
            tracing::warn!(count, grace = ?self.limits.drain_grace, "cutting connections that did not end");
            connections.shutdown().await;
        }
    }
}

/// Whether a failed accept says something about the peer only. Anything else (no descriptor left, no memory) would come
/// back at once and turn the loop into a busy one.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
