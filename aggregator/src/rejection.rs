//! Why a report is rejected: one closed list for the whole way, in the order of the checks. Each reason has its word, its HTTP status
//! and a text that says what to do.
//!
//! Where each is decided: headers and body in [`crate::server::agents`], token and sender in [`crate::auth`], the rest in
//! `state::ingest`. Single pods of an accepted report are rejected in `state::ingest` too ([`PodRejection`]).
//!
//! [`PodRejection`]: plimsoll_contract::rejection::PodRejection

use std::time::Duration;

use http::StatusCode;
use plimsoll_contract::NodeName;
use plimsoll_contract::rejection::ReportRejection;

/// Reports of one node that may be received at the same time. An agent sends one after the other; a few of broken connections may be
/// left beside it. It bounds the memory that one node can make the aggregator use.
pub(crate) const MAX_READING: usize = 4;
/// Reports of one node in a second. An agent waits a second between two. It bounds the time that one node can make the aggregator spend.
pub(crate) const MAX_PER_SECOND: u32 = 10;

/// Why a report is rejected. The word of each reason is also a metric label.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("send the report as content-type application/json")]
    ContentType,
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Body(String),
    #[error("send a projected service-account token: `authorization: Bearer ...`")]
    NoToken,
    #[error("the token is not a service-account token: {0}")]
    BadToken(&'static str),
    #[error("the token is not for the audience plimsoll-aggregator")]
    Audience,
    #[error(
        "the token has expired: read it from its file again (or the clock of the aggregator's node is ahead)"
    )]
    Expired,
    #[error("the token is not valid yet: the clock of the aggregator's node is more than 5 minutes behind")]
    NotYetValid,
    #[error("the token is of {got}, reports are accepted from {want}")]
    Account { got: String, want: String },
    #[error(
        "the token is not bound to exactly one pod and node: use a projected volume, on Kubernetes 1.30 or later"
    )]
    NotBound,
    #[error(
        "the token's pod is not known: it is gone, or so new that the aggregator's watch has not shown it yet"
    )]
    UnknownPod,
    #[error("the token's pod is not controlled by the agents' DaemonSet in the agents' namespace")]
    NotAnAgent,
    #[error("the token's pod does not run on the token's node")]
    Elsewhere,
    #[error("the token's pod has finished: it was evicted, failed or succeeded")]
    FinishedPod,
    #[error("the API server's keys are not read yet; report again in a second")]
    NoSigningKeys,
    #[error("the token is signed with a key that is not known; the API server's keys are read again")]
    UnknownSigningKey,
    #[error("the API server did not sign the token")]
    BadSignature,
    #[error("too many new tokens at once, try again soon")]
    ReviewsBusy,
    #[error("the API server cannot review tokens now")]
    ReviewsDown,
    #[error("the API server does not accept the token")]
    NotAuthenticated,
    #[error("the API server did not confirm the token's audience")]
    AudienceNotEchoed,
    #[error(
        "too many reports of node {0} at once: at most {MAX_READING} are received at the same time, and {MAX_PER_SECOND} in a second"
    )]
    TooMany(NodeName),
    #[error("the body is not a report: {0}")]
    Malformed(String),
    #[error("{0}")]
    Version(String),
    #[error("the report is of node {body}, its sender runs on {token}")]
    OtherNode { body: NodeName, token: NodeName },
    #[error("not ready: pods, nodes and namespaces are not all listed yet; report again in a second")]
    NotSynced,
    #[error("the API server knows no node {0}")]
    UnknownNode(NodeName),
    #[error(
        "report {got} of node {node} is not newer than {have}, the last one accepted; continue above it (cause: the node's clock was set back, or two agents report it)"
    )]
    OldSequence { node: NodeName, got: u64, have: u64 },
    #[error(
        "report {got} of node {node} is more than {hours} h ahead of this clock; continue from {continue_from} (cause: the clock of the node, or of this aggregator, is wrong; set it, and restart an agent of an earlier version)"
    )]
    SequenceAhead { node: NodeName, got: u64, hours: u64, continue_from: u64 },
    #[error("node {0} is in quarantine: it reported pods of other nodes")]
    Quarantined(NodeName),
    #[error(transparent)]
    Invalid(#[from] ReportRejection),
}

impl Rejection {
    /// Every word: the metric has a series for each from the start.
    pub(crate) const WORDS: [&'static str; 31] = [
        "content_type",
        "too_large",
        "body",
        "no_token",
        "bad_token",
        "audience",
        "expired",
        "not_yet_valid",
        "account",
        "not_bound",
        "unknown_pod",
        "not_an_agent",
        "elsewhere",
        "finished_pod",
        "no_signing_keys",
        "unknown_signing_key",
        "bad_signature",
        "reviews_busy",
        "reviews_down",
        "not_authenticated",
        "audience_not_echoed",
        "too_many",
        "malformed",
        "version",
        "other_node",
        "not_synced",
        "unknown_node",
        "old_sequence",
        "sequence_ahead",
        "quarantined",
        "bad_report",
    ];

    /// The word in the answer and the metric.
    pub(crate) fn as_str(&self) -> &'static str {
        self.row().0
    }

    /// The HTTP status to answer with.
    pub(crate) fn status(&self) -> StatusCode {
        self.row().1
    }

    /// When to try again, for reasons that may go away by themselves.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.row().2.map(Duration::from_secs)
    }

    /// Word, status and seconds until a retry makes sense.
    fn row(&self) -> (&'static str, StatusCode, Option<u64>) {
        match self {
            Rejection::ContentType => ("content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Rejection::TooLarge(_) => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, None),
            Rejection::Body(_) => ("body", StatusCode::BAD_REQUEST, None),
            Rejection::NoToken => ("no_token", StatusCode::UNAUTHORIZED, None),
            Rejection::BadToken(_) => ("bad_token", StatusCode::UNAUTHORIZED, None),
            Rejection::Audience => ("audience", StatusCode::UNAUTHORIZED, None),
            Rejection::Expired => ("expired", StatusCode::UNAUTHORIZED, None),
            Rejection::NotYetValid => ("not_yet_valid", StatusCode::UNAUTHORIZED, None),
            Rejection::Account { .. } => ("account", StatusCode::FORBIDDEN, None),
            Rejection::NotBound => ("not_bound", StatusCode::FORBIDDEN, None),
            Rejection::UnknownPod => ("unknown_pod", StatusCode::SERVICE_UNAVAILABLE, Some(2)),
            Rejection::NotAnAgent => ("not_an_agent", StatusCode::FORBIDDEN, None),
            Rejection::Elsewhere => ("elsewhere", StatusCode::FORBIDDEN, None),
            Rejection::FinishedPod => ("finished_pod", StatusCode::FORBIDDEN, None),
            Rejection::NoSigningKeys => ("no_signing_keys", StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Rejection::UnknownSigningKey => ("unknown_signing_key", StatusCode::SERVICE_UNAVAILABLE, Some(2)),
            Rejection::BadSignature => ("bad_signature", StatusCode::UNAUTHORIZED, None),
            Rejection::ReviewsBusy => ("reviews_busy", StatusCode::TOO_MANY_REQUESTS, Some(2)),
            Rejection::ReviewsDown => ("reviews_down", StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            Rejection::NotAuthenticated => ("not_authenticated", StatusCode::UNAUTHORIZED, None),
            Rejection::AudienceNotEchoed => ("audience_not_echoed", StatusCode::FORBIDDEN, None),
            Rejection::TooMany(_) => ("too_many", StatusCode::TOO_MANY_REQUESTS, Some(2)),
            Rejection::Malformed(_) => ("malformed", StatusCode::BAD_REQUEST, None),
            Rejection::Version(_) => ("version", StatusCode::BAD_REQUEST, None),
            Rejection::OtherNode { .. } => ("other_node", StatusCode::FORBIDDEN, None),
            Rejection::NotSynced => ("not_synced", StatusCode::SERVICE_UNAVAILABLE, Some(2)),
            Rejection::UnknownNode(_) => ("unknown_node", StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            Rejection::OldSequence { .. } => ("old_sequence", StatusCode::CONFLICT, None),
            Rejection::SequenceAhead { .. } => ("sequence_ahead", StatusCode::CONFLICT, None),
            Rejection::Quarantined(_) => ("quarantined", StatusCode::TOO_MANY_REQUESTS, Some(60)),
            Rejection::Invalid(_) => ("bad_report", StatusCode::UNPROCESSABLE_ENTITY, None),
        }
    }

    /// The sequence number that the next report must exceed, for a report that did not.
    pub(crate) fn newest(&self) -> Option<u64> {
        match self {
            Rejection::OldSequence { have, .. } => Some(*have),
            _ => None,
        }
    }

    /// The sequence number to continue from, for a report that was far ahead of the clock.
    pub(crate) fn continue_from(&self) -> Option<u64> {
        match self {
            Rejection::SequenceAhead { continue_from, .. } => Some(*continue_from),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_is_there_once_and_what_may_pass_says_when_to_come_back() {
        let words: BTreeSet<_> = Rejection::WORDS.into_iter().collect();
        assert_eq!(words.len(), Rejection::WORDS.len());
        let node = NodeName::new("n1").unwrap();
        let sample = [
            Rejection::TooLarge(1),
            Rejection::NoToken,
            Rejection::UnknownPod,
            Rejection::FinishedPod,
            Rejection::NoSigningKeys,
            Rejection::UnknownSigningKey,
            Rejection::BadSignature,
            Rejection::ReviewsBusy,
            Rejection::ReviewsDown,
            Rejection::NotSynced,
            Rejection::TooMany(node.clone()),
            Rejection::UnknownNode(node.clone()),
            Rejection::OldSequence { node: node.clone(), got: 1, have: 2 },
            Rejection::SequenceAhead { node, got: 9, hours: 24, continue_from: 2 },
        ];
        for rejection in sample {
            assert!(words.contains(rejection.as_str()), "{rejection}");
            let passes = [429, 503].contains(&rejection.status().as_u16());
            assert_eq!(rejection.retry_after().is_some(), passes, "{rejection}");
        }
    }
}
