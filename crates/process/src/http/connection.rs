//! One connection, from its first byte to its last.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::{BoxError, Limits, stall::StallGuard};
use crate::shutdown::Shutdown;

/// hyper panics below this.
const MIN_BUFFER: usize = 8 * 1024;

/// Serves requests until the peer closes, breaks a limit, the connection reaches its maximum age, or the shutdown is
/// triggered; in the last two cases the response in flight is finished first.
pub(super) async fn drive<IO, S, B>(
    io: IO,
    service: S,
    peer: SocketAddr,
    limits: &Limits,
    shutdown: &Shutdown,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    let mut builder = http1::Builder::new();
    builder
        // Without a timer hyper's timeouts have no effect, and it does not say so.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .keep_alive(limits.keep_alive)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_head_bytes.max(MIN_BUFFER));
    let io = TokioIo::new(StallGuard::new(io, limits.stall_timeout));
    let mut connection = pin!(builder.serve_connection(io, service));
    let last_request = async {
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sleep(max_age_of(peer, limits.max_age)) => {}
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = last_request => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Peers disconnect in many ways; none of them is our fault, and a scanner must not fill the log.
        tracing::debug!(error = %anyhow::Error::new(error), "connection ended");
    }
}

/// `max_age` plus up to a quarter. The port of the peer decides how much: it spreads the peers without randomness.
fn max_age_of(peer: SocketAddr, max_age: Duration) -> Duration {
    let spread = u32::from(peer.port() % 64);
    max_age.saturating_add(max_age / 256 * spread)
}
