//! The agents' port: `POST /v1/reports`, the only way into the core from outside.
//!
//! Checks go from cheap to expensive: headers, what the token claims, the sender's pod, the signature; the body is read only after that, so that nothing
//! of an unknown sender is parsed. Each rejection has its own word, counter and status ([`crate::rejection`]).
//!
//! Tests: `tests/edges/trust.rs`, `tests/edges/reports.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use plimsoll_contract::rejection::{RejectionBody, ReportRejection};
use plimsoll_contract::report::{MAX_BODY, VERSION};
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{NodeName, Report};
use plimsoll_process::http::{BodyError, Limits, PeerAddr, answer, read_body};
use plimsoll_process::rate_limit::RateLimiter;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::auth::Authenticator;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::rejection::{MAX_PER_SECOND, MAX_READING, Rejection};

/// Bytes of a token. Real ones have about 1 KiB.
const MAX_TOKEN: usize = 8 << 10;
/// Beyond this many nodes, those that have not reported for a minute are forgotten.
const MAX_NODES: usize = 16_384;
const IDLE: Duration = Duration::from_secs(60);
/// The shortest time between two log lines about the same reason.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The agents' port.
#[derive(Debug)]
pub(crate) struct AgentsPort {
    engine: Engine,
    authenticator: Authenticator,
    limits: Limits,
    metrics: Metrics,
    /// What is being received of each node.
    reading: Mutex<BTreeMap<NodeName, NodeReports>>,
    /// How often each reason is logged.
    logged: Mutex<BTreeMap<&'static str, RateLimiter>>,
}

/// The reports of one node: whoever holds its agent's token costs the others no more than this.
#[derive(Debug)]
struct NodeReports {
    being_received: usize,
    rate: RateLimiter,
    last: Instant,
}

/// A report that is being received.
struct Reading<'a> {
    port: &'a AgentsPort,
    node: NodeName,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut reading = self.port.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reports) = reading.get_mut(&self.node) {
            reports.being_received -= 1;
        }
    }
}

/// The limits of the agents' port.
pub(crate) fn limits() -> Limits {
    Limits { max_body_bytes: MAX_BODY, ..Limits::reports() }
}

impl AgentsPort {
    /// Hands reports of authenticated agents to `engine`.
    pub(crate) fn new(engine: Engine, authenticator: Authenticator, metrics: Metrics) -> AgentsPort {
        let (reading, logged) = (Mutex::default(), Mutex::default());
        AgentsPort { engine, authenticator, limits: limits(), metrics, reading, logged }
    }

    /// The one route.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/v1/reports", post(reports).fallback(|| async { answer::method_not_allowed("POST") }))
            .fallback(|| async {
                let body = json!({"error": "this port only takes POST /v1/reports"});
                answer::json(StatusCode::NOT_FOUND, &body)
            })
            .with_state(Arc::new(self))
    }

    async fn handle(&self, request: Request) -> Result<Answer, Rejection> {
        let (parts, body) = request.into_parts();
        check_headers(&parts.headers, self.limits.max_body_bytes)?;
        let token = bearer(&parts.headers)?;
        let caller = self.authenticator.authenticate(&self.engine, token, Timestamp::now()).await?;
        let reading = self.begin_reading(&caller.node)?;
        let report = self.read(body).await?;
        drop(reading);
        if report.node != caller.node {
            return Err(Rejection::OtherNode { body: report.node, token: caller.node });
        }
        self.engine.report(caller.uid, report)
    }

    fn begin_reading(&self, node: &NodeName) -> Result<Reading<'_>, Rejection> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if reading.len() >= MAX_NODES {
            reading.retain(|_, reports| reports.being_received > 0 || now < reports.last + IDLE);
        }
        let rate = || RateLimiter::new(MAX_PER_SECOND, Duration::from_secs(1), now.into_std());
        let fresh = || NodeReports { being_received: 0, rate: rate(), last: now };
        let reports = reading.entry(node.clone()).or_insert_with(fresh);
        reports.last = now;
        if reports.being_received >= MAX_READING || !reports.rate.try_acquire(now.into_std()) {
            return Err(Rejection::TooMany(node.clone()));
        }
        reports.being_received += 1;
        Ok(Reading { port: self, node: node.clone() })
    }

    async fn read(&self, body: Body) -> Result<Report, Rejection> {
        let bytes = read_body(body, &self.limits).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Rejection::TooLarge(limit),
            other => Rejection::Body(other.to_string()),
        })?;
        parse(&bytes)
    }

    fn reject(&self, rejection: &Rejection, peer: Option<PeerAddr>) -> Response {
        let reason = rejection.as_str();
        self.metrics.rejected(reason);
        if self.is_log_due(reason) {
            // The node's name is verified only by the last checks; the peer's address is known at all of them.
            let peer = peer.map(|PeerAddr(peer)| peer.to_string());
            tracing::warn!(peer, reason, error = %rejection, "a report was rejected");
        }
        let body = RejectionBody {
            error: rejection.to_string(),
            reason: reason.to_owned(),
            newest: rejection.newest(),
            continue_from: rejection.continue_from(),
        };
        let mut response = answer::json(rejection.status(), &body);
        if let Some(pause) = rejection.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        response.into_response()
    }

    fn is_log_due(&self, reason: &'static str) -> bool {
        let now = Instant::now().into_std();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.entry(reason).or_insert_with(|| RateLimiter::new(1, LOG_EVERY, now)).try_acquire(now)
    }
}

async fn reports(State(port): State<Arc<AgentsPort>>, request: Request) -> Response {
    let peer = request.extensions().get().copied();
    match port.handle(request).await {
        Ok(roster) => {
            port.metrics.accepted();
            answer::json(StatusCode::OK, &roster).into_response()
        }
        Err(rejection) => port.reject(&rejection, peer),
    }
}

/// What the headers say about the body.
fn check_headers(headers: &HeaderMap, max_bytes: usize) -> Result<(), Rejection> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Rejection::ContentType);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > max_bytes) {
        return Err(Rejection::TooLarge(max_bytes));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Rejection> {
    let header = headers.get(AUTHORIZATION).ok_or(Rejection::NoToken)?;
    let text = header.to_str().map_err(|_| Rejection::BadToken("it has characters that no token has"))?;
    let (scheme, token) = text.split_once(' ').ok_or(Rejection::NoToken)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Rejection::NoToken);
    }
    if token.len() > MAX_TOKEN {
        return Err(Rejection::BadToken("it is longer than 8 KiB"));
    }
    Ok(token)
}

/// The version first: a report of another version need not have our shape.
fn parse(bytes: &[u8]) -> Result<Report, Rejection> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |error: serde_json::Error| Rejection::Malformed(error.to_string());
    let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
    if version == 0 || version > VERSION || version + 1 < VERSION {
        return Err(Rejection::Version(ReportRejection::Version(version).to_string()));
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_body_that_is_not_json_or_too_long_by_its_header_is_rejected() {
        assert!(check_headers(&headers(&[("content-type", "application/json; charset=utf-8")]), 10).is_ok());
        assert_eq!(
            check_headers(&headers(&[("content-type", "text/plain")]), 10),
            Err(Rejection::ContentType)
        );
        assert_eq!(check_headers(&headers(&[]), 10), Err(Rejection::ContentType));
        let long = headers(&[("content-type", "application/json"), ("content-length", "11")]);
        assert_eq!(check_headers(&long, 10), Err(Rejection::TooLarge(10)));
    }

    #[test]
    fn a_token_comes_as_bearer_and_is_not_longer_than_any_real_one() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer  abc")])), Ok("abc"));
        for none in ["Basic abc", "Bearer", "Bearer "] {
            assert_eq!(bearer(&headers(&[("authorization", none)])), Err(Rejection::NoToken), "{none}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        assert_eq!(bearer(&headers(&[("authorization", &long)])).unwrap_err().as_str(), "bad_token");
    }

    #[test]
    fn another_version_is_rejected_as_such_whatever_else_the_report_says() {
        assert_eq!(parse(br#"{"version":99,"news":true}"#).unwrap_err().as_str(), "version");
        assert_eq!(parse(br#"{"version":2}"#).unwrap_err().as_str(), "malformed");
        assert_eq!(parse(b"[").unwrap_err().as_str(), "malformed");
        let deep = format!("{{\"version\":2,\"x\":{}", "[".repeat(10_000));
        assert_eq!(parse(deep.as_bytes()).unwrap_err().as_str(), "malformed");
    }
}
