//! Whose token it is: claims first, then what is known, then the API server. Fails closed.
//!
//! Proof: `review/claims.rs`, `review/cache.rs`, `review/verdict.rs` (pure), `tests/edges/trust.rs` (over HTTP).

pub mod bucket;
pub mod cache;
pub mod claims;
pub mod verdict;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::{NodeName, keys};
use tokio::time::Instant;

use self::bucket::Bucket;
use self::cache::{Cache, Known};
use crate::calls;
use crate::ingest::denial::Denial;
use crate::metrics::{Metrics, ReviewResult};

/// New reviews in a second.
const REVIEWS_PER_SECOND: u32 = 20;

/// The pod that a token is bound to, as the API server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its node.
    pub node: NodeName,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
}

/// Reviews tokens of one account.
#[derive(Debug)]
pub struct Reviewer {
    reviews: Api<TokenReview>,
    account: String,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    bucket: Bucket,
    down: bool,
}

impl Reviewer {
    /// For tokens of `account` (`system:serviceaccount:...`). The client must not retry.
    pub fn new(client: Client, account: String, metrics: Metrics) -> Reviewer {
        let bucket = Bucket::new(REVIEWS_PER_SECOND, Instant::now());
        let state = Mutex::new(State { cache: Cache::default(), bucket, down: false });
        Reviewer { reviews: Api::all(client), account, metrics, state }
    }

    /// Who sent this token.
    ///
    /// # Errors
    /// Why nobody vouches for it.
    pub async fn review(&self, token: &str) -> Result<Caller, Denial> {
        let wall = Timestamp::now();
        let expires = claims::check(token, &self.account, wall)?;
        let key = cache::hash(token);
        let stale = match self.lock().cache.get(&key, Instant::now()) {
            Known::Fresh(verdict) => {
                self.metrics.review(ReviewResult::Cached);
                return verdict;
            }
            Known::Stale(caller) => Some(caller),
            Known::Not => None,
        };
        if !self.lock().bucket.take(Instant::now()) {
            self.metrics.review(ReviewResult::Limited);
            return stale.ok_or(Denial::ReviewsBusy);
        }
        let verdict = self.ask(token).await?;
        let left = Duration::try_from(expires.duration_since(wall)).unwrap_or(Duration::ZERO);
        self.lock().cache.put(key, verdict.clone(), left, Instant::now());
        self.metrics.review(if verdict.is_ok() { ReviewResult::Accepted } else { ReviewResult::Refused });
        verdict
    }

    async fn ask(&self, token: &str) -> Result<Result<Caller, Denial>, Denial> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![keys::TOKEN_AUDIENCE.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = calls::write(self.reviews.create(&PostParams::default(), &review)).await;
        let was_down = std::mem::replace(&mut self.lock().down, answer.is_err());
        match answer {
            Ok(review) => {
                if was_down {
                    tracing::info!("tokens are reviewed again");
                }
                Ok(verdict::of(&review.status.unwrap_or_default(), &self.account))
            }
            Err(error) => {
                self.metrics.review(ReviewResult::Failed);
                if !was_down {
                    let problem = error.into_anyhow("cannot review a token".to_owned(), None);
                    tracing::warn!(problem = %format!("{problem:#}"), "reports are refused until tokens can be reviewed");
                }
                Err(Denial::ReviewsDown)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
