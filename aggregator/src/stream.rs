//! `/v1/stream`: what changes, as it changes, as server-sent events.
//!
//! `pod` carries a [`plimsoll_contract::status::PodStatus`], `decision` a [`plimsoll_contract::status::Decision`]. It
//! begins with every pod that is known; then come those that changed. A slow reader misses states in between, never the
//! latest: nothing queues for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use plimsoll_contract::PodName;
use plimsoll_contract::status::Decision;
use plimsoll_process::http::answer;
use plimsoll_process::shutdown::Shutdown;
use prometheus::IntGauge;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::engine::Engine;
use crate::metrics::Metrics;

/// Streams at once.
const MOST: usize = 64;
/// So that proxies do not take a quiet stream for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(250);

/// Places for streams. A cheap clone.
#[derive(Debug, Clone)]
pub struct Streams {
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Streams {
    /// As many as there may be.
    pub fn new(metrics: Metrics) -> Streams {
        Streams { places: Arc::new(Semaphore::new(MOST)), metrics }
    }
}

/// One more stream, or 503.
pub fn serve(streams: &Streams, engine: Engine, shutdown: Shutdown) -> Response {
    let Ok(permit) = Arc::clone(&streams.places).try_acquire_owned() else {
        streams.metrics.stream_refused();
        let body =
            json!({"error": format!("{MOST} streams are open already"), "hint": "GET /v1/pods instead"});
        let mut response = answer::json(StatusCode::SERVICE_UNAVAILABLE, &body).into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let place = Place::take(permit, streams.metrics.streams().clone());
    let end = async move { shutdown.triggered().await };
    let events = events(engine, place).take_until(Box::pin(end));
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(unbuffered, HeaderValue::from_static("no"));
    response
}

/// A place, given back and uncounted when the stream is dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    open: IntGauge,
}

impl Place {
    fn take(permit: OwnedSemaphorePermit, open: IntGauge) -> Place {
        open.inc();
        Place { _permit: permit, open }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Where a stream stands.
struct Reader {
    engine: Engine,
    changes: watch::Receiver<u64>,
    generation: u64,
    /// Of the decisions that were told last.
    revision: u64,
    pods: VecDeque<PodName>,
    decisions: VecDeque<Decision>,
    begun: bool,
    _place: Place,
}

fn events(engine: Engine, place: Place) -> impl Stream<Item = Result<Event, Infallible>> {
    let reader = Reader {
        changes: engine.changes(),
        // Decisions from now on: the older ones are at /v1/decisions.
        revision: engine.ask(|core, _| core.decisions_since(u64::MAX)).0,
        engine,
        generation: 0,
        pods: VecDeque::new(),
        decisions: VecDeque::new(),
        begun: false,
        _place: place,
    };
    stream::unfold(reader, |mut reader| async move { reader.next().await.map(|event| (Ok(event), reader)) })
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(decision) = self.decisions.pop_front() {
                return Some(event("decision", &decision));
            }
            // The state of now, not of when the name was noted.
            while let Some(name) = self.pods.pop_front() {
                if let Some(status) = self.engine.ask(|core, _| core.pod(&name)) {
                    return Some(event("pod", &status));
                }
            }
            if std::mem::replace(&mut self.begun, true) {
                self.changes.changed().await.ok()?;
                sleep(GATHER).await;
                self.changes.mark_unchanged();
            }
            self.gather();
        }
    }

    fn gather(&mut self) {
        let (pods, decisions) = self
            .engine
            .ask(|core, _| (core.changes_since(self.generation), core.decisions_since(self.revision)));
        self.generation = pods.0;
        self.pods.extend(pods.1);
        self.revision = decisions.0;
        self.decisions.extend(decisions.1);
    }
}

fn event(kind: &str, value: &impl Serialize) -> Event {
    let event = Event::default().event(kind);
    event.json_data(value).unwrap_or_else(|error| {
        tracing::error!(%error, kind, "an event has no JSON form");
        Event::default().comment("left out")
    })
}
