//! One shutdown signal for all tasks of a process.
//!
//! `main` creates a [`Shutdown`] and clones it to every task that must stop. The first SIGINT or SIGTERM triggers it,
//! and the process drains. A second signal ends the process at once, with the exit code that a shell reports for a
//! process killed by that signal.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The shutdown signal. Cheap to clone; once triggered it stays triggered.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that only [`trigger`](Self::trigger) starts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM start as well. A second signal ends the process with exit code 130 (SIGINT)
    /// or 143 (SIGTERM): 128 plus the number of the signal.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a signal handler cannot be registered.
    pub fn on_signals() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut next_signal = async move || {
            tokio::select! {
                _ = interrupt.recv() => ("SIGINT", 130),
                _ = terminate.recv() => ("SIGTERM", 143),
            }
        };
        let shutdown = Self::new();
        let first = shutdown.clone();
        // The only task without an owner: it must outlive the drain to receive the second signal.
        tokio::spawn(async move {
            let (signal, _) = next_signal().await;
            tracing::info!(signal, "shutting down; a second signal ends the process at once");
            first.trigger();
            let (signal, exit_code) = next_signal().await;
            tracing::warn!(signal, "second signal, exiting without waiting for the drain");
            std::process::exit(exit_code);
        });
        Ok(shutdown)
    }

    /// Starts the shutdown. Further calls have no effect.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the shutdown has started.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown starts; returns at once if it has. Cancel safe.
    pub fn triggered(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.cancelled()
    }
}

#[cfg(test)]
mod tests;
