//! The port for the kubelet's probes: `/livez` and `/readyz`, and nothing else. It has a thread and connections of its own, so that
//! a flood on the other ports makes no probe fail, which would restart the aggregator or take it out of its Service.
//!
//! The port for people answers both paths too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_process::http::answer;

use crate::engine::Engine;
use crate::readiness::Readiness;

/// The engine ticks every second; a process whose last tick is older than this hangs.
const MAX_TICK_AGE: Duration = Duration::from_secs(10);

/// What the answers are made from. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    pub(crate) engine: Engine,
    pub(crate) readiness: Readiness,
}

impl Probes {
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::method_not_allowed("GET, HEAD");
        }
        match request.uri().path() {
            "/livez" => self.livez(),
            "/readyz" => self.readyz(),
            path => answer::not_found(path),
        }
    }

    /// 200 while the engine ticks.
    pub(super) fn livez(&self) -> Response<Full<Bytes>> {
        let age = self.engine.heartbeat().age(Instant::now());
        if age <= MAX_TICK_AGE {
            return answer::text(StatusCode::OK, "ok\n");
        }
        let text = format!("the engine has not ticked for {age:?}\n");
        answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// 200 once reports can be accepted; the body says what is missing, and why nothing is written.
    pub(super) fn readyz(&self) -> Response<Full<Bytes>> {
        let (synced, withheld) = self.engine.ask(|core, _| (core.synced(), core.withheld()));
        let ready = synced && self.readiness.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let writes = withheld.map_or("allowed".to_owned(), |why| format!("withheld ({why})"));
        answer::text(status, format!("{}writes: {writes}\n", self.readiness.text()))
    }
}
