//! Confirms that the aggregator has paused: its metrics say so, and that no write is in flight.
//!
//! Every running pod of the aggregator is asked, through the API server's proxy: a pod that is not ready is in no Service
//! but may write all the same, and a pod that is being deleted writes until it is gone. If none runs, there is nothing to
//! wait for. If one cannot be asked, [`TIMEOUT`] passes; by then it has paused if its watch works, which takes a second.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use plimsoll_contract::keys;
use plimsoll_objects::{Nothing, Object};
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{self, Failure, Operation};

/// How long to wait for the confirmation.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Timeout of one request to an aggregator.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

const PAUSED: &str = "plimsoll_aggregator_withheld{reason=\"paused\"}";
const IN_FLIGHT: &str = "plimsoll_aggregator_in_flight_writes";

const FIND_AGGREGATOR: Operation =
    Operation::on_api_server("looking for the aggregator", "list pods in namespace plimsoll-system");
const ASK_AGGREGATOR: Operation = Operation {
    action: "asking the aggregator whether it has paused",
    server: "aggregator",
    right: "get pods/proxy in namespace plimsoll-system",
    through_service: false,
};

/// Which aggregators are asked.
pub(crate) enum Aggregator {
    /// Every pod, through the API server of this client.
    Pods(Client),
    /// The plain port that this client is for.
    Url(Client),
}

/// Whether the aggregator has paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PauseState {
    /// Every running aggregator says that it is paused, and that no write is in flight.
    Paused,
    NoAggregator,
    /// Not confirmed in time, for this reason. It may have paused all the same.
    Unconfirmed(String),
}

impl fmt::Display for PauseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PauseState::Paused => f.write_str("the aggregator confirmed it, and no write is in flight"),
            PauseState::NoAggregator => f.write_str("no aggregator runs"),
            PauseState::Unconfirmed(why) => {
                write!(f, "the aggregator did not confirm it within {} s: {why}", TIMEOUT.as_secs())
            }
        }
    }
}

impl Aggregator {
    /// The one at `url`, or else the aggregator's pods in the cluster of `client`.
    pub(crate) fn new(client: &Client, url: Option<&http::Uri>) -> Result<Aggregator, Failure> {
        match url {
            Some(url) => Ok(Aggregator::Url(connect::plain(url.clone())?)),
            None => Ok(Aggregator::Pods(client.clone())),
        }
    }

    /// Asks once. The error says why it is not confirmed.
    async fn ask(&self) -> Result<PauseState, String> {
        let client = match self {
            Aggregator::Url(client) => {
                return ask(client, "/metrics").await.map(|()| PauseState::Paused);
            }
            Aggregator::Pods(client) => client,
        };
        let namespace = keys::SYSTEM_NAMESPACE;
        let api: Api<Object<Nothing<Pod>>> = Api::namespaced(client.clone(), namespace);
        let selector = format!("app.kubernetes.io/name={}", keys::AGGREGATOR);
        let params = ListParams::default().labels(&selector).fields("status.phase=Running");
        let pods = FIND_AGGREGATOR.run(api.list(&params)).await.map_err(|failure| failure.to_string())?;
        for pod in &pods {
            let pod = pod.names().name.clone().unwrap_or_default();
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9619/proxy/metrics");
            ask(client, &path).await.map_err(|why| format!("pod {}: {why}", connect::escaped(&pod)))?;
        }
        Ok(if pods.items.is_empty() { PauseState::NoAggregator } else { PauseState::Paused })
    }
}

/// Waits until the aggregator is confirmed to have paused, for at most [`TIMEOUT`].
pub(crate) async fn wait(aggregator: &Aggregator) -> PauseState {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match aggregator.ask().await {
            Ok(state) => return state,
            Err(why) if Instant::now() + POLL_INTERVAL > deadline => return PauseState::Unconfirmed(why),
            Err(_) => sleep(POLL_INTERVAL).await,
        }
    }
}

async fn ask(client: &Client, path: &str) -> Result<(), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let metrics = timeout(ANSWER_TIMEOUT, ASK_AGGREGATOR.run(client.request_text(request))).await;
    let metrics = metrics.map_err(|_| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?;
    check(&metrics.map_err(|failure| failure.to_string())?)
}

/// Whether an aggregator's metrics say that it is paused and no write is in flight.
fn check(metrics: &str) -> Result<(), String> {
    let value = |series: &str| {
        let mut lines = metrics.lines();
        lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse::<f64>().ok())
    };
    match (value(PAUSED), value(IN_FLIGHT)) {
        (Some(1.0), Some(0.0)) => Ok(()),
        (Some(1.0), Some(writes)) => Err(format!("{writes} writes are in flight")),
        (Some(_), Some(_)) => Err("it does not say that it is paused".to_owned()),
        _ => Err("its metrics are not those of an aggregator".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paused_and_without_a_write_in_flight_is_a_confirmation() {
        let metrics = |paused: &str, in_flight: &str| {
            format!(
                "# TYPE plimsoll_aggregator_withheld gauge\nplimsoll_aggregator_withheld{{reason=\"not_leading\"}} 1\n\
                 {PAUSED} {paused}\nplimsoll_aggregator_in_flight_writes_of_others 7\n{IN_FLIGHT} {in_flight}\n"
            )
        };
        assert_eq!(check(&metrics("1", "0")), Ok(()));
        assert!(check(&metrics("1", "2")).unwrap_err().contains("2 writes"));
        assert!(check(&metrics("0", "0")).unwrap_err().contains("not say that it is paused"));
        for other in ["", "<html>", "plimsoll_aggregator_withheld{reason=\"paused\"} 1"] {
            assert!(check(other).is_err(), "{other:?}");
        }
    }
}
