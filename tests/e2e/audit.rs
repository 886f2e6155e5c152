//! The aggregator's write requests for pods, and its token reviews, from the API server's audit log (`cluster up --audit`).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::Value;

/// The audit log.
#[derive(Debug)]
pub(crate) struct Audit(PathBuf);

/// One write request of the aggregator for a pod.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// When it was received.
    pub(crate) at: Timestamp,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Whether it is a resize, and not a change of the metadata.
    pub(crate) is_resize: bool,
    /// The status of the response.
    pub(crate) code: i64,
    /// The body of the request.
    pub(crate) body: Value,
}

impl Attempt {
    /// The requested value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.body["metadata"]["labels"][key].as_str()
    }
}

impl Audit {
    pub(crate) fn at(path: PathBuf) -> anyhow::Result<Audit> {
        ensure!(path.is_file(), "{} does not exist; start the cluster with --audit", path.display());
        Ok(Audit(path))
    }

    /// The aggregator's write requests since `since`, in order. The log is at most a few seconds behind.
    pub(crate) fn attempts(&self, since: Timestamp) -> anyhow::Result<Vec<Attempt>> {
        let attempts: anyhow::Result<Vec<_>> = self.entries("pods")?.iter().map(parse).collect();
        Ok(attempts?.into_iter().filter(|attempt| attempt.at >= since).collect())
    }

    /// How many tokens the aggregator had reviewed.
    pub(crate) fn token_reviews(&self) -> anyhow::Result<usize> {
        Ok(self.entries("tokenreviews")?.len())
    }

    /// The aggregator's write requests for a resource type.
    fn entries(&self, resource: &str) -> anyhow::Result<Vec<Value>> {
        let account = format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR);
        let text =
            fs::read_to_string(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        let quoted = format!(r#""resource":"{resource}""#);
        let ours = text.lines().filter(|line| line.contains(&account) && line.contains(&quoted));
        // The last line may be incomplete.
        let entries = ours.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_ours = |entry: &Value| {
            entry["user"]["username"] == account.as_str() && entry["objectRef"]["resource"] == resource
        };
        Ok(entries.filter(is_ours).collect())
    }
}

fn parse(entry: &Value) -> anyhow::Result<Attempt> {
    let text = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
    let at = entry["requestReceivedTimestamp"].as_str().unwrap_or_default();
    Ok(Attempt {
        at: at.parse().context("an audit entry without a time")?,
        namespace: text("namespace"),
        name: text("name"),
        is_resize: text("subresource") == "resize",
        code: entry["responseStatus"]["code"].as_i64().unwrap_or_default(),
        body: entry["requestObject"].clone(),
    })
}
