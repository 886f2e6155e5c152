//! One call of the service: adds the peer's address, a deadline, panic handling and metrics.

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
use crate::metrics::HttpMetrics;
use crate::tasks::panic_message;

/// Seconds after which a peer that was answered 503 should try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A response with the service's own body, or with one of ours.
pub(super) type EitherResponse<B> = Response<Either<B, Full<Bytes>>>;

/// Answers one request, whatever the service does.
pub(super) async fn handle<S, B>(
    service: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    limits: &Limits,
    metrics: &HttpMetrics,
) -> EitherResponse<B>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    request.extensions_mut().insert(PeerAddr(peer));
    let call = AssertUnwindSafe(async move {
        // Two statements, so that no reference to the service is held across the await and it need not be Sync.
        let response = service.call(request);
        response.await
    });
    let response = match timeout(limits.request_timeout, call.catch_unwind()).await {
        Ok(Ok(Ok(response))) => response.map(Either::Left),
        Ok(Ok(Err(error))) => {
            tracing::error!(error = %error.into(), "a service failed, closing its connection");
            last_response(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
        Ok(Err(panic)) => {
            metrics.panics().inc();
            tracing::error!(
                panic = panic_message(panic.as_ref()),
                "a handler panicked, closing its connection"
            );
            last_response(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
        Err(_elapsed) => {
            tracing::warn!(limit = ?limits.request_timeout, "a request took too long and was canceled");
            busy("took too long\n")
        }
    };
    metrics.requests(response.status()).inc();
    response
}

/// 503 with `Retry-After`; closes the connection.
pub(super) fn busy<B>(text: &'static str) -> EitherResponse<B> {
    let mut response = last_response(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

fn last_response<B>(status: StatusCode, text: &'static str) -> EitherResponse<B> {
    let mut response = answer::text(status, text).map(Either::Right);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
