//! Calls to the API server: every one has a deadline, and an error that says what to do. What failed is tried again after
//! a pause that grows.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

/// A read that takes longer has failed.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);
/// A write that takes longer may or may not have been done.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// Nothing at all comes on a connection for so long: it is dead. A watch ends after 200 s, with bookmarks in between.
const QUIET: Duration = Duration::from_secs(230);

/// The pauses between tries of something that fails: each twice as long as the one before, up to a limit.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Pauses {
    const SHORTEST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(15);

    /// Nothing has failed yet.
    pub fn new() -> Pauses {
        Pauses(Self::SHORTEST)
    }

    /// How long to wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        pause
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.0 = Self::SHORTEST;
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses::new()
    }
}

/// The two clients.
#[derive(Clone)]
pub struct Clients {
    /// For reads and watches; kube retries them.
    pub reads: Client,
    /// For writes and reviews; nothing is retried behind our back.
    pub writes: Client,
}

impl Clients {
    /// Two clients from one configuration.
    ///
    /// # Errors
    /// If the configuration's TLS material cannot be used.
    pub fn new(config: &kube::Config) -> kube::Result<Clients> {
        let mut reads = config.clone();
        reads.read_timeout = Some(reads.read_timeout.unwrap_or(QUIET));
        let mut writes = config.clone();
        writes.default_retry = false;
        Ok(Clients { reads: Client::try_from(reads)?, writes: Client::try_from(writes)? })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server, or the way to it, said no.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Nobody said anything.
    #[error("the API server did not answer within {0:?}")]
    Late(Duration),
}

impl CallError {
    /// The object, or its namespace, does not exist.
    pub fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// Somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// The server's status, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            CallError::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// With what was attempted in front, and what to do behind.
    pub fn into_anyhow(self, attempted: String, hint: Option<String>) -> anyhow::Error {
        let attempted = match (&self, hint) {
            (_, Some(hint)) => format!("{attempted} ({hint})"),
            (CallError::Kube(kube::Error::Api(status)), None) if status.code == 403 => {
                format!("{attempted} (our account may not: apply the manifests' RBAC)")
            }
            _ => attempted,
        };
        anyhow::Error::new(self).context(attempted)
    }
}

/// A read within its deadline.
///
/// # Errors
/// See [`CallError`].
pub async fn read<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(READ_DEADLINE, call).await
}

/// A write within its deadline.
///
/// # Errors
/// See [`CallError`].
pub async fn write<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(WRITE_DEADLINE, call).await
}

async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    timeout(limit, call).await.map_err(|_| CallError::Late(limit))?.map_err(CallError::Kube)
}

/// An error with what caused it, each said once: kube's own text ends where it gets interesting.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    anyhow::Chain::new(error).map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (false, true) => said,
            (false, false) => format!("{said}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_quarter_of_a_minute_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::new();
        let taken: Vec<_> = (0..8).map(|_| pauses.after_failure().as_millis()).collect();
        assert_eq!(taken, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        pauses.reset();
        assert_eq!(pauses.after_failure().as_millis(), 500);
    }

    #[test]
    fn an_error_says_what_caused_it_and_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot list: {0}")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("cannot connect")]
        struct Inner(#[source] std::io::Error);
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        assert_eq!(causes(&Outer(Inner(refused))), "cannot list: cannot connect: connection refused");
    }
}
