//! Who owns a task, and what happens when it ends.
//!
//! A task that nobody waits for can die unseen, and the process lives on without doing its work. So every long-lived
//! task has a name and belongs to a [`Tasks`]; `main` waits in [`Tasks::join`]. Before the shutdown *any* end is an
//! error, also a quiet `Ok(())`: these tasks are meant to run as long as the process. The error names the task, and
//! the others are drained.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use crate::shutdown::Shutdown;

/// How long aborted tasks get to drop what they hold. A task that blocks its thread cannot be aborted at all.
const ABORT_WAIT: Duration = Duration::from_millis(200);

/// The tasks of a process.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    set: JoinSet<anyhow::Result<()>>,
    /// The tasks that have not been seen to end.
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet. `shutdown` is what their early end triggers, and what they are expected to watch.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, set: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task in a span of its name. It should end, with `Ok`, soon after the shutdown is triggered, and not
    /// before. Must be called inside a tokio runtime.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let handle = self.set.spawn(future.instrument(info_span!("task", task = name)));
        self.names.insert(handle.id(), name);
    }

    /// Waits for the shutdown and then for the tasks, up to `grace`; those that are still running are aborted.
    /// With no tasks it returns at once.
    ///
    /// # Errors
    ///
    /// Each names its task: a task that ended before the shutdown (whatever it returned), one that panicked or failed
    /// while draining, and those that outlived `grace`. Several are joined into one error.
    pub async fn join(mut self, grace: Duration) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.triggered() => {}
            // `None`: there are no tasks, so there is nothing to wait for.
            ended = self.next() => problems.extend(ended.map(|(name, result)| ended_early(name, result))),
        }
        shutdown.trigger();
        let drained = timeout(grace, self.drain(&mut problems)).await;
        if drained.is_err() {
            problems.push(self.abort(grace).await);
        }
        one_error(problems)
    }

    /// The next task to end. `None` if there are none.
    async fn next(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(broken(error))),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Some((name, result))
    }

    async fn drain(&mut self, problems: &mut Vec<anyhow::Error>) {
        while let Some((name, result)) = self.next().await {
            match result.with_context(|| format!("task {name} failed while stopping")) {
                Ok(()) => tracing::debug!(task = name, "task stopped"),
                Err(error) => problems.push(error),
            }
        }
    }

    async fn abort(&mut self, grace: Duration) -> anyhow::Error {
        let mut names: Vec<_> = self.names.values().copied().collect();
        names.sort_unstable();
        // Bounded, because a task that never yields never notices.
        let _all_gone = timeout(ABORT_WAIT, self.set.shutdown()).await;
        anyhow!("aborted what did not stop within {grace:?}: {}", names.join(", "))
    }
}

fn ended_early(name: &'static str, result: anyhow::Result<()>) -> anyhow::Error {
    match result {
        Ok(()) => anyhow!("task {name} ended before the shutdown"),
        Err(error) => error.context(format!("task {name} failed")),
    }
}

fn broken(error: JoinError) -> anyhow::Error {
    match error.try_into_panic() {
        Ok(payload) => anyhow!("panicked: {}", panic_message(payload.as_ref())),
        Err(cancelled) => anyhow::Error::new(cancelled),
    }
}

/// What a panic said, if it said it in text.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

fn one_error(mut problems: Vec<anyhow::Error>) -> anyhow::Result<()> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => {
            let texts: Vec<_> = problems.iter().map(|problem| format!("{problem:#}")).collect();
            Err(anyhow!("{}", texts.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests;
