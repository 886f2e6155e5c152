//! What the API server said of a token, for a while. Holds hashes, never tokens.
//!
//! A verdict is *fresh* for a minute at most, and never beyond the token's own end. A good one may be used for five
//! minutes when no new review can be had because too many are wanted at once: with thousands of nodes every minute's
//! reviews would not fit into the rate that we allow ourselves.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Caller;
use crate::ingest::denial::Denial;

/// How long a good verdict is fresh.
const GOOD: Duration = Duration::from_secs(60);
/// How long a good verdict may serve while reviews are scarce.
const GOOD_IN_NEED: Duration = Duration::from_secs(300);
/// How long a bad verdict holds.
const BAD: Duration = Duration::from_secs(30);
/// Beyond this many, those that have ended are thrown out; beyond twice as many, everything is.
const MANY: usize = 16_384;

type Verdict = Result<Caller, Denial>;

/// Verdicts by the hash of their token.
#[derive(Debug, Default)]
pub struct Cache(HashMap<[u8; 32], Entry>);

#[derive(Debug)]
struct Entry {
    verdict: Verdict,
    fresh_until: Instant,
    until: Instant,
}

/// What is known of a token.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// A verdict that holds.
    Fresh(Verdict),
    /// A good one that is older than it should be.
    Stale(Caller),
    /// Nothing.
    Not,
}

/// A token's key in the cache.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Cache {
    /// What is known at `now`.
    pub fn get(&self, key: &[u8; 32], now: Instant) -> Known {
        match self.0.get(key).filter(|entry| now < entry.until) {
            Some(entry) if now < entry.fresh_until => Known::Fresh(entry.verdict.clone()),
            Some(Entry { verdict: Ok(caller), .. }) => Known::Stale(caller.clone()),
            _ => Known::Not,
        }
    }

    /// A new verdict on a token that ends in `left`.
    pub fn put(&mut self, key: [u8; 32], verdict: Verdict, left: Duration, now: Instant) {
        if self.0.len() >= MANY {
            self.0.retain(|_, entry| now < entry.until);
        }
        if self.0.len() >= 2 * MANY {
            self.0.clear();
        }
        let (fresh, all) =
            if verdict.is_ok() { (GOOD.min(left), GOOD_IN_NEED.min(left)) } else { (BAD, BAD) };
        self.0.insert(key, Entry { verdict, fresh_until: now + fresh, until: now + all });
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
    fn a_good_verdict_is_fresh_for_a_minute_usable_for_five_and_never_beyond_the_token() {
        let (mut cache, now, key) = (Cache::default(), Instant::now(), hash("t"));
        let after = |seconds| now + Duration::from_secs(seconds);
        cache.put(key, Ok(caller()), Duration::from_secs(600), now);
        assert_eq!(cache.get(&key, after(59)), Known::Fresh(Ok(caller())));
        assert_eq!(cache.get(&key, after(60)), Known::Stale(caller()));
        assert_eq!(cache.get(&key, after(300)), Known::Not);
        cache.put(key, Ok(caller()), Duration::from_secs(10), now);
        assert_eq!(cache.get(&key, after(10)), Known::Not);
        assert_eq!(cache.get(&hash("other"), now), Known::Not);
    }

    #[test]
    fn a_bad_verdict_holds_for_half_a_minute() {
        let (mut cache, now, key) = (Cache::default(), Instant::now(), hash("t"));
        cache.put(key, Err(Denial::NotAuthenticated), Duration::from_secs(600), now);
        assert_eq!(
            cache.get(&key, now + Duration::from_secs(29)),
            Known::Fresh(Err(Denial::NotAuthenticated))
        );
        assert_eq!(cache.get(&key, now + Duration::from_secs(30)), Known::Not);
    }
}
