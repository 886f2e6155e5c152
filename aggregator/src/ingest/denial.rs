//! Why a report is refused: a closed list, each with its word, its status and what to do.

use std::time::Duration;

use http::StatusCode;
use plimsoll_contract::NodeName;

use crate::core::Refusal;

/// A refusal. The word of each is also a metric label.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Denial {
    /// Not JSON by its header.
    #[error("send the report as content-type application/json")]
    ContentType,
    /// More than a report can be.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Too slow, or broken off.
    #[error("{0}")]
    Body(String),
    /// No token.
    #[error("send a projected service-account token: `authorization: Bearer ...`")]
    NoToken,
    /// Not a token at all.
    #[error("the token is not a service-account token: {0}")]
    BadToken(&'static str),
    /// For somebody else.
    #[error("the token is not for the audience plimsoll-aggregator")]
    Audience,
    /// Too old.
    #[error("the token has expired: read it from its file again")]
    Expired,
    /// Another account than the agents'.
    #[error("the token is of {got}, reports are accepted from {want}")]
    Account {
        /// Whose it is.
        got: String,
        /// Whose it should be.
        want: String,
    },
    /// As many reviews as we ask for.
    #[error("too many new tokens at once, try again soon")]
    ReviewsBusy,
    /// Nobody can say whose token it is.
    #[error("the API server cannot review tokens now")]
    ReviewsDown,
    /// The API server does not accept it.
    #[error("the API server does not accept the token")]
    NotAuthenticated,
    /// The API server did not confirm the audience.
    #[error("the API server did not confirm the token's audience")]
    AudienceNotEchoed,
    /// Bound to no pod, to several, or without a node.
    #[error(
        "the token is not bound to exactly one pod and node: use a projected volume, on Kubernetes 1.30 or later"
    )]
    NotBound,
    /// The pod does not exist, or is another one.
    #[error("there is no such pod: the token's pod is gone")]
    UnknownPod,
    /// Another DaemonSet's, or nobody's.
    #[error("the token's pod is not controlled by the agents' DaemonSet in the agents' namespace")]
    NotAnAgent,
    /// It runs elsewhere than its token says.
    #[error("the token's pod does not run on the token's node")]
    Elsewhere,
    /// Not a report.
    #[error("the body is no report: {0}")]
    Malformed(String),
    /// A schema that is not read.
    #[error("{0}")]
    Version(String),
    /// It speaks for another node than its sender's.
    #[error("the report is of node {body}, its sender runs on {token}")]
    OtherNode {
        /// The report's node.
        body: NodeName,
        /// The sender's.
        token: NodeName,
    },
    /// The core does not take it.
    #[error(transparent)]
    Core(#[from] Refusal),
}

impl Denial {
    /// Every word there is: the metric has a series for each from the start.
    pub const WORDS: [&'static str; 24] = [
        "content_type",
        "too_large",
        "body",
        "no_token",
        "bad_token",
        "audience",
        "expired",
        "account",
        "reviews_busy",
        "reviews_down",
        "not_authenticated",
        "audience_not_echoed",
        "not_bound",
        "unknown_pod",
        "not_an_agent",
        "elsewhere",
        "malformed",
        "version",
        "other_node",
        "not_synced",
        "unknown_node",
        "old_sequence",
        "quarantined",
        "bad_report",
    ];

    /// The word in the answer and the metric.
    pub fn as_str(&self) -> &'static str {
        match self {
            Denial::ContentType => "content_type",
            Denial::TooLarge(_) => "too_large",
            Denial::Body(_) => "body",
            Denial::NoToken => "no_token",
            Denial::BadToken(_) => "bad_token",
            Denial::Audience => "audience",
            Denial::Expired => "expired",
            Denial::Account { .. } => "account",
            Denial::ReviewsBusy => "reviews_busy",
            Denial::ReviewsDown => "reviews_down",
            Denial::NotAuthenticated => "not_authenticated",
            Denial::AudienceNotEchoed => "audience_not_echoed",
            Denial::NotBound => "not_bound",
            Denial::UnknownPod => "unknown_pod",
            Denial::NotAnAgent => "not_an_agent",
            Denial::Elsewhere => "elsewhere",
            Denial::Malformed(_) => "malformed",
            Denial::Version(_) => "version",
            Denial::OtherNode { .. } => "other_node",
            Denial::Core(refusal) => refusal.as_str(),
        }
    }

    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Denial::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Denial::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Denial::Body(_) | Denial::Malformed(_) | Denial::Version(_) => StatusCode::BAD_REQUEST,
            Denial::NoToken
            | Denial::BadToken(_)
            | Denial::Audience
            | Denial::Expired
            | Denial::NotAuthenticated => StatusCode::UNAUTHORIZED,
            Denial::Account { .. }
            | Denial::AudienceNotEchoed
            | Denial::NotBound
            | Denial::UnknownPod
            | Denial::NotAnAgent
            | Denial::Elsewhere
            | Denial::OtherNode { .. } => StatusCode::FORBIDDEN,
            Denial::ReviewsBusy => StatusCode::TOO_MANY_REQUESTS,
            Denial::ReviewsDown => StatusCode::SERVICE_UNAVAILABLE,
            Denial::Core(refusal) => match refusal {
                Refusal::NotSynced | Refusal::UnknownNode(_) => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::OldSequence { .. } => StatusCode::CONFLICT,
                Refusal::Quarantined(_) => StatusCode::TOO_MANY_REQUESTS,
                Refusal::BadReport(_) => StatusCode::UNPROCESSABLE_ENTITY,
            },
        }
    }

    /// The sequence number that the next report has to be above, for a report that was not.
    pub fn newest(&self) -> Option<u64> {
        match self {
            Denial::Core(Refusal::OldSequence { have, .. }) => Some(*have),
            _ => None,
        }
    }

    /// When to come back, for those that may go away by themselves.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = match self {
            Denial::ReviewsBusy | Denial::Core(Refusal::NotSynced) => 2,
            Denial::ReviewsDown | Denial::Core(Refusal::UnknownNode(_)) => 5,
            Denial::Core(Refusal::Quarantined(_)) => 60,
            _ => return None,
        };
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_is_there_once_and_what_may_pass_says_when_to_come_back() {
        let words: BTreeSet<_> = Denial::WORDS.into_iter().collect();
        assert_eq!(words.len(), Denial::WORDS.len());
        let node = NodeName::new("n1").unwrap();
        let sample = [
            Denial::TooLarge(1),
            Denial::NoToken,
            Denial::ReviewsBusy,
            Denial::ReviewsDown,
            Denial::Core(Refusal::NotSynced),
            Denial::Core(Refusal::UnknownNode(node)),
            Denial::Core(Refusal::OldSequence { got: 1, have: 2 }),
        ];
        for denial in sample {
            assert!(words.contains(denial.as_str()), "{denial}");
            let passes = [429, 503].contains(&denial.status().as_u16());
            assert_eq!(denial.retry_after().is_some(), passes, "{denial}");
        }
    }
}
