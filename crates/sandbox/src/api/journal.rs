//! Every request the server got, in order of arrival at a decision: what tests assert on.
//!
//! Holds the newest entries only (see [`Journal::KEPT`]); indices count from the start of the server and never move. Watches
//! are entered when they start, everything else when its answer is decided.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::watch;

use super::route::Verb;

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number since the start of the server.
    pub index: usize,
    /// When it arrived.
    pub at: Instant,
    /// The user its token belongs to; empty for a request without a known one.
    pub user: String,
    /// What it does.
    pub verb: Verb,
    /// The path, without the query.
    pub path: String,
    /// API group, empty for core and for paths that are no resource.
    pub group: String,
    /// Plural of the resource type; empty for paths that are no resource.
    pub resource: String,
    /// `status`, `resize`, `token`.
    pub subresource: Option<String>,
    /// Namespace in the path.
    pub namespace: Option<String>,
    /// The object's name: in the path, or of what was created.
    pub name: Option<String>,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Field manager, for writes.
    pub manager: Option<String>,
    /// Whether it asked for `dryRun=All`.
    pub dry_run: bool,
    /// The body; null when there was none.
    pub body: Arc<Value>,
    /// The status code the request came to; `None` when a fault kept it from being decided.
    pub code: Option<u16>,
    /// Whether the client was sent the answer.
    pub answered: bool,
}

impl Entry {
    /// Whether the request was to change something: no reads, no reviews and no tokens.
    pub fn is_write(&self) -> bool {
        let reviews = ["tokenreviews", "selfsubjectaccessreviews", "selfsubjectreviews"];
        let review = reviews.contains(&self.resource.as_str());
        self.verb.writes() && !review && self.subresource.as_deref() != Some("token")
    }

    /// Whether it was decided with a 2xx.
    pub fn succeeded(&self) -> bool {
        self.code.is_some_and(|code| (200..300).contains(&code))
    }
}

/// Nothing that was waited for came in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no such request among {seen} until the deadline; the last were: {last}")]
pub struct NoSuchRequest {
    /// How many requests there were.
    pub seen: usize,
    /// The last few, one per line.
    pub last: String,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    dropped: usize,
}

/// The requests of one server. A cheap handle.
#[derive(Debug, Clone)]
pub struct Journal {
    log: Arc<Mutex<Log>>,
    length: Arc<watch::Sender<usize>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { log: Arc::default(), length: Arc::new(watch::Sender::new(0)) }
    }
}

impl Journal {
    /// How many entries are kept.
    pub const KEPT: usize = 50_000;

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, mut entry: Entry) {
        let mut log = self.lock();
        entry.index = log.dropped + log.entries.len();
        let length = entry.index + 1;
        log.entries.push_back(entry);
        if log.entries.len() > Self::KEPT {
            log.entries.pop_front();
            log.dropped += 1;
        }
        drop(log);
        self.length.send_replace(length);
    }

    /// How many requests there were, those no longer kept included.
    pub fn len(&self) -> usize {
        let log = self.lock();
        log.dropped + log.entries.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that are kept.
    pub fn entries(&self) -> Vec<Entry> {
        self.since(0)
    }

    /// Those from an index on: `since(journal.len())` later gives what came in between.
    pub fn since(&self, index: usize) -> Vec<Entry> {
        let log = self.lock();
        log.entries.iter().skip(index.saturating_sub(log.dropped)).cloned().collect()
    }

    /// Those that were to change something, dry runs and refused ones included.
    pub fn writes(&self) -> Vec<Entry> {
        self.find(Entry::is_write)
    }

    /// The writes of one user, for instance `system:serviceaccount:plimsoll-system:plimsoll-aggregator`.
    pub fn writes_by(&self, user: &str) -> Vec<Entry> {
        self.find(|entry| entry.is_write() && entry.user == user)
    }

    /// The writes of one resource type, by its plural, subresources included.
    pub fn writes_of(&self, resource: &str) -> Vec<Entry> {
        self.find(|entry| entry.is_write() && entry.resource == resource)
    }

    /// Those that the predicate picks.
    pub fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| wanted(entry)).cloned().collect()
    }

    /// The first request, past or to come, that the predicate picks.
    ///
    /// # Errors
    /// When the deadline passes without one; says what came instead.
    pub async fn wait_for(
        &self,
        wanted: impl Fn(&Entry) -> bool,
        deadline: tokio::time::Instant,
    ) -> Result<Entry, NoSuchRequest> {
        let mut length = self.length.subscribe();
        let mut from = 0;
        let search = async {
            loop {
                length.mark_unchanged();
                let fresh = self.since(from);
                from = fresh.last().map_or(from, |entry| entry.index + 1);
                if let Some(found) = fresh.into_iter().find(|entry| wanted(entry)) {
                    return found;
                }
                if length.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout_at(deadline, search).await.map_err(|_| self.nothing_found())
    }

    fn nothing_found(&self) -> NoSuchRequest {
        let log = self.lock();
        let line =
            |entry: &Entry| format!("{} {} {:?} by {}", entry.verb, entry.path, entry.code, entry.user);
        let last: Vec<String> = log.entries.iter().rev().take(10).rev().map(line).collect();
        NoSuchRequest { seen: log.dropped + log.entries.len(), last: last.join("\n") }
    }
}
