//! The agent's plain HTTP port: read-only, and no decision is based on it.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text: the agent's own metrics, then the current series per pod and container |
//! | `/v1/report` | the report of the last sweep, with an `ETag` |
//! | `/livez` | 200 while the last sweep is recent, else 503 |
//! | `/readyz` | 200 after the first full classification, else 503 |

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_process::http::answer;
use plimsoll_process::metrics::{CONTENT_TYPE, render};
use prometheus::Registry;

use crate::metrics::Metrics;
use crate::series;
use crate::shared::Shared;

/// The agent is not alive if the last sweep is older than this many periods, but at least [`MIN_LATE_AFTER`].
const LATE_PERIODS: u32 = 5;
const MIN_LATE_AFTER: Duration = Duration::from_secs(10);

/// Answers the requests.
#[derive(Debug)]
pub(crate) struct Port {
    shared: Arc<Shared>,
    registry: Registry,
    metrics: Metrics,
    late_after: Duration,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>, registry: Registry, metrics: Metrics, period: Duration) -> Port {
        Port { shared, registry, metrics, late_after: (period * LATE_PERIODS).max(MIN_LATE_AFTER) }
    }

    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::method_not_allowed("GET, HEAD");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/v1/report" => self.report(request),
            "/livez" => self.livez(),
            "/readyz" => self.readyz(),
            path => answer::not_found(path),
        }
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

    fn livez(&self) -> Response<Full<Bytes>> {
        let now = Instant::now();
        if self.shared.heartbeat.is_alive(now, self.late_after) {
            return answer::text(StatusCode::OK, "ok\n");
        }
        let age = self.shared.heartbeat.age(now);
        answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("the last sweep was {} s ago\n", age.as_secs()))
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        if self.shared.ready.is_set() {
            return answer::text(StatusCode::OK, "ok\n");
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first classification is not done yet\n")
    }
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

    #[test]
    fn a_report_is_sent_once_until_a_sweep_or_a_delivery_changes_it() {
        let (mut sampler, shared, metrics) = sampler_of_a_captured_tree();
        let port = Port::new(shared.clone(), registry(), metrics, Duration::from_secs(1));
        let get = |tag: &str| {
            let request = Request::get("/v1/report").header(IF_NONE_MATCH, tag).body(()).unwrap();
            let response = port.answer(&request);
            (response.status(), response.headers()[ETAG].to_str().unwrap().to_owned())
        };
        sampler.sweep(crate::clock::now(), Timestamp::now());
        let (status, tag) = get("\"none\"");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(get(&tag), (StatusCode::NOT_MODIFIED, tag.clone()));
        shared.full_report(0);
        assert_eq!(get(&tag).0, StatusCode::OK, "another sequence number");
    }
}
