//! Ownership of long-lived tasks.
//!
//! A task that nobody waits for can fail unnoticed, and the process continues without doing its work. Therefore every
//! long-lived task has a name and belongs to a [`Tasks`], and `main` waits in [`Tasks::join`]. Before the shutdown *any*
//! end of a task is an error, including `Ok(())`: these tasks are meant to run as long as the process. The error names
//! the task, and the other tasks are drained.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use crate::shutdown::Shutdown;

/// How long aborted tasks get to drop what they own. A task that blocks its thread cannot be aborted at all.
const ABORT_TIMEOUT: Duration = Duration::from_millis(200);

/// The tasks of a process.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    set: JoinSet<anyhow::Result<()>>,
    /// Names of the running tasks.
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet. `shutdown` is what the tasks watch, and what a task that ends early triggers.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, set: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task in a span of its name. It should return `Ok` soon after the shutdown is triggered, and not before.
    /// Must be called inside a tokio runtime.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let handle = self.set.spawn(future.instrument(info_span!("task", task = name)));
        self.names.insert(handle.id(), name);
    }

    /// Waits for the shutdown and then for the tasks, up to `grace`; tasks still running then are aborted. Without tasks
    /// it returns at once.
    ///
    /// # Errors
    ///
    /// A task ended before the shutdown (whatever it returned), panicked or failed while draining, or did not end within
    /// `grace`. The error names the task; several errors are joined into one.
    pub async fn join(mut self, grace: Duration) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.triggered() => {}
            ended = self.join_next() => problems.extend(ended.map(|(name, result)| match result {
                Ok(()) => anyhow!("task {name} ended before the shutdown"),
                Err(error) => error.context(format!("task {name} failed")),
            })),
        }
        shutdown.trigger();
        let drain = async {
            while let Some((name, result)) = self.join_next().await {
                match result.with_context(|| format!("task {name} failed while stopping")) {
                    Ok(()) => tracing::debug!(task = name, "task stopped"),
                    Err(error) => problems.push(error),
                }
            }
        };
        if timeout(grace, drain).await.is_err() {
            let mut names: Vec<_> = self.names.values().copied().collect();
            names.sort_unstable();
            problems.push(anyhow!("aborted what did not stop within {grace:?}: {}", names.join(", ")));
            // Bounded, because a task that never yields is never aborted.
            let _all_dropped = timeout(ABORT_TIMEOUT, self.set.shutdown()).await;
        }
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => {
                let texts: Vec<_> = problems.iter().map(|problem| format!("{problem:#}")).collect();
                Err(anyhow!("{}", texts.join("; ")))
            }
        }
    }

    /// The next task to end, or `None` if there are no tasks.
    async fn join_next(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let id = error.id();
                let problem = match error.try_into_panic() {
                    Ok(payload) => anyhow!("panicked: {}", panic_message(payload.as_ref())),
                    Err(cancelled) => anyhow::Error::new(cancelled),
                };
                (id, Err(problem))
            }
        };
        Some((self.names.remove(&id).unwrap_or("unnamed"), result))
    }
}

/// The text of a panic, if its payload is text.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests;
