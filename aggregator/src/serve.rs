//! The plain port: GET only, for people, Prometheus and probes. Nothing here changes anything.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text |
//! | `/livez` | 200 while the engine goes round |
//! | `/readyz` | 200 once reports can be taken in; the body says what is missing, and why nothing is written |
//! | `/v1/nodes`, `/v1/pods`, `/v1/pods/{namespace}/{name}`, `/v1/decisions` | see [`plimsoll_contract::status`] |
//! | `/v1/stream` | the same as server-sent events, see [`crate::stream`] |

mod pages;

use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::Uri};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, StatusCode};
use plimsoll_contract::PodName;
use plimsoll_process::http::answer;
use plimsoll_process::metrics::{CONTENT_TYPE, render};
use plimsoll_process::shutdown::Shutdown;
use prometheus::Registry;
use serde_json::json;

use crate::core::Core;
use crate::engine::Engine;
use crate::readiness::Readiness;
use crate::stream::{self, Streams};

/// The engine ticks every second; a process whose tick is older than this hangs.
const LIVE: Duration = Duration::from_secs(10);

const INDEX: &str = "plimsoll-aggregator: GET /metrics /livez /readyz /v1/nodes /v1/pods /v1/pods/NAMESPACE/NAME \
                     /v1/decisions /v1/stream\n";

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct Plain {
    /// The core.
    pub engine: Engine,
    /// The metrics.
    pub registry: Registry,
    /// What is ready.
    pub readiness: Readiness,
    /// Places for streams.
    pub streams: Streams,
    /// Ends the streams.
    pub shutdown: Shutdown,
}

/// The routes of the plain port.
pub fn router(plain: Plain) -> Router {
    Router::new()
        .route("/", get(|| async { answer::text(StatusCode::OK, INDEX) }))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/v1/nodes", get(nodes))
        .route("/v1/pods", get(pods))
        .route("/v1/pods/{namespace}/{name}", get(pod))
        .route("/v1/decisions", get(decisions))
        .route("/v1/stream", get(stream))
        .fallback(nothing)
        .layer(middleware::from_fn(get_only))
        .with_state(plain)
}

async fn get_only(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::method_not_allowed("GET, HEAD").into_response();
    }
    let mut response = next.run(request).await;
    // A proxy in between must not show an old state.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn metrics(State(plain): State<Plain>) -> Response {
    answer::with_type(StatusCode::OK, CONTENT_TYPE, render(&plain.registry)).into_response()
}

async fn livez(State(plain): State<Plain>) -> Response {
    let age = plain.engine.beat().age(Instant::now());
    if age <= LIVE {
        return answer::text(StatusCode::OK, "ok\n").into_response();
    }
    let text = format!("the engine has not gone round for {age:?}\n");
    answer::text(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn readyz(State(plain): State<Plain>) -> Response {
    let (synced, withheld) = plain.engine.ask(|core, _| (core.synced(), core.withheld()));
    let ready = synced && plain.readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let writes = withheld.map_or("allowed".to_owned(), |why| format!("withheld ({why})"));
    answer::text(status, format!("{}writes: {writes}\n", plain.readiness.text())).into_response()
}

async fn nodes(State(plain): State<Plain>) -> Response {
    let nodes = plain.engine.ask(Core::nodes);
    answer::json(StatusCode::OK, &nodes).into_response()
}

async fn pods(State(plain): State<Plain>) -> Response {
    pages::serve(plain.engine)
}

async fn pod(State(plain): State<Plain>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match plain.engine.ask(|core, _| core.pod(&PodName::new(&namespace, &name))) {
        Some(pod) => answer::json(StatusCode::OK, &pod).into_response(),
        None => {
            missing(&format!("there is no pod {namespace}/{name}"), "GET /v1/pods lists all that are known")
        }
    }
}

async fn decisions(State(plain): State<Plain>) -> Response {
    let decisions = plain.engine.ask(|core, _| core.decisions());
    answer::json(StatusCode::OK, &decisions).into_response()
}

async fn stream(State(plain): State<Plain>) -> Response {
    stream::serve(&plain.streams, plain.engine, plain.shutdown)
}

async fn nothing(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    missing(&format!("nothing at {path}"), INDEX.trim_end())
}

fn missing(error: &str, hint: &str) -> Response {
    answer::json(StatusCode::NOT_FOUND, &json!({"error": error, "hint": hint})).into_response()
}
