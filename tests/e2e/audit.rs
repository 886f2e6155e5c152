//! What the API server was asked to write on pods, and by whom: its audit log (`cluster up --audit`).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::Value;

/// The audit log.
#[derive(Debug)]
pub(crate) struct Audit(PathBuf);

/// One attempt of the aggregator to write on a pod.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// When it came.
    pub(crate) at: Timestamp,
    /// Namespace of the pod.
    pub(crate) namespace: String,
    /// Name of the pod.
    pub(crate) name: String,
    /// The answer's status.
    pub(crate) code: i64,
    /// What was asked for.
    pub(crate) body: Value,
}

impl Attempt {
    /// A label that was asked for.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.body["metadata"]["labels"][key].as_str()
    }
}

impl Audit {
    /// The log at a path.
    pub(crate) fn at(path: PathBuf) -> anyhow::Result<Audit> {
        ensure!(path.is_file(), "{} is not there; bring the cluster up with --audit", path.display());
        Ok(Audit(path))
    }

    /// All attempts of the aggregator not before `since`, in order. The log is some seconds behind at most.
    pub(crate) fn attempts(&self, since: Timestamp) -> anyhow::Result<Vec<Attempt>> {
        let account = format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR);
        let text =
            fs::read_to_string(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        let ours =
            text.lines().filter(|line| line.contains(&account) && line.contains(r#""resource":"pods""#));
        let mut attempts = Vec::new();
        for line in ours {
            // The last line may not be whole yet.
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            let attempt = understood(&entry, &account)?;
            attempts.extend(attempt.filter(|attempt| attempt.at >= since));
        }
        Ok(attempts)
    }
}

fn understood(entry: &Value, account: &str) -> anyhow::Result<Option<Attempt>> {
    if entry["user"]["username"] != account || entry["objectRef"]["resource"] != "pods" {
        return Ok(None);
    }
    let text = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
    let at = entry["requestReceivedTimestamp"].as_str().unwrap_or_default();
    Ok(Some(Attempt {
        at: at.parse().context("an audit entry without its time")?,
        namespace: text("namespace"),
        name: text("name"),
        code: entry["responseStatus"]["code"].as_i64().unwrap_or_default(),
        body: entry["requestObject"].clone(),
    }))
}
