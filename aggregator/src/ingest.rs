//! `POST /v1/reports`: the only way into the core from outside, and what has to be true for it.
//!
//! Cheapest first: shape, token, claims, what is known of the token, TokenReview, the sender's pod; only then the body
//! is read, so that nothing of an unknown sender is parsed. Each refusal has its own reason, counter and status.
//!
//! Proof: `ingest/denial.rs`, `ingest/sender.rs`, `review/*`, `tests/edges/trust.rs`, `tests/edges/reports.rs`.

pub mod denial;
pub mod sender;

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
use plimsoll_contract::Report;
use plimsoll_contract::report::{BadReport, MAX_BODY, VERSION};
use plimsoll_contract::roster::{Answer, Complaint};
use plimsoll_process::http::{BodyError, Limits, PeerAddr, answer, read_body};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use self::denial::Denial;
use self::sender::Senders;
use crate::engine::Engine;
use crate::input::Input;
use crate::metrics::Metrics;
use crate::review::Reviewer;

/// The longest token that is looked at. Real ones have about 1 KiB.
const MAX_TOKEN: usize = 8 << 10;
/// How often the same reason is logged.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Takes reports in.
#[derive(Debug)]
pub struct Ingest {
    engine: Engine,
    reviewer: Reviewer,
    senders: Senders,
    limits: Limits,
    metrics: Metrics,
    said: Mutex<BTreeMap<&'static str, Instant>>,
}

/// The limits of the agents' port.
pub fn limits() -> Limits {
    Limits { max_body_bytes: MAX_BODY, ..Limits::reports() }
}

impl Ingest {
    /// Of its parts.
    pub fn new(engine: Engine, reviewer: Reviewer, senders: Senders, metrics: Metrics) -> Ingest {
        Ingest { engine, reviewer, senders, limits: limits(), metrics, said: Mutex::default() }
    }

    /// The one route of the agents' port.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/reports", post(reports).fallback(|| async { answer::method_not_allowed("POST") }))
            .fallback(|| async { hint(StatusCode::NOT_FOUND, "this port only takes POST /v1/reports") })
            .with_state(Arc::new(self))
    }

    async fn take(&self, request: Request) -> Result<Answer, Denial> {
        let (parts, body) = request.into_parts();
        shape(&parts.headers, self.limits.max_body_bytes)?;
        let token = bearer(&parts.headers)?;
        if !self.engine.ask(|core, _| core.synced()) {
            return Err(crate::core::Refusal::NotSynced.into());
        }
        let caller = self.reviewer.review(token).await?;
        self.senders.check(&self.engine, &caller).await?;
        let report = self.read(body).await?;
        if report.node != caller.node {
            return Err(Denial::OtherNode { body: report.node, token: caller.node });
        }
        self.admit(report)
    }

    async fn read(&self, body: Body) -> Result<Report, Denial> {
        let bytes = read_body(body, &self.limits).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Denial::TooLarge(limit),
            other => Denial::Body(other.to_string()),
        })?;
        parse(&bytes)
    }

    fn admit(&self, report: Report) -> Result<Answer, Denial> {
        self.engine.ask(|core, _| core.admit(&report))?;
        let (node, echoed) = (report.node.clone(), report.roster_version);
        self.engine.submit(Input::Reported(Box::new(report)));
        Ok(self.engine.ask(|core, _| core.answer(&node, echoed)))
    }

    fn refuse(&self, denial: &Denial, peer: Option<PeerAddr>) -> Response {
        self.metrics.refused(denial.as_str());
        if self.is_news(denial.as_str()) {
            // Which node it is, nobody vouches for at every stage; where it comes from is known at all of them.
            let peer = peer.map(|PeerAddr(peer)| peer.to_string());
            tracing::warn!(peer, reason = denial.as_str(), error = %denial, "a report was refused");
        }
        let body = Complaint {
            error: denial.to_string(),
            reason: denial.as_str().to_owned(),
            newest: denial.newest(),
        };
        let mut response = answer::json(denial.status(), &body);
        if let Some(pause) = denial.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        response.into_response()
    }

    fn is_news(&self, reason: &'static str) -> bool {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let news = said.get(reason).is_none_or(|at| now.duration_since(*at) >= SAY_EVERY);
        if news {
            said.insert(reason, now);
        }
        news
    }
}

async fn reports(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let peer = request.extensions().get().copied();
    match ingest.take(request).await {
        Ok(roster) => {
            ingest.metrics.accepted();
            answer::json(StatusCode::OK, &roster).into_response()
        }
        Err(denial) => ingest.refuse(&denial, peer),
    }
}

/// What the headers say of the body.
fn shape(headers: &HeaderMap, most: usize) -> Result<(), Denial> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Denial::ContentType);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(Denial::TooLarge(most));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let header = headers.get(AUTHORIZATION).ok_or(Denial::NoToken)?;
    let text = header.to_str().map_err(|_| Denial::BadToken("it has characters that no token has"))?;
    let (scheme, token) = text.split_once(' ').ok_or(Denial::NoToken)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Denial::NoToken);
    }
    if token.len() > MAX_TOKEN {
        return Err(Denial::BadToken("it is longer than 8 KiB"));
    }
    Ok(token)
}

/// The version first: what another version says need not be a report of ours.
fn parse(bytes: &[u8]) -> Result<Report, Denial> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |error: serde_json::Error| Denial::Malformed(error.to_string());
    let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
    if version == 0 || version > VERSION || version + 1 < VERSION {
        return Err(Denial::Version(BadReport::Version(version).to_string()));
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

fn hint(status: StatusCode, text: &str) -> Response {
    answer::json(status, &json!({"error": text})).into_response()
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
    fn a_body_that_is_not_json_or_too_long_by_its_header_is_refused() {
        assert!(shape(&headers(&[("content-type", "application/json; charset=utf-8")]), 10).is_ok());
        assert_eq!(shape(&headers(&[("content-type", "text/plain")]), 10), Err(Denial::ContentType));
        assert_eq!(shape(&headers(&[]), 10), Err(Denial::ContentType));
        let long = headers(&[("content-type", "application/json"), ("content-length", "11")]);
        assert_eq!(shape(&long, 10), Err(Denial::TooLarge(10)));
    }

    #[test]
    fn a_token_comes_as_bearer_and_is_not_longer_than_any_real_one() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer  abc")])), Ok("abc"));
        for none in ["Basic abc", "Bearer", "Bearer "] {
            assert_eq!(bearer(&headers(&[("authorization", none)])), Err(Denial::NoToken), "{none}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        assert_eq!(bearer(&headers(&[("authorization", &long)])).unwrap_err().as_str(), "bad_token");
    }

    #[test]
    fn another_version_is_told_so_whatever_else_it_says() {
        assert_eq!(parse(br#"{"version":99,"news":true}"#).unwrap_err().as_str(), "version");
        assert_eq!(parse(br#"{"version":1}"#).unwrap_err().as_str(), "malformed");
        assert_eq!(parse(b"[").unwrap_err().as_str(), "malformed");
        let deep = format!("{{\"version\":1,\"x\":{}", "[".repeat(10_000));
        assert_eq!(parse(deep.as_bytes()).unwrap_err().as_str(), "malformed");
    }
}
