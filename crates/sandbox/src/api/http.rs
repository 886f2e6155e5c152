//! One HTTP request from its head to its answer: user, target, fault, result, and the journal entry.
//!
//! Any valid token may do anything; the journal records the requests. The verbs are in `verbs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::answer::{Answer, Body, error_response};
use super::discovery::discovery;
use super::faults::{Fault, Faults};
use super::journal::{Entry, Journal};
use super::kinds::Kinds;
use super::route::{Query, Target, Verb, verb};
use super::status::ApiError;
use super::store::Store;
use super::tokens::{Tokens, User};
use super::verbs;

/// The largest body, as in the real server.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The state that all connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) tokens: Tokens,
    pub(super) journal: Journal,
    pub(super) faults: Faults,
    pub(super) bookmark_every: Duration,
    pub(super) watch_timeout: Duration,
}

/// A parsed request for a resource.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) query: Query,
    pub(super) accept: String,
    pub(super) content_type: String,
    pub(super) manager: String,
    pub(super) user: String,
    pub(super) body: Arc<Value>,
}

impl Call {
    pub(super) fn is_dry_run(&self) -> bool {
        self.query.get("dryRun") == Some("All") || self.body["dryRun"][0] == "All"
    }
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("scripted: the connection is closed without an answer")]
pub(super) struct ConnectionClosed;

/// Answers one request.
pub(super) async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ConnectionClosed> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if matches!(path.as_str(), "/readyz" | "/livez" | "/healthz") {
        return Ok(Answer::Text("ok").into_response());
    }
    let Some(user) = authenticate(&shared, &head.headers) else {
        let error = ApiError::unauthorized();
        shared.journal.record(Entry { code: Some(error.code), ..plain_entry(at, "", &path) });
        return Ok(error_response(&error));
    };
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let message = "Request entity too large: limit is 3145728";
            return Ok(error_response(&ApiError::new(413, "RequestEntityTooLarge", message)));
        }
    };
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let text = |name: header::HeaderName| text_of(&head.headers, &name);
    let content_type = text(header::CONTENT_TYPE);
    let target = Target::parse(&path);
    let named = target.as_ref().is_some_and(|target| target.name.is_some());
    let verb = verb(head.method.as_str(), named, &query, &content_type);
    let (Some(target), Some(verb)) = (target, verb) else {
        let error = verb.is_none().then(ApiError::method_not_allowed);
        let kinds = shared.store.kinds();
        let document = || shared.tokens.document(&path).or_else(|| discovery(&kinds, &path));
        let found = error.map_or_else(|| document().ok_or_else(|| not_found(&kinds, &path)), Err);
        let answer = || found.and_then(|value| Answer::value(200, &value));
        let fault = shared.faults.for_path(&path, &user.name);
        return perform(&shared, plain_entry(at, &user.name, &path), fault, answer).await;
    };
    let agent = text(header::USER_AGENT);
    let from_agent = agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
    // An apply must name its manager in the query.
    let default = if verb == Verb::Apply { "" } else { from_agent };
    let manager = query.get("fieldManager").unwrap_or(default).to_owned();
    let accept = text(header::ACCEPT);
    let parsed = parse_body(&body, &content_type);
    let body = Arc::new(parsed.as_ref().cloned().unwrap_or_default());
    let call = Call { verb, target, query, accept, content_type, manager, user: user.name, body };
    let fault = shared.faults.for_request(call.verb, &call.target, &call.user);
    let answer = || match parsed {
        Err(malformed) => Err(malformed),
        Ok(_) => verbs::run(&shared, &call),
    };
    perform(&shared, entry(at, &path, &call), fault, answer).await
}

/// Performs the request, or the scripted fault.
async fn perform(
    shared: &Arc<Shared>,
    mut entry: Entry,
    fault: Option<Fault>,
    answer: impl FnOnce() -> Result<Answer, ApiError>,
) -> Result<Response<Body>, ConnectionClosed> {
    match &fault {
        Some(Fault::Answer { code, retry_after }) => {
            let mut error = scripted(*code);
            error.retry_after = *retry_after;
            entry.code = Some(error.code);
            shared.journal.record(entry);
            return Ok(error_response(&error));
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(fault @ (Fault::Hang(_) | Fault::Drop)) => {
            entry.answered = false;
            shared.journal.record(entry);
            if let Fault::Hang(time) = fault {
                tokio::time::sleep(*time).await;
            }
            return Err(ConnectionClosed);
        }
        _ => {}
    }
    let result = answer();
    entry.answered = fault != Some(Fault::LoseAnswer);
    entry.code = Some(result.as_ref().map_or_else(|error| error.code, Answer::code));
    shared.journal.record(entry);
    if fault == Some(Fault::LoseAnswer) {
        return Err(ConnectionClosed);
    }
    Ok(result.map_or_else(|error| error_response(&error), Answer::into_response))
}

/// Below a group and version that are served, the API answers that a path is unknown, elsewhere the router.
fn not_found(kinds: &Kinds, path: &str) -> ApiError {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let is_served = match (parts.next(), parts.next()) {
        (Some("api"), Some(version)) => kinds.serves("", version),
        (Some("apis"), Some(group)) => parts.next().is_some_and(|version| kinds.serves(group, version)),
        _ => false,
    };
    if is_served { ApiError::no_such_path() } else { ApiError::page_not_found() }
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn authenticate(shared: &Shared, headers: &HeaderMap) -> Option<User> {
    let value = text_of(headers, &header::AUTHORIZATION);
    shared.tokens.authenticate(&shared.store, value.strip_prefix("Bearer ")?.trim())
}

fn parse_body(body: &Bytes, content_type: &str) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.is_empty() && !media.ends_with("json") && !media.ends_with("apply-patch+yaml") {
        return Err(ApiError::unsupported_media_type(content_type, "application/json"));
    }
    let parsed = serde_json::from_slice(body);
    parsed.map_err(|error| {
        ApiError::bad_request(format!("the body of the request is not a JSON document: {error}"))
    })
}

fn scripted(code: u16) -> ApiError {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    ApiError::new(code, reason, "scripted by a fault of the sandbox")
}

/// The entry of a request for a resource, before it is decided.
fn entry(at: Instant, path: &str, call: &Call) -> Entry {
    let target = &call.target;
    let created = || call.body["metadata"]["name"].as_str().map(str::to_owned);
    Entry {
        verb: call.verb,
        resource: target.resource.plural.to_string(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone().or_else(created),
        content_type: Some(call.content_type.clone()).filter(|text| !text.is_empty()),
        manager: Some(call.manager.clone()).filter(|_| call.verb.writes()),
        dry_run: call.is_dry_run(),
        body: call.body.clone(),
        ..plain_entry(at, &call.user, path)
    }
}

/// The entry of a request for a path that is not a resource.
fn plain_entry(at: Instant, user: &str, path: &str) -> Entry {
    Entry {
        index: 0,
        at,
        user: user.to_owned(),
        verb: Verb::Get,
        path: path.to_owned(),
        resource: String::new(),
        subresource: None,
        namespace: None,
        name: None,
        content_type: None,
        manager: None,
        dry_run: false,
        body: Arc::default(),
        code: None,
        answered: true,
    }
}
