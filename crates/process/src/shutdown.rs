//! How a stop begins, and how everyone hears of it.
//!
//! One [`Shutdown`] is made in `main` and cloned to whoever must stop. The first SIGINT or SIGTERM triggers it: the
//! process drains. A second signal means that somebody has lost patience: the process exits at once, as a shell would
//! report a death by that signal.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The order to stop. Cheap to clone; once given it is never taken back.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that only [`trigger`](Self::trigger) starts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM start as well. A second signal ends the process with exit code 130 (SIGINT)
    /// or 143 (SIGTERM).
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a signal handler cannot be registered.
    pub fn on_signals() -> io::Result<Self> {
        let mut signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let shutdown = Self::new();
        let first = shutdown.clone();
        // The one task that nobody owns: it must outlive the drain, to hear the second signal.
        tokio::spawn(async move {
            let name = signals.next().await.name();
            tracing::info!(signal = name, "stopping, a second signal ends the process at once");
            first.trigger();
            let impatient = signals.next().await;
            tracing::warn!(signal = impatient.name(), "second signal, not waiting for the drain");
            std::process::exit(impatient.exit_code());
        });
        Ok(shutdown)
    }

    /// Starts the stop. Again changes nothing.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the stop has started.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the stop starts; returns at once if it has. Safe to drop and to call again.
    pub fn triggered(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.cancelled()
    }

    /// A shutdown that follows this one, and can be triggered alone without triggering this one.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

/// The signals that ask a process to stop.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Interrupt,
    Terminate,
}

impl Stop {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 plus the number of the signal.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

#[cfg(test)]
mod tests;
