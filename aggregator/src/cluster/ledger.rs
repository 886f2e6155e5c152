//! Writes the status of SLA classes: how many pods they have, what became of them, and whether the class is valid.
//!
//! A class is written to at most once in 30 s, only if its status changed, and only while this replica leads. Counts go on from those that the
//! class carries, so that they survive a change of the leader; what happened in the last 30 s before one may be missing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_objects::Object;
use plimsoll_process::shutdown::Shutdown;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::classes::ClassObject;
use super::classes::schema::{ClassCondition, SlaClassStatus};
use super::client::{self, CallError};
use crate::engine::Engine;
use crate::ledger::{ClassCounts, ClassRow};

/// The shortest time between two writes to a class.
const EVERY: Duration = Duration::from_secs(30);
/// Classes that are written to: nobody needs as many, and each costs a write.
const MAX_CLASSES: usize = 100;

/// Writes until the shutdown.
///
/// # Errors
/// Never.
pub(crate) async fn run(
    client: Client,
    engine: Engine,
    mut epoch: watch::Receiver<Option<u64>>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut ledger = Ledger { api: Api::all(client), written: BTreeMap::new(), problem: None };
    loop {
        tokio::select! {
            biased;
            () = shutdown.triggered() => return Ok(()),
            leading = epoch.wait_for(Option::is_some) => if leading.is_err() { break },
        }
        let rows = engine.ledger().await;
        ledger.written.retain(|name, _| rows.iter().any(|row| row.name == *name));
        for row in rows.iter().take(MAX_CLASSES) {
            // The epoch may have ended meanwhile.
            if epoch.borrow().is_none() {
                break;
            }
            let outcome = ledger.write(row, Timestamp::now()).await;
            ledger.note(outcome);
        }
        let _stopped = timeout(EVERY, shutdown.triggered()).await;
    }
    // Without the Lease's task the process is stopping.
    shutdown.triggered().await;
    Ok(())
}

/// What was written.
struct Ledger {
    api: Api<Object<ClassObject>>,
    written: BTreeMap<String, Written>,
    /// Why the last write failed, if it did.
    problem: Option<String>,
}

/// The status of one class, as it was read or written last.
struct Written {
    uid: Option<String>,
    /// What the class counted before this process did.
    before: ClassCounts,
    status: SlaClassStatus,
}

impl Ledger {
    /// Writes the status of a class, if it changed.
    async fn write(&mut self, row: &ClassRow, now: Timestamp) -> Result<(), CallError> {
        let known = self.written.remove(&row.name).filter(|written| written.uid == row.class.uid);
        let mut written = match known {
            Some(written) => written,
            None => {
                let object = client::read(self.api.get(&row.name)).await?;
                let uid = object.names().uid.clone();
                let status = object.content.ok().and_then(|content| content.status.0).unwrap_or_default();
                Written { uid, before: before(&status, row.counts), status }
            }
        };
        let status = status(row, &written, now);
        if status != written.status {
            let patch = Patch::Merge(json!({"metadata": {"uid": written.uid}, "status": status}));
            let params =
                PatchParams { field_manager: Some(keys::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patched = client::write(self.api.patch_status(&row.name, &params, &patch)).await;
            if patched.is_ok() {
                written.status = status;
            }
            self.written.insert(row.name.clone(), written);
            return patched.map(drop);
        }
        self.written.insert(row.name.clone(), written);
        Ok(())
    }

    /// Logs when writes begin to fail, and when they succeed again. A class that was deleted meanwhile is no failure.
    fn note(&mut self, outcome: Result<(), CallError>) {
        let problem = outcome.err().filter(|error| !error.is_missing()).map(|error| error.to_string());
        match (&self.problem, &problem) {
            (None, Some(problem)) => {
                tracing::warn!(
                    problem,
                    "the status of an SLAClass cannot be written; it is tried again every 30 s"
                );
            }
            (Some(_), None) => tracing::info!("the status of SLA classes can be written again"),
            _ => {}
        }
        self.problem = problem;
    }
}

/// What a class counted before this process counted `now`.
fn before(status: &SlaClassStatus, now: ClassCounts) -> ClassCounts {
    // What somebody wrote there by hand must not overflow.
    let before = |written: i64, now: i64| written.clamp(0, i64::MAX / 2) - now;
    ClassCounts {
        grown: before(status.grown, now.grown),
        shrunk: before(status.shrunk, now.shrunk),
        undone: before(status.undone, now.undone),
        oom: before(status.oom, now.oom),
        ..ClassCounts::default()
    }
}

/// The status that a class is to have.
fn status(row: &ClassRow, written: &Written, now: Timestamp) -> SlaClassStatus {
    let (counts, before) = (row.counts, written.before);
    SlaClassStatus {
        pods: counts.pods,
        grown: before.grown + counts.grown,
        shrunk: before.shrunk + counts.shrunk,
        undone: before.undone + counts.undone,
        oom: before.oom + counts.oom,
        freed: counts.freed(),
        observed_generation: row.class.generation,
        conditions: vec![valid(row, &written.status, now)],
    }
}

fn valid(row: &ClassRow, written: &SlaClassStatus, now: Timestamp) -> ClassCondition {
    let (status, reason, message) = match (&row.class.problem, &row.class.policy) {
        (None, _) => ("True", "Applies", "The class applies as it is.".to_owned()),
        (Some(problem), Some(_)) => (
            "False",
            "Held",
            format!("{problem}. What the class said before stays in force until that field is corrected."),
        ),
        (Some(problem), None) => (
            "False",
            "Invalid",
            format!("{problem}. No pod is sized by this class until that field is corrected."),
        ),
    };
    let since = written.conditions.iter().find(|known| known.r#type == "Valid" && known.status == status);
    let since = since.map(|known| known.last_transition_time.clone()).filter(|at| !at.is_empty());
    ClassCondition {
        r#type: "Valid".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since.unwrap_or_else(|| format!("{now:.0}")),
    }
}

#[cfg(test)]
mod tests;
