//! Honest agents, one per node, that report every second.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::harness::{Harness, SERVICE};
use super::super::wire;
use super::process::NODES;

/// The agent gives up a report after this time.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// What became of the reports.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// From the time at which a report is due to its acceptance.
    took: Vec<Duration>,
    /// Reports that were not accepted in time.
    pub(super) lost: Vec<String>,
}

impl Delivered {
    /// The time within which 99 of 100 reports were accepted.
    pub(super) fn p99(&mut self) -> Duration {
        self.took.sort();
        let index = (self.took.len() * 99).div_ceil(100).saturating_sub(1);
        self.took.get(index).copied().unwrap_or(Duration::MAX)
    }

    pub(super) fn count(&self) -> usize {
        self.took.len()
    }
}

/// All nodes report until then. Every second one keeps its connection, as agents do; the others connect for each report, as
/// agents do that were restarted.
pub(super) async fn report_until(harness: &Harness, end: Instant) -> Delivered {
    let agents = NODES.iter().enumerate().map(|(index, node)| report_of(harness, node, index % 2 == 0, end));
    let mut all = Delivered::default();
    for one in join_all(agents).await {
        all.took.extend(one.took);
        all.lost.extend(one.lost);
    }
    all
}

async fn report_of(harness: &Harness, node: &str, keeps: bool, end: Instant) -> Delivered {
    let (token, bundle) = (harness.token(node), harness.bundle());
    let mut delivered = Delivered::default();
    let mut connection = None;
    let mut due = Instant::now();
    while due < end {
        sleep_until(due).await;
        let body = report(harness, node).to_string();
        let mut problem = "no answer".to_owned();
        let accepted = async {
            loop {
                match deliver(harness, &bundle, &token, &body, &mut connection).await {
                    Ok(()) => break,
                    Err(error) => problem = error,
                }
                connection = None;
            }
        };
        match timeout(GIVEN_UP, accepted).await {
            Ok(()) => delivered.took.push(due.elapsed()),
            Err(_elapsed) => delivered.lost.push(format!("{node}: {problem}")),
        }
        if !keeps {
            connection = None;
        }
        due = (due + Duration::from_secs(1)).max(Instant::now());
    }
    delivered
}

/// The node of the test's pod reports it, the others have no pods.
fn report(harness: &Harness, node: &str) -> Value {
    let mut report = harness.report(node, "low");
    if node != NODES[0] {
        report["pods"] = json!([]);
    }
    report
}

async fn deliver(
    harness: &Harness,
    bundle: &str,
    token: &str,
    body: &str,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
) -> Result<(), String> {
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream =
            wire::shake(harness.agents, SERVICE, bundle).await.map_err(|error| format!("TLS: {error}"))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP: {error}"))?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let Some(sender) = connection else { return Err("no connection".to_owned()) };
    let request = Request::post("/v1/reports")
        .header("host", SERVICE)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let status = response.status();
    let answer =
        response.into_body().collect().await.map_err(|error| format!("no body: {error}"))?.to_bytes();
    // The answer to a first try may have been lost: then the report was accepted.
    if status.is_success() || status.as_u16() == 409 {
        return Ok(());
    }
    Err(format!("{status} {}", String::from_utf8_lossy(&answer)))
}
