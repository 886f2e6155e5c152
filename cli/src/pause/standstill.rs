//! Seeing that the aggregator has paused: it says so itself, and that no write is under way.
//!
//! Every pod of the aggregator that runs is asked for its metrics, through the API server's proxy: one that is not ready is
//! in no Service and may write all the same, and one that is being deleted writes until it is gone. Where none runs there
//! is nothing to wait for. Where one cannot be asked, [`PATIENCE`] is waited: it follows the switch within a second as
//! long as its watch works.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PartialObjectMeta};
use plimsoll_contract::keys;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{self, Failure, Question};

/// How long is waited at most.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

const PAUSED: &str = "plimsoll_aggregator_withheld{reason=\"paused\"}";
const IN_FLIGHT: &str = "plimsoll_aggregator_in_flight_writes";

const FINDING: Question = Question {
    asked: "looking for the aggregator",
    whom: "API server",
    right: "list pods in namespace plimsoll-system",
    of_aggregator: false,
};
const ASKING: Question = Question {
    asked: "asking the aggregator whether it has paused",
    whom: "aggregator",
    right: "get pods/proxy in namespace plimsoll-system",
    of_aggregator: false,
};

/// Where the aggregator is asked.
pub enum Place {
    /// Every pod of it, through the API server of this client.
    Pods(Client),
    /// One plain port.
    Url(Client),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standstill {
    /// Every aggregator that runs says that it is paused, and no write is under way.
    Seen,
    /// None runs.
    NoAggregator,
    /// Not seen in time, for this reason. It may have paused all the same.
    Unseen(String),
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standstill::Seen => f.write_str("the aggregator says so, and no write is under way"),
            Standstill::NoAggregator => f.write_str("no aggregator runs"),
            Standstill::Unseen(why) => {
                write!(f, "within {} s the aggregator was not seen to follow: {why}", PATIENCE.as_secs())
            }
        }
    }
}

impl Place {
    /// The URL that was typed, or else the aggregator's pods in the cluster of `client`.
    ///
    /// # Errors
    /// When a client for the URL cannot be built.
    pub fn new(client: &Client, url: Option<&http::Uri>) -> Result<Place, Failure> {
        match url {
            Some(url) => Ok(Place::Url(connect::plain(url.clone())?)),
            None => Ok(Place::Pods(client.clone())),
        }
    }

    /// One look; what is in doubt is said in words.
    async fn look(&self) -> Result<Standstill, String> {
        match self {
            Place::Url(client) => ask(client, "/metrics").await.map(|()| Standstill::Seen),
            Place::Pods(client) => {
                let pods = running(client).await.map_err(|failure| failure.to_string())?;
                for pod in &pods {
                    let path = format!(
                        "/api/v1/namespaces/{}/pods/{pod}:9619/proxy/metrics",
                        keys::SYSTEM_NAMESPACE
                    );
                    ask(client, &path)
                        .await
                        .map_err(|doubt| format!("pod {}: {doubt}", connect::escaped(pod)))?;
                }
                Ok(if pods.is_empty() { Standstill::NoAggregator } else { Standstill::Seen })
            }
        }
    }
}

/// Waits until the aggregator stands still, at most [`PATIENCE`].
pub async fn wait(place: &Place) -> Standstill {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let doubt = match place.look().await {
            Ok(seen) => return seen,
            Err(doubt) => doubt,
        };
        if Instant::now() + LOOK > deadline {
            return Standstill::Unseen(doubt);
        }
        sleep(LOOK).await;
    }
}

/// The names of the aggregator's pods that may write.
async fn running(client: &Client) -> Result<Vec<String>, Failure> {
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), keys::SYSTEM_NAMESPACE);
    let selector = format!("app.kubernetes.io/name={}", keys::AGGREGATOR);
    let which = ListParams::default().labels(&selector).fields("status.phase=Running");
    let pods = FINDING.answer(api.list(&which)).await?;
    Ok(pods.items.iter().map(ResourceExt::name_any).collect())
}

async fn ask(client: &Client, path: &str) -> Result<(), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let text = timeout(ANSWER, ASKING.answer(client.request_text(request))).await;
    let text = text.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))?;
    stands_still(&text.map_err(|failure| failure.to_string())?)
}

/// Whether metrics say that nothing is written.
fn stands_still(metrics: &str) -> Result<(), String> {
    let value = |series: &str| {
        let mut lines = metrics.lines();
        lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse::<f64>().ok())
    };
    match (value(PAUSED), value(IN_FLIGHT)) {
        (Some(1.0), Some(0.0)) => Ok(()),
        (Some(1.0), Some(writes)) => Err(format!("{writes} writes are under way")),
        (Some(_), Some(_)) => Err("it does not say that it is paused".to_owned()),
        _ => Err("it does not answer as an aggregator does".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paused_and_without_a_write_under_way_is_a_standstill() {
        let metrics = |paused: &str, in_flight: &str| {
            format!(
                "# TYPE plimsoll_aggregator_withheld gauge\nplimsoll_aggregator_withheld{{reason=\"not_leading\"}} 1\n\
                 {PAUSED} {paused}\nplimsoll_aggregator_in_flight_writes_of_others 7\n{IN_FLIGHT} {in_flight}\n"
            )
        };
        assert_eq!(stands_still(&metrics("1", "0")), Ok(()));
        assert!(stands_still(&metrics("1", "2")).unwrap_err().contains("2 writes"));
        assert!(stands_still(&metrics("0", "0")).unwrap_err().contains("not say that it is paused"));
        for nonsense in ["", "<html>", "plimsoll_aggregator_withheld{reason=\"paused\"} 1"] {
            assert!(stands_still(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
