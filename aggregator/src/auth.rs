//! Who sent a report: bearer token -> claims -> TokenReview -> the agent's pod and node. Rejects what cannot be verified.
//!
//! | module | what |
//! |---|---|
//! | [`claims`] | what a token says about itself: most junk is rejected without a call |
//! | [`cache`] | what the API server said about a token, for a while |
//! | [`review`] | what an answered TokenReview means |
//! | [`agent_pod`] | whether the token's pod is one of our agents |
//!
//! Tests: beside each module (pure), `tests/edges/trust.rs` (over HTTP).

pub(crate) mod agent_pod;
pub(crate) mod cache;
pub(crate) mod claims;
pub(crate) mod review;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::{NodeName, keys};
use plimsoll_process::rate_limit::RateLimiter;
use tokio::time::Instant;

use self::agent_pod::AgentPods;
use self::cache::{Cache, Cached};
use crate::cluster::client;
use crate::config::Agents;
use crate::engine::Engine;
use crate::metrics::{Metrics, ReviewResult};
use crate::rejection::Rejection;

/// TokenReviews per second.
const REVIEWS_PER_SECOND: u32 = 20;

/// The pod that a token is bound to, as the API server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) node: NodeName,
    pub(crate) pod: String,
    pub(crate) uid: String,
}

/// Authenticates agents by their tokens.
#[derive(Debug)]
pub(crate) struct Authenticator {
    reviews: Api<TokenReview>,
    account: String,
    agent_pods: AgentPods,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    limiter: RateLimiter,
    /// Whether the last TokenReview failed; logged when it changes.
    reviews_down: bool,
}

impl Authenticator {
    /// Accepts tokens of these agents. The client must not retry.
    pub(crate) fn new(client: Client, agents: Agents, metrics: Metrics) -> Authenticator {
        let limiter = RateLimiter::new(REVIEWS_PER_SECOND, Instant::now().into_std());
        Authenticator {
            reviews: Api::all(client.clone()),
            account: agents.user_name(),
            agent_pods: AgentPods::new(client, agents),
            metrics,
            state: Mutex::new(State { cache: Cache::default(), limiter, reviews_down: false }),
        }
    }

    /// The agent that a token belongs to.
    ///
    /// # Errors
    /// Why it does not belong to an agent of ours.
    pub(crate) async fn authenticate(&self, engine: &Engine, token: &str) -> Result<Caller, Rejection> {
        let caller = self.review(token).await?;
        self.agent_pods.check(engine, &caller).await?;
        Ok(caller)
    }

    async fn review(&self, token: &str) -> Result<Caller, Rejection> {
        let wall = Timestamp::now();
        let expires = claims::check(token, &self.account, wall)?;
        let key = cache::hash(token);
        let stale = match self.lock().cache.get(&key, Instant::now()) {
            Cached::Fresh(result) => {
                self.metrics.review(ReviewResult::Cached);
                return result;
            }
            Cached::Stale(caller) => Some(caller),
            Cached::Absent => None,
        };
        if !self.lock().limiter.try_acquire(Instant::now().into_std()) {
            self.metrics.review(ReviewResult::Limited);
            return stale.ok_or(Rejection::ReviewsBusy);
        }
        let result = self.request_review(token).await?;
        let left = Duration::try_from(expires.duration_since(wall)).unwrap_or(Duration::ZERO);
        self.lock().cache.put(key, result.clone(), left, Instant::now());
        self.metrics.review(if result.is_ok() { ReviewResult::Accepted } else { ReviewResult::Refused });
        result
    }

    /// Asks the API server. The outer result says whether it answered, the inner one what it said.
    async fn request_review(&self, token: &str) -> Result<Result<Caller, Rejection>, Rejection> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![keys::TOKEN_AUDIENCE.to_owned()]),
        };
        let request = TokenReview { spec, ..TokenReview::default() };
        let response = client::write(self.reviews.create(&PostParams::default(), &request)).await;
        let was_down = std::mem::replace(&mut self.lock().reviews_down, response.is_err());
        match response {
            Ok(review) => {
                if was_down {
                    tracing::info!("tokens are reviewed again");
                }
                Ok(review::caller(&review.status.unwrap_or_default(), &self.account))
            }
            Err(error) => {
                self.metrics.review(ReviewResult::Failed);
                if !was_down {
                    let problem = error.into_anyhow("cannot review a token".to_owned(), None);
                    tracing::warn!(problem = %format!("{problem:#}"), "reports are rejected until tokens can be reviewed");
                }
                Err(Rejection::ReviewsDown)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
