//! What the API server said about tokens, for a while. Holds hashes, never tokens.
//!
//! A result is *fresh* for a minute at most, and never beyond the token's expiry. A good result may be used for five minutes while
//! the rate of reviews is exhausted: with thousands of nodes, a review of every token every minute would exceed that rate.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Caller;
use crate::rejection::Rejection;

/// How long a good result is fresh.
const GOOD: Duration = Duration::from_secs(60);
/// How long a good result may be used while the rate of reviews is exhausted.
const GOOD_STALE: Duration = Duration::from_secs(300);
/// How long a bad result is used.
const BAD: Duration = Duration::from_secs(30);
/// Beyond this many entries, expired ones are dropped; beyond twice as many, all are.
const MAX_ENTRIES: usize = 16_384;

type Reviewed = Result<Caller, Rejection>;

/// Results by the hash of their token.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<[u8; 32], Entry>);

#[derive(Debug)]
struct Entry {
    result: Reviewed,
    fresh_until: Instant,
    until: Instant,
}

/// What is cached about a token.
#[derive(Debug, PartialEq)]
pub(crate) enum Cached {
    /// A result that is used as it is.
    Fresh(Reviewed),
    /// A good result that should be reviewed again.
    Stale(Caller),
    /// Nothing.
    Absent,
}

/// A token's key in the cache.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Cache {
    /// What is cached at `now`.
    pub(crate) fn get(&self, key: &[u8; 32], now: Instant) -> Cached {
        match self.0.get(key).filter(|entry| now < entry.until) {
            Some(entry) if now < entry.fresh_until => Cached::Fresh(entry.result.clone()),
            Some(Entry { result: Ok(caller), .. }) => Cached::Stale(caller.clone()),
            _ => Cached::Absent,
        }
    }

    /// Stores the result for a token that expires in `left`.
    pub(crate) fn put(&mut self, key: [u8; 32], result: Reviewed, left: Duration, now: Instant) {
        if self.0.len() >= MAX_ENTRIES {
            self.0.retain(|_, entry| now < entry.until);
        }
        if self.0.len() >= 2 * MAX_ENTRIES {
            self.0.clear();
        }
        let (fresh, all) = if result.is_ok() { (GOOD.min(left), GOOD_STALE.min(left)) } else { (BAD, BAD) };
        self.0.insert(key, Entry { result, fresh_until: now + fresh, until: now + all });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_contract::NodeName;

    fn caller() -> Caller {
        Caller { node: NodeName::new("n1").unwrap(), pod: "agent-x".into(), uid: "u".into() }
    }

    #[test]
    fn a_good_result_is_fresh_for_a_minute_usable_for_five_and_never_beyond_the_token() {
        let (mut cache, now, key) = (Cache::default(), Instant::now(), hash("t"));
        let after = |seconds| now + Duration::from_secs(seconds);
        cache.put(key, Ok(caller()), Duration::from_secs(600), now);
        assert_eq!(cache.get(&key, after(59)), Cached::Fresh(Ok(caller())));
        assert_eq!(cache.get(&key, after(60)), Cached::Stale(caller()));
        assert_eq!(cache.get(&key, after(300)), Cached::Absent);
        cache.put(key, Ok(caller()), Duration::from_secs(10), now);
        assert_eq!(cache.get(&key, after(10)), Cached::Absent);
        assert_eq!(cache.get(&hash("other"), now), Cached::Absent);
    }

    #[test]
    fn a_bad_result_holds_for_half_a_minute() {
        let (mut cache, now, key) = (Cache::default(), Instant::now(), hash("t"));
        cache.put(key, Err(Rejection::NotAuthenticated), Duration::from_secs(600), now);
        assert_eq!(
            cache.get(&key, now + Duration::from_secs(29)),
            Cached::Fresh(Err(Rejection::NotAuthenticated))
        );
        assert_eq!(cache.get(&key, now + Duration::from_secs(30)), Cached::Absent);
    }
}
