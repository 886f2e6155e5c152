//! A request for a resource once it is read and understood, and what every request has at hand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::faults::Faults;
use super::journal::Journal;
use super::route::{Query, Target, Verb};
use super::store::Store;
use super::tokens::Tokens;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) tokens: Tokens,
    pub(super) journal: Journal,
    pub(super) faults: Faults,
    pub(super) bookmark_every: Duration,
    pub(super) watch_timeout: Duration,
}

/// A request for a resource, read and understood.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) query: Query,
    pub(super) accept: String,
    pub(super) content_type: String,
    pub(super) manager: String,
    pub(super) user: String,
    pub(super) body: Arc<Value>,
}

impl Call {
    /// Whether it only asks what would happen.
    pub(super) fn is_dry_run(&self) -> bool {
        self.query.get("dryRun") == Some("All") || self.body["dryRun"][0] == "All"
    }
}
