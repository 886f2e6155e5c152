//! Around one call of the service: the peer's address goes in, a deadline and a net for panics around it, a count after.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::time::timeout;

use super::{BoxError, Limits, PeerAddr, answer};
use crate::metrics::{HttpMetrics, StatusClass};
use crate::tasks::panic_message;

/// Seconds after which a peer that was told 503 should come back.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The service's own body, or one of ours.
pub(super) type Answer<B> = Response<Either<B, Full<Bytes>>>;

/// Answers one request, whatever the service does.
pub(super) async fn handle<S, B>(
    service: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    limits: &Limits,
    metrics: &HttpMetrics,
) -> Answer<B>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    request.extensions_mut().insert(PeerAddr(peer));
    let call = AssertUnwindSafe(async move {
        // Two statements, so that no reference to the service lives across the wait and it need not be Sync.
        let response = service.call(request);
        response.await
    });
    let response = match timeout(limits.request_timeout, call.catch_unwind()).await {
        Ok(Ok(Ok(response))) => response.map(Either::Left),
        Ok(Ok(Err(error))) => failed(error.into().as_ref()),
        Ok(Err(panic)) => {
            metrics.panics().inc();
            tracing::error!(
                panic = panic_message(panic.as_ref()),
                "a handler panicked, its connection is closed"
            );
            last_answer(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
        Err(_late) => {
            tracing::warn!(limit = ?limits.request_timeout, "a request took too long, it was given up");
            busy("took too long\n")
        }
    };
    metrics.requests(StatusClass::of(response.status())).inc();
    response
}

/// 503 with `Retry-After`, and the end of the connection.
pub(super) fn busy<B>(text: &'static str) -> Answer<B> {
    let mut response = last_answer(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

fn failed<B>(error: &(dyn std::error::Error + Send + Sync)) -> Answer<B> {
    tracing::error!(%error, "a service failed, its connection is closed");
    last_answer(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
}

fn last_answer<B>(status: StatusCode, text: &'static str) -> Answer<B> {
    let mut response = answer::text(status, text).map(Either::Right);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
