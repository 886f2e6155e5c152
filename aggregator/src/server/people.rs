//! The port for people and Prometheus: plain HTTP, GET only. Nothing here changes anything.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text |
//! | `/livez`, `/readyz` | see [`super::probes`] |
//! | `/v1/status`, `/v1/nodes`, `/v1/pods`, `/v1/pods/{namespace}/{name}`, `/v1/decisions` | see [`plimsoll_contract::status`] |
//!
//! The status and the lists of pods and of decisions have a weak `ETag`: clients that poll learn in a few bytes that nothing changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::Uri};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use plimsoll_contract::PodName;
use plimsoll_contract::status::{NodeStatus, PodStatus};
use plimsoll_process::http::answer;
use plimsoll_process::metrics::{CONTENT_TYPE, render};
use prometheus::Registry;
use serde_json::json;
use tokio::sync::watch;

use super::list;
use super::one_at_a_time::OneAtATime;
use super::probes::Probes;
use crate::cluster::lease::Holder;
use crate::engine::Engine;
use crate::metrics::CoreGauges;

const INDEX: &str = "plimsoll-aggregator: GET /metrics /livez /readyz /v1/status /v1/nodes /v1/pods \
                     /v1/pods/NAMESPACE/NAME /v1/decisions\n";

/// What the answers are made from.
#[derive(Debug, Clone)]
pub(crate) struct PeoplePort {
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    pub(crate) gauges: CoreGauges,
    pub(crate) probes: Probes,
    /// Name of this replica.
    pub(crate) replica: String,
    /// Who holds the Lease.
    pub(crate) holder: watch::Receiver<Option<Holder>>,
    pub(crate) answers_made: OneAtATime,
}

pub(crate) fn router(port: PeoplePort) -> Router {
    Router::new()
        .route("/", get(|| async { answer::text(StatusCode::OK, INDEX) }))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/pods", get(pods))
        .route("/v1/pods/{namespace}/{name}", get(pod))
        .route("/v1/decisions", get(decisions))
        .route_layer(middleware::from_fn_with_state(port.clone(), one_at_a_time))
        // These ask the core nothing.
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .layer(middleware::from_fn(get_only))
        .with_state(port)
}

async fn get_only(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::method_not_allowed("GET, HEAD").into_response();
    }
    let mut response = next.run(request).await;
    // A stored response must be revalidated before it is shown.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn one_at_a_time(State(port): State<PeoplePort>, request: Request, next: Next) -> Response {
    let _permit = port.answers_made.permit().await;
    next.run(request).await
}

async fn metrics(State(port): State<PeoplePort>) -> Response {
    port.gauges.refresh(&port.engine).await;
    answer::with_type(StatusCode::OK, CONTENT_TYPE, render(&port.registry)).into_response()
}

async fn livez(State(port): State<PeoplePort>) -> Response {
    port.probes.livez().into_response()
}

async fn readyz(State(port): State<PeoplePort>) -> Response {
    port.probes.readyz().into_response()
}

async fn status(State(port): State<PeoplePort>, headers: HeaderMap) -> Response {
    let (holder, wall) = (port.holder.borrow().clone(), Timestamp::now());
    let name = |of: fn(&Holder, Timestamp) -> Option<&str>| {
        holder.as_ref().and_then(|holder| of(holder, wall)).map(str::to_owned)
    };
    let (leader, last_leader) = (name(Holder::at), name(Holder::expired_at));
    let status = port.engine.ask(|core, now| core.status(now, &port.replica, leader, last_leader));
    let mut hasher = DefaultHasher::new();
    status.hash(&mut hasher);
    let tag = format!("{:x}", hasher.finish());
    with_tag(&headers, &tag, || answer::json(StatusCode::OK, &status).into_response())
}

async fn nodes(State(port): State<PeoplePort>) -> Response {
    list::response::<NodeStatus>(port.engine, port.answers_made)
}

async fn pods(State(port): State<PeoplePort>, headers: HeaderMap) -> Response {
    let tag = port.engine.ask(|core, _| core.pods_tag());
    with_tag(&headers, &tag, || list::response::<PodStatus>(port.engine, port.answers_made))
}

async fn pod(State(port): State<PeoplePort>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match port.engine.ask(|core, _| core.pod(&PodName::new(&namespace, &name))) {
        Some(pod) => answer::json(StatusCode::OK, &pod).into_response(),
        None => {
            missing(&format!("there is no pod {namespace}/{name}"), "GET /v1/pods lists all that are known")
        }
    }
}

async fn decisions(State(port): State<PeoplePort>, headers: HeaderMap) -> Response {
    let tag = port.engine.ask(|core, _| core.decisions_tag());
    with_tag(&headers, &tag, || {
        answer::json(StatusCode::OK, &port.engine.ask(|core, _| core.decisions())).into_response()
    })
}

/// The list with its tag; only the tag for a client that has this state already. The tag was read before the list, so a change in
/// between only makes the client ask once more.
fn with_tag(headers: &HeaderMap, tag: &str, list: impl FnOnce() -> Response) -> Response {
    let response = if answer::matches(headers, tag) { Response::new(Body::empty()) } else { list() };
    answer::with_weak_etag(headers, tag, response)
}

async fn not_found(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    missing(&format!("nothing at {path}"), INDEX.trim_end())
}

fn missing(error: &str, hint: &str) -> Response {
    answer::json(StatusCode::NOT_FOUND, &json!({"error": error, "hint": hint})).into_response()
}

#[cfg(test)]
mod tests;
