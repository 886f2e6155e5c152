//! One request: its permit, the call of the service with the peer's address, a deadline, panic handling and metrics.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::limiter::ConnectionPermit;
use super::response::ResponseBody;
use super::{BoxError, Limits, PeerAddr, answer};
use crate::metrics::HttpMetrics;
use crate::rate_limit::RateLimiter;
use crate::tasks::panic_message;

/// Seconds after which a peer that was answered 503 should try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
/// Log lines per second about requests that failed: peers can cause as many failures as they send requests.
const LOG_LINES_PER_SECOND: u32 = 1;

/// What the requests of a port share.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) limits: Limits,
    pub(super) metrics: HttpMetrics,
    log: Mutex<RateLimiter>,
}

impl Handler {
    pub(super) fn new(limits: Limits, metrics: HttpMetrics) -> Handler {
        let log = RateLimiter::new(LOG_LINES_PER_SECOND, Duration::from_secs(1), Instant::now());
        Handler { limits, metrics, log: Mutex::new(log) }
    }

    /// Answers one request, whatever the service does.
    pub(super) async fn handle<S, B>(
        &self,
        service: S,
        request: Request<Incoming>,
        peer: SocketAddr,
        connection: &ConnectionPermit,
    ) -> Response<ResponseBody<Either<B, Full<Bytes>>>>
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<BoxError>,
    {
        let permit = connection.begin_request();
        let response = match &permit {
            Ok(_) => {
                // Requests that arrived together are all counted before one of them is worked on. A service that never
                // waits would otherwise answer those of one connection in a row, and the caps would not matter.
                yield_now().await;
                self.call(service, request, peer).await
            }
            Err(rejection) => {
                self.metrics.rejected(*rejection).inc();
                busy("too many requests at once\n")
            }
        };
        self.metrics.requests(response.status()).inc();
        if let Ok(permit) = &permit {
            permit.answered(response.status());
        }
        response.map(|body| ResponseBody::new(body, permit.ok()))
    }

    async fn call<S, B>(
        &self,
        service: S,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Either<B, Full<Bytes>>>
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
        match timeout(self.limits.request_timeout, call.catch_unwind()).await {
            Ok(Ok(Ok(response))) => response.map(Either::Left),
            Ok(Ok(Err(error))) => {
                if self.is_log_due() {
                    tracing::error!(error = %error.into(), "a service failed, closing its connection");
                }
                last_response(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
            }
            Ok(Err(panic)) => {
                self.metrics.panics().inc();
                if self.is_log_due() {
                    tracing::error!(
                        panic = panic_message(panic.as_ref()),
                        "a handler panicked, closing its connection"
                    );
                }
                last_response(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
            }
            Err(_elapsed) => {
                if self.is_log_due() {
                    tracing::warn!(limit = ?self.limits.request_timeout, "a request took too long and was canceled");
                }
                busy("took too long\n")
            }
        }
    }

    fn is_log_due(&self) -> bool {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).try_acquire(Instant::now())
    }
}

/// 503 with `Retry-After`; closes the connection.
fn busy<B>(text: &'static str) -> Response<Either<B, Full<Bytes>>> {
    let mut response = last_response(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

fn last_response<B>(status: StatusCode, text: &'static str) -> Response<Either<B, Full<Bytes>>> {
    let mut response = answer::text(status, text).map(Either::Right);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
