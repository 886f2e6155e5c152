//! The agent's two ports, both plain HTTP and read-only; no decision is based on them. The port for probes answers only the last
//! two paths.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text: the agent's own metrics, then the current series per pod and container |
//! | `/v1/report` | the report of the last sweep, with an `ETag` |
//! | `/livez` | 200 while the last sweep is recent and the async runtime runs, else 503 |
//! | `/readyz` | 200 after the first full classification, else 503 |

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_process::http::answer;
use plimsoll_process::metrics::{CONTENT_TYPE, render};
use plimsoll_process::probe::Heartbeat;
use plimsoll_process::shutdown::Shutdown;
use prometheus::Registry;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Metrics;
use crate::series;
use crate::shared::Shared;

/// The agent is not alive if the last sweep is older than this many periods, but at least [`MIN_LATE_AFTER`].
const LATE_PERIODS: u32 = 5;
const MIN_LATE_AFTER: Duration = Duration::from_secs(10);

/// Answers the probes. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    shared: Arc<Shared>,
    late_after: Duration,
    /// Of the runtime that everything but the sampler and the port for probes runs on.
    runtime: Heartbeat,
}

impl Probes {
    pub(crate) fn new(shared: Arc<Shared>, period: Duration) -> Probes {
        let late_after = (period * LATE_PERIODS).max(MIN_LATE_AFTER);
        Probes { shared, late_after, runtime: Heartbeat::new(Instant::now()) }
    }

    /// Records that the runtime works, until the shutdown: the port for probes has its own, and would not notice that it hangs.
    pub(crate) async fn record_runtime(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                _ = ticks.tick() => self.runtime.record(Instant::now()),
            }
        }
    }

    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        get_only(request).unwrap_or_else(|| {
            let path = request.uri().path();
            self.probe(path).unwrap_or_else(|| answer::not_found(path))
        })
    }

    fn probe(&self, path: &str) -> Option<Response<Full<Bytes>>> {
        match path {
            "/livez" => Some(self.livez()),
            "/readyz" => Some(self.readyz()),
            _ => None,
        }
    }

    fn livez(&self) -> Response<Full<Bytes>> {
        let now = Instant::now();
        for (what, heartbeat) in [("sweep", &self.shared.heartbeat), ("runtime tick", &self.runtime)] {
            if !heartbeat.is_alive(now, self.late_after) {
                let age = heartbeat.age(now).as_secs();
                let text = format!("the last {what} was {age} s ago\n");
                return answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        }
        answer::text(StatusCode::OK, "ok\n")
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        if self.shared.ready.is_set() {
            return answer::text(StatusCode::OK, "ok\n");
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first classification is not done yet\n")
    }
}

/// Answers the requests of scrapers and people.
#[derive(Debug)]
pub(crate) struct Port {
    shared: Arc<Shared>,
    registry: Registry,
    metrics: Metrics,
    probes: Probes,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>, registry: Registry, metrics: Metrics, probes: Probes) -> Port {
        Port { shared, registry, metrics, probes }
    }

    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        get_only(request).unwrap_or_else(|| match request.uri().path() {
            "/metrics" => self.metrics(),
            "/v1/report" => self.report(request),
            path => self.probes.probe(path).unwrap_or_else(|| answer::not_found(path)),
        })
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut per_pod = String::new();
        let counts = series::write(&mut per_pod, &self.shared.lock().state);
        self.metrics.set_pod_counts(&counts);
        let text = render(&self.registry) + &per_pod;
        answer::with_type(StatusCode::OK, CONTENT_TYPE, text)
    }

    fn report<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let report = self.shared.peek_report();
        match serde_json::to_vec(&report) {
            Ok(body) => {
                let tag = tag(&body);
                let response = answer::with_type(StatusCode::OK, "application/json", body);
                answer::with_etag(request.headers(), &tag, response)
            }
            Err(error) => answer::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot write the report as JSON: {error}\n"),
            ),
        }
    }
}

/// The answer to a method that could change something.
fn get_only<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    (!reads).then(|| answer::method_not_allowed("GET, HEAD"))
}

/// An entity tag: a client that polls while nothing changes gets a short answer.
fn tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, IF_NONE_MATCH};
    use jiff::Timestamp;
    use plimsoll_process::metrics::registry;

    use super::*;
    use crate::sampler::tests::sampler_of_a_captured_tree;
    use crate::shared::RosterPosition;
    use crate::state::AcceptedEvents;

    #[test]
    fn a_report_is_sent_once_until_a_sweep_or_a_delivery_changes_it() {
        let (mut sampler, shared, metrics) = sampler_of_a_captured_tree();
        let probes = Probes::new(shared.clone(), Duration::from_secs(1));
        let port = Port::new(shared.clone(), registry(), metrics, probes);
        let get = |tag: &str| {
            let request = Request::get("/v1/report").header(IF_NONE_MATCH, tag).body(()).unwrap();
            let response = port.answer(&request);
            (response.status(), response.headers()[ETAG].to_str().unwrap().to_owned())
        };
        sampler.sweep(crate::clock::now(), Timestamp::now());
        let (status, tag) = get("\"none\"");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(get(&tag), (StatusCode::NOT_MODIFIED, tag.clone()));
        shared.report(None, &RosterPosition::default(), &AcceptedEvents::default());
        assert_eq!(get(&tag).0, StatusCode::OK, "another sequence number");
    }

    #[test]
    fn the_port_for_probes_answers_them_and_nothing_else() {
        let (mut sampler, shared, _) = sampler_of_a_captured_tree();
        let probes = Probes::new(shared, Duration::from_secs(1));
        let status = |request: http::request::Builder| probes.answer(&request.body(()).unwrap()).status();
        assert_eq!(status(Request::get("/livez")), StatusCode::OK);
        assert_eq!(status(Request::get("/readyz")), StatusCode::SERVICE_UNAVAILABLE);
        sampler.sweep(crate::clock::now(), Timestamp::now());
        assert_eq!(status(Request::get("/readyz")), StatusCode::OK);
        for path in ["/", "/metrics", "/v1/report"] {
            assert_eq!(status(Request::get(path)), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(status(Request::post("/livez")), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_runtime_that_hangs_is_not_alive() {
        let (_, shared, _) = sampler_of_a_captured_tree();
        let long_ago = Instant::now().checked_sub(MIN_LATE_AFTER * 2).unwrap();
        let runtime = Heartbeat::new(long_ago);
        let probes = Probes { runtime, ..Probes::new(shared, Duration::from_secs(1)) };
        assert_eq!(probes.livez().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
