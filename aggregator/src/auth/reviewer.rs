//! Asks the API server about tokens, where its keys are not known. A token is reviewed once; after that it ends by its own expiry, and
//! with its pod.
//!
//! Whoever can name an agent's pod can cause reviews, so each pod has a turn of its own beside the total. The price: while somebody
//! sends forged tokens that name a pod, that pod's next token may not get its turn.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_process::rate_limit::RateLimiter;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::claims::Token;
use super::review;
use crate::cluster::client;
use crate::metrics::{Metrics, ReviewResult};
use crate::rejection::Rejection;

/// TokenReviews per second. 5,000 agents have about 10 new tokens per second, and are reviewed within 100 s after a restart.
const PER_SECOND: u32 = 50;
/// The shortest time between two reviews of tokens that name the same pod. An agent has a new token every 8 minutes.
const PER_POD: Duration = Duration::from_secs(5);
/// Beyond this many pods, those that were not reviewed for an hour are forgotten; only pods of agents get in.
const MAX_PODS: usize = 16_384;
const IDLE: Duration = Duration::from_secs(3600);

/// Reviews tokens.
#[derive(Debug)]
pub(crate) struct Reviewer {
    reviews: Api<TokenReview>,
    account: String,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    total: RateLimiter,
    /// By the uid of the pod.
    pods: HashMap<String, PodReviews>,
    /// Whether the last review failed; logged when it changes.
    down: bool,
}

#[derive(Debug)]
struct PodReviews {
    last: Instant,
    /// The hash of the token that the API server confirmed last.
    confirmed: Option<[u8; 32]>,
}

impl Reviewer {
    /// Reviews tokens of this account (`system:serviceaccount:...`). The client must not retry.
    pub(crate) fn new(client: Client, account: String, metrics: Metrics) -> Reviewer {
        let total = RateLimiter::new(PER_SECOND, Duration::from_secs(1), Instant::now().into_std());
        let state = State { total, pods: HashMap::new(), down: false };
        Reviewer { reviews: Api::all(client), account, metrics, state: Mutex::new(state) }
    }

    /// Whether the API server confirms the token, now or before. Its pod must be an agent's.
    ///
    /// # Errors
    /// If it does not, or cannot be asked now.
    pub(crate) async fn review(&self, token: &Token<'_>) -> Result<(), Rejection> {
        let (uid, hash) = (&token.caller.uid, Sha256::digest(token.text.as_bytes()).into());
        if self.begin(uid, &hash)? == Turn::Confirmed {
            return Ok(());
        }
        let result = self.request(token).await?;
        self.metrics.review(if result.is_ok() { ReviewResult::Accepted } else { ReviewResult::Refused });
        if result.is_ok()
            && let Some(pod) = self.lock().pods.get_mut(uid)
        {
            pod.confirmed = Some(hash);
        }
        result
    }

    fn begin(&self, uid: &str, hash: &[u8; 32]) -> Result<Turn, Rejection> {
        let (mut state, now) = (self.lock(), Instant::now());
        let pod = state.pods.get(uid);
        if pod.is_some_and(|pod| pod.confirmed.as_ref() == Some(hash)) {
            return Ok(Turn::Confirmed);
        }
        let is_soon = pod.is_some_and(|pod| now.duration_since(pod.last) < PER_POD);
        if is_soon || !state.total.try_acquire(now.into_std()) {
            self.metrics.review(ReviewResult::Limited);
            return Err(Rejection::ReviewsBusy);
        }
        if state.pods.len() >= MAX_PODS {
            state.pods.retain(|_, pod| now.duration_since(pod.last) < IDLE);
        }
        let pod = state.pods.entry(uid.to_owned());
        pod.or_insert(PodReviews { last: now, confirmed: None }).last = now;
        Ok(Turn::Ask)
    }

    /// Asks the API server. The outer result says whether it answered, the inner one what it said.
    async fn request(&self, token: &Token<'_>) -> Result<Result<(), Rejection>, Rejection> {
        let spec = TokenReviewSpec {
            token: Some(token.text.to_owned()),
            audiences: Some(vec![keys::TOKEN_AUDIENCE.to_owned()]),
        };
        let request = TokenReview { spec, ..TokenReview::default() };
        let response = client::write(self.reviews.create(&PostParams::default(), &request)).await;
        let was_down = std::mem::replace(&mut self.lock().down, response.is_err());
        match response {
            Ok(answer) => {
                if was_down {
                    tracing::info!("tokens are reviewed again");
                }
                let caller = review::caller(&answer.status.unwrap_or_default(), &self.account);
                // The pod was looked up by what the token claims: the API server must have read the same.
                Ok(caller.and_then(|caller| {
                    if caller == token.caller { Ok(()) } else { Err(Rejection::NotAuthenticated) }
                }))
            }
            Err(error) => {
                self.metrics.review(ReviewResult::Failed);
                if !was_down {
                    let problem = error.into_anyhow("cannot review a token".to_owned(), None);
                    tracing::warn!(problem = %format!("{problem:#}"), "reports with new tokens are rejected until tokens can be reviewed");
                }
                Err(Rejection::ReviewsDown)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// This very token was confirmed before.
    Confirmed,
    /// The API server may be asked.
    Ask,
}
