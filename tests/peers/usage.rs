//! Polls metrics-server once a second during the steps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use plimsoll_contract::quantity::Quantity;
use serde_json::Value;
use tokio::time::sleep;

use crate::steps::STEPS;

/// The CPU usage of one pod.
#[derive(Debug, Clone)]
struct UsageSample {
    at: Timestamp,
    pod: String,
    cores: f64,
}

/// All samples.
#[derive(Debug, Default)]
pub(crate) struct UsageSamples(Mutex<Vec<UsageSample>>);

impl UsageSamples {
    /// Polls until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<UsageSamples> {
        let samples = Arc::new(UsageSamples::default());
        let writer = Arc::clone(&samples);
        tokio::spawn(async move {
            loop {
                // A failed request means no sample.
                if let Ok(polled) = poll(&client).await {
                    writer.0.lock().unwrap_or_else(PoisonError::into_inner).extend(polled);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
        samples
    }

    /// When a sample first shows a pod at or above this usage, after `since`.
    pub(crate) fn first_above(&self, pod: &str, cores: f64, since: Timestamp) -> Option<Timestamp> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |sample: &&UsageSample| sample.pod == pod && sample.at > since && sample.cores >= cores;
        samples.iter().find(fits).map(|sample| sample.at)
    }
}

async fn poll(client: &Client) -> anyhow::Result<Vec<UsageSample>> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{STEPS}/pods");
    let list: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    let at = Timestamp::now();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let sample = |pod: &Value| {
        let cpu: Quantity = pod["containers"][0]["usage"]["cpu"].as_str()?.parse().ok()?;
        Some(UsageSample { at, pod: pod["metadata"]["name"].as_str()?.into(), cores: cpu.as_f64() })
    };
    Ok(pods.iter().filter_map(sample).collect())
}
