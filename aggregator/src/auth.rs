//! Who sent a report. A token is verified here, with the API server's keys; nobody is asked while its key is known.
//!
//! ```text
//!   claims ─────────────── agent_pod ──────── signing_keys ── signature ──> the agent's pod and node
//!   (parsed; for us, not   (in the watch's    │  (unknown key or issuer: signing_key_reader reads again)
//!    expired, account)      view, an agent)   └── reviewer ── review (where keys are not known: TokenReview)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`claims`] | what a token says about itself |
//! | [`agent_pod`] | whether the token's pod is one of our agents |
//! | [`signing_keys`], [`signature`] | which keys are known, and whether one of them signed the token |
//! | [`signing_key_reader`] | the task that reads the keys |
//! | [`reviewer`], [`review`] | TokenReviews: how many, and what an answer means |
//!
//! The checks go from cheap to dear: only a token that names a pod that is an agent costs a signature, and only a key that is not known
//! costs a call, at a bounded rate. Tests: beside each module, `auth/tests.rs` (an hour of 5,000 nodes), `tests/edges/trust.rs` (over HTTP).

mod agent_pod;
mod claims;
mod review;
mod reviewer;
mod signature;
pub(crate) mod signing_key_reader;
pub(crate) mod signing_keys;

use jiff::Timestamp;
use kube::Client;
use plimsoll_contract::NodeName;

use self::reviewer::Reviewer;
use self::signing_keys::{SigningKeys, Verdict};
use crate::config::Agents;
use crate::engine::Engine;
use crate::metrics::{Metrics, TokenResult};
use crate::rejection::Rejection;

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) node: NodeName,
    pub(crate) pod: String,
    pub(crate) uid: String,
}

/// Authenticates agents by their tokens.
#[derive(Debug)]
pub(crate) struct Authenticator {
    agents: Agents,
    keys: SigningKeys,
    reviewer: Reviewer,
    metrics: Metrics,
}

impl Authenticator {
    /// Accepts tokens of these agents. The client must not retry.
    pub(crate) fn new(client: Client, agents: Agents, keys: SigningKeys, metrics: Metrics) -> Authenticator {
        let reviewer = Reviewer::new(client, agents.user_name(), metrics.clone());
        Authenticator { agents, keys, reviewer, metrics }
    }

    /// The agent that a token belongs to, at `now`.
    ///
    /// # Errors
    /// Why it does not belong to an agent of ours.
    pub(crate) async fn authenticate(
        &self,
        engine: &Engine,
        token: &str,
        now: Timestamp,
    ) -> Result<Caller, Rejection> {
        let result = self.check(engine, token, now).await;
        self.metrics.token(match &result {
            Ok((_, Verdict::Verified)) => TokenResult::Verified,
            Ok((_, Verdict::Review)) => TokenResult::Reviewed,
            Err(_) => TokenResult::Refused,
        });
        result.map(|(caller, _)| caller)
    }

    async fn check(
        &self,
        engine: &Engine,
        token: &str,
        now: Timestamp,
    ) -> Result<(Caller, Verdict), Rejection> {
        let token = claims::read(token, &self.agents, now)?;
        // A pod that has just started may not be in the view yet: its agent is told to come again soon.
        engine.ask(|core, _| match core.find_agent_pod(&token.caller.uid) {
            _ if !core.synced() => Err(Rejection::NotSynced),
            Some(pod) => agent_pod::check(pod, &token.caller, &self.agents),
            None => Err(Rejection::UnknownPod),
        })?;
        let verdict = self.keys.verify(&token)?;
        if verdict == Verdict::Review {
            self.reviewer.review(&token).await?;
        }
        Ok((token.caller, verdict))
    }
}

#[cfg(test)]
mod tests;
