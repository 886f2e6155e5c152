//! The keys with which the API server signs tokens, and the names under which it issues them. Pure, except for the lock.
//!
//! What a failed read does not show is still known: an outage of the API server, of any length, makes no agent silent whose token was
//! signed with a known key. Only a token of an unknown key needs somebody: first another read, and while reads fail, a TokenReview.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::claims::Token;
use super::signature::{Jwk, Key};
use crate::rejection::Rejection;

/// How long a key is used after a read last listed it. The API servers of a cluster are restarted with other keys one after another, and
/// which of them answers a read is chance.
const UNLISTED: Duration = Duration::from_secs(15 * 60);
/// Keys of one read that are looked at. Real clusters have one to three.
const MAX_KEYS: usize = 32;
/// Issuers that are remembered: for the same reason as unlisted keys.
const MAX_ISSUERS: usize = 2;

/// What is known, shared by the agents' port and the task that reads keys. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct SigningKeys(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Arc<Known>>,
    wanted: Notify,
}

#[derive(Debug, Clone, Default)]
struct Known {
    last_read: LastRead,
    /// By id. A key that cannot be used is listed too, with the reason: its tokens are reviewed.
    keys: BTreeMap<String, Listed>,
    /// The newest last.
    issuers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LastRead {
    #[default]
    Never,
    Failed,
    Succeeded,
}

#[derive(Debug, Clone)]
struct Listed {
    key: Result<Key, String>,
    at: Instant,
}

/// What the keys say about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The API server signed it.
    Verified,
    /// They cannot say: the API server is to be asked.
    Review,
}

impl SigningKeys {
    /// Whether the API server signed the token. Asks for a read if the token's key or issuer is not known.
    ///
    /// # Errors
    /// If it did not, or if that is known only after the next read.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<Verdict, Rejection> {
        // A signature is verified outside of the lock.
        let known = Arc::clone(&self.lock());
        match known.keys.get(&token.key).map(|listed| &listed.key) {
            None => {
                self.0.wanted.notify_one();
                match known.last_read {
                    LastRead::Never => Err(Rejection::NoSigningKeys),
                    LastRead::Failed => Ok(Verdict::Review),
                    LastRead::Succeeded => Err(Rejection::UnknownSigningKey),
                }
            }
            Some(Err(_)) => Ok(Verdict::Review),
            Some(Ok(key)) => {
                key.verify(token)?;
                // Clusters that were copied may sign with the same key under different names, and a cluster that was given another name
                // accepts tokens of the old one. Nobody gets here without a signature, so the API server can be asked.
                if known.issuers.contains(&token.issuer) {
                    return Ok(Verdict::Verified);
                }
                self.0.wanted.notify_one();
                Ok(Verdict::Review)
            }
        }
    }

    /// A read succeeded, perhaps without the issuer. Returns a text about the keys if they are other ones than before.
    pub(crate) fn learn(&self, jwks: &[Jwk], issuer: Option<String>, now: Instant) -> Option<String> {
        let mut known = self.lock();
        let mut next = Known::clone(&known);
        next.last_read = LastRead::Succeeded;
        for jwk in jwks.iter().take(MAX_KEYS) {
            next.keys.insert(jwk.kid.clone(), Listed { key: Key::new(jwk), at: now });
        }
        next.keys.retain(|_, listed| now.duration_since(listed.at) <= UNLISTED);
        if let Some(issuer) = issuer {
            next.issuers.retain(|known| *known != issuer);
            next.issuers.push(issuer);
            let oldest = next.issuers.len().saturating_sub(MAX_ISSUERS);
            next.issuers.drain(..oldest);
        }
        let is_other = next.text() != known.text();
        *known = Arc::new(next);
        is_other.then(|| known.text())
    }

    /// A read failed: what is known stays.
    pub(crate) fn read_failed(&self) {
        let mut known = self.lock();
        let last_read = LastRead::Failed;
        *known = Arc::new(Known { last_read, ..Known::clone(&known) });
    }

    /// Whether the issuer was ever read.
    pub(crate) fn has_issuer(&self) -> bool {
        !self.lock().issuers.is_empty()
    }

    /// Waits until a token needs a read.
    pub(crate) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Ids of the keys, and why some are not used.
    fn text(&self) -> String {
        let one = |(id, listed): (&String, &Listed)| match &listed.key {
            Ok(_) => id.clone(),
            Err(why) => format!("{id} (not used: {why}; its tokens are reviewed)"),
        };
        self.keys.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
