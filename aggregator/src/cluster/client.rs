//! The clients of the API server. Every call has a deadline, and an error that says what to do.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use kube::Client;
use plimsoll_process::backoff::Backoff;
use tokio::time::timeout;

/// A read that takes longer has failed.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// A write that takes longer may or may not have been done.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(3);
/// A connection on which nothing arrives for this long is dead. A watch ends after 200 s, with bookmarks in between.
const READ_TIMEOUT: Duration = Duration::from_secs(230);

/// The waits between tries of something that fails.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_secs(15))
}

/// The clients, each with connections of its own.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For reads and watches; kube retries them.
    pub(crate) reads: Client,
    /// For writes and token reviews; nothing is retried.
    pub(crate) writes: Client,
    /// For the Lease, so that neither of the others delays it; nothing is retried.
    pub(crate) lease: Client,
}

impl Clients {
    /// Makes the clients from one configuration.
    ///
    /// # Errors
    /// If the configuration's TLS material cannot be used.
    pub(crate) fn new(config: &kube::Config) -> kube::Result<Clients> {
        let mut reads = config.clone();
        reads.read_timeout = Some(reads.read_timeout.unwrap_or(READ_TIMEOUT));
        let mut writes = config.clone();
        writes.default_retry = false;
        Ok(Clients {
            reads: plimsoll_objects::client(reads)?,
            lease: plimsoll_objects::client(writes.clone())?,
            writes: plimsoll_objects::client(writes)?,
        })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server rejected it, or could not be reached.
    #[error("{}", plimsoll_objects::describe(.0))]
    Kube(kube::Error),
    /// No response within the deadline.
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
}

impl CallError {
    /// The object, or its namespace, does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// Another client changed the object in between.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    fn status(&self) -> Option<u16> {
        match self {
            CallError::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// An error for people: what was attempted, and what to do.
    pub(crate) fn into_anyhow(self, attempted: String, hint: Option<String>) -> anyhow::Error {
        let attempted = match hint {
            Some(hint) => format!("{attempted} ({hint})"),
            None => attempted,
        };
        anyhow::Error::new(self).context(attempted)
    }
}

/// A read within its deadline.
///
/// # Errors
/// See [`CallError`].
pub(crate) async fn read<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(READ_DEADLINE, call).await
}

/// A write within its deadline.
///
/// # Errors
/// See [`CallError`].
pub(crate) async fn write<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(WRITE_DEADLINE, call).await
}

async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    timeout(limit, call).await.map_err(|_| CallError::Timeout(limit))?.map_err(CallError::Kube)
}
