//! The requests that the server received, in the order in which they were decided: what tests assert on.
//!
//! Keeps the newest [`Journal::CAPACITY`] entries; indices count from the start of the server and never change. Watches are
//! recorded when they start, everything else when its answer is decided.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use super::route::Verb;

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number since the start of the server.
    pub index: usize,
    /// When it arrived.
    pub at: Instant,
    /// The user of its token; empty for a request without a valid one.
    pub user: String,
    /// The verb.
    pub verb: Verb,
    /// The path, without the query.
    pub path: String,
    /// Plural of the resource type; empty for paths that are not of a resource.
    pub resource: String,
    /// `status`, `resize`, `token`.
    pub subresource: Option<String>,
    /// Namespace in the path.
    pub namespace: Option<String>,
    /// Name of the object: in the path, or of the created object.
    pub name: Option<String>,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Field manager of a write.
    pub manager: Option<String>,
    /// Whether it has `dryRun=All`.
    pub dry_run: bool,
    /// The body; null if there is none.
    pub body: Arc<Value>,
    /// The status code of the answer; `None` when a fault prevented a decision.
    pub code: Option<u16>,
    /// Whether the answer was sent to the client.
    pub answered: bool,
}

impl Entry {
    /// Whether the request is a write: not a read, a review, or a request for a token.
    pub fn is_write(&self) -> bool {
        let reviews = ["tokenreviews", "selfsubjectaccessreviews", "selfsubjectreviews"];
        let review = reviews.contains(&self.resource.as_str());
        self.verb.writes() && !review && self.subresource.as_deref() != Some("token")
    }

    /// Whether the status code is a 2xx.
    pub fn succeeded(&self) -> bool {
        self.code.is_some_and(|code| (200..300).contains(&code))
    }
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    dropped: usize,
}

/// The requests of one server. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    log: Arc<Mutex<Log>>,
}

impl Journal {
    /// Maximum number of entries.
    pub const CAPACITY: usize = 50_000;

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, mut entry: Entry) {
        let mut log = self.lock();
        entry.index = log.dropped + log.entries.len();
        log.entries.push_back(entry);
        if log.entries.len() > Self::CAPACITY {
            log.entries.pop_front();
            log.dropped += 1;
        }
    }

    /// Number of requests, including those that are no longer kept.
    #[allow(clippy::len_without_is_empty, reason = "a position in the log for `since`, not a collection")]
    pub fn len(&self) -> usize {
        let log = self.lock();
        log.dropped + log.entries.len()
    }

    /// All entries.
    pub fn entries(&self) -> Vec<Entry> {
        self.since(0)
    }

    /// The entries from an index on: those that followed an earlier `journal.len()`.
    pub fn since(&self, index: usize) -> Vec<Entry> {
        let log = self.lock();
        log.entries.iter().skip(index.saturating_sub(log.dropped)).cloned().collect()
    }

    /// The writes, including dry runs and rejected ones.
    pub fn writes(&self) -> Vec<Entry> {
        self.find(Entry::is_write)
    }

    /// The writes of one user, for instance `system:serviceaccount:plimsoll-system:plimsoll-aggregator`.
    pub fn writes_by(&self, user: &str) -> Vec<Entry> {
        self.find(|entry| entry.is_write() && entry.user == user)
    }

    /// The entries that match a predicate.
    pub fn find(&self, matches: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| matches(entry)).cloned().collect()
    }
}
