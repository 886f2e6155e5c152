//! Requests for many pods: several at once, with patience for a busy API server and none for one that went down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kube::core::Status;
use kube::{Error, Result as Answer};
use tokio::time::sleep;

use crate::connect::{Failure, Operation};

/// Concurrent requests: as many as the aggregator sends. Every write reaches all watchers of pods.
pub(crate) const CONCURRENCY: usize = 4;
/// Retries for one pod while the server answers 429.
const MAX_RETRIES: usize = 5;
/// Delay before a retry, unless the server asks for more; and the longest one.
const RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);
/// After this many unanswered requests in a row the API server is considered down, and nothing more is sent.
const MAX_UNANSWERED: usize = 4 * CONCURRENCY;

/// The requests of one run.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    unanswered: AtomicUsize,
}

impl Requests {
    /// Sends a request, and again while the server answers 429. What the server refuses is the inner error; the outer one is that there
    /// is no answer, or that nothing was sent because too many requests had none.
    pub(crate) async fn send<T, F>(
        &self,
        operation: Operation,
        request: impl Fn() -> F,
    ) -> Result<Result<T, Box<Status>>, Failure>
    where
        F: Future<Output = Answer<T>>,
    {
        if self.unanswered.load(Ordering::Relaxed) >= MAX_UNANSWERED {
            let problem = "not tried: the API server stopped answering";
            return Err(Failure::other(operation.action, problem));
        }
        let result = send_patiently(operation, request).await;
        match &result {
            Err(failure) if failure.is_unanswered() => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.unanswered.store(0, Ordering::Relaxed),
        }
        result
    }
}

async fn send_patiently<T, F>(
    operation: Operation,
    request: impl Fn() -> F,
) -> Result<Result<T, Box<Status>>, Failure>
where
    F: Future<Output = Answer<T>>,
{
    let mut retries = 0;
    loop {
        match operation.run(async { Ok(request().await) }).await? {
            Ok(answer) => return Ok(Ok(answer)),
            Err(Error::Api(status)) if status.code == 429 && retries < MAX_RETRIES => {
                retries += 1;
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                sleep(Duration::from_secs(seconds.into()).clamp(RETRY_DELAY, MAX_RETRY_DELAY)).await;
            }
            Err(Error::Api(status)) => return Ok(Err(status)),
            Err(error) => return Err(operation.failure(&error)),
        }
    }
}

/// The results of all futures, in their order; [`CONCURRENCY`] run at a time.
pub(crate) async fn all<F: Future>(mut waiting: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut results = Vec::new();
    let mut running = FuturesOrdered::new();
    loop {
        let free = CONCURRENCY - running.len();
        running.extend(waiting.by_ref().take(free));
        match running.next().await {
            Some(result) => results.push(result),
            None => return results,
        }
    }
}
