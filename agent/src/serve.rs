//! The agent's plain HTTP port, for anyone to read: never a path to a decision.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text: own metrics, then one series per pod and container of this moment |
//! | `/v1/report` | the report as it would be delivered now, with an `ETag` |
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
use crate::sweep::Shared;

/// A sweep is late after so many periods, but never before [`LATE_AT_LEAST`].
const LATE_PERIODS: u32 = 5;
const LATE_AT_LEAST: Duration = Duration::from_secs(10);

/// What the port shows.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    registry: Registry,
    metrics: Metrics,
    late_after: Duration,
}

impl Port {
    /// Shows `shared`, and the metrics of `registry`.
    pub fn new(shared: Arc<Shared>, registry: Registry, metrics: Metrics, period: Duration) -> Port {
        Port { shared, registry, metrics, late_after: (period * LATE_PERIODS).max(LATE_AT_LEAST) }
    }

    /// The answer to one request.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
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
        let counts = series::write(&mut per_pod, &self.shared.book());
        self.metrics.count(&counts);
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
            Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no JSON form: {error}\n")),
        }
    }

    fn livez(&self) -> Response<Full<Bytes>> {
        let now = Instant::now();
        if self.shared.beat.is_alive(now, self.late_after) {
            return answer::text(StatusCode::OK, "ok\n");
        }
        let age = self.shared.beat.age(now);
        answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("the last sweep was {} s ago\n", age.as_secs()))
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        if self.shared.ready.is_set() {
            return answer::text(StatusCode::OK, "ok\n");
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first classification is not done yet\n")
    }
}

/// The same for the same bytes: who polls faster than anything happens is told so in a few bytes.
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
    use crate::sweep::tests::sweeper_of_a_captured_tree;

    #[test]
    fn a_report_is_sent_once_until_a_sweep_or_a_delivery_changes_it() {
        let (mut sweeper, shared, metrics) = sweeper_of_a_captured_tree();
        let port = Port::new(shared.clone(), registry(), metrics, Duration::from_secs(1));
        let ask = |tag: &str| {
            let request = Request::get("/v1/report").header(IF_NONE_MATCH, tag).body(()).unwrap();
            let response = port.answer(&request);
            (response.status(), response.headers()[ETAG].to_str().unwrap().to_owned())
        };
        sweeper.sweep(crate::clock::now(), Timestamp::now());
        let (status, tag) = ask("\"none\"");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(ask(&tag), (StatusCode::NOT_MODIFIED, tag.clone()));
        shared.full_report(0);
        assert_eq!(ask(&tag).0, StatusCode::OK, "another sequence number");
    }
}
