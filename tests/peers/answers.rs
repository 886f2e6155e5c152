//! What metrics-server answers, asked once a second as long as there are steps to see.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use plimsoll_contract::quantity::Quantity;
use serde_json::Value;
use tokio::time::sleep;

use crate::steps::STEPS;

/// The use of one pod, as it was answered.
#[derive(Debug, Clone)]
struct Answer {
    at: Timestamp,
    pod: String,
    cores: f64,
}

/// All answers.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Vec<Answer>>);

impl Answers {
    /// Asks until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<Answers> {
        let answers = Arc::new(Answers::default());
        let writer = Arc::clone(&answers);
        tokio::spawn(async move {
            loop {
                // One that fails is as good as none.
                if let Ok(list) = ask(&client).await {
                    writer.0.lock().unwrap_or_else(PoisonError::into_inner).extend(list);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
        answers
    }

    /// The first answer after a moment that shows a pod at or above so many cores.
    pub(crate) fn first_above(&self, pod: &str, cores: f64, since: Timestamp) -> Option<Timestamp> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |answer: &&Answer| answer.pod == pod && answer.at > since && answer.cores >= cores;
        answers.iter().find(fits).map(|answer| answer.at)
    }
}

async fn ask(client: &Client) -> anyhow::Result<Vec<Answer>> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{STEPS}/pods");
    let list: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    let at = Timestamp::now();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let answer = |pod: &Value| {
        let cpu: Quantity = pod["containers"][0]["usage"]["cpu"].as_str()?.parse().ok()?;
        Some(Answer { at, pod: pod["metadata"]["name"].as_str()?.into(), cores: cpu.as_f64() })
    };
    Ok(pods.iter().filter_map(answer).collect())
}
