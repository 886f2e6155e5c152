//! The core's notes as log lines. Each is a transition: the core says none twice.

use plimsoll_contract::NodeName;

use crate::core::{Note, Withheld};

/// The one line of an action: the same value as in `/v1/decisions`.
macro_rules! decided {
    ($level:ident, $decision:ident $(, $problem:ident)?) => {
        tracing::$level!(
            action = $decision.action,
            pod = %format_args!("{}/{}", $decision.namespace, $decision.pod),
            node = $decision.node.as_ref().map(NodeName::as_str),
            from = $decision.from,
            to = $decision.to,
            reason = $decision.reason,
            outcome = $decision.outcome,
            took_ms = $decision.took_ms,
            $($problem,)?
            "action"
        )
    };
}

/// Logs one note.
pub(super) fn log(note: &Note) {
    match note {
        Note::NodeHeard { node, pods } => tracing::info!(%node, pods, "first report of the node"),
        Note::NodeLate { node } => {
            tracing::warn!(%node, "no report for a while, nothing on the node is resized");
        }
        Note::NodeSilent { node } => {
            tracing::warn!(%node, "no report for long, the bands of its pods are unknown");
        }
        Note::NodeBack { node } => tracing::info!(%node, "the node reports again"),
        Note::Refused { node, reason, count } => {
            tracing::info!(%node, reason = reason.as_str(), count, "pods of a report were not taken in");
        }
        Note::ReportRefused { node, refusal } => tracing::warn!(%node, refusal, "a report was not taken in"),
        Note::Quarantined { node } => {
            tracing::warn!(%node, "the node reported pods of other nodes, its reports are refused for a while");
        }
        Note::BreakerOpened { why } => tracing::warn!(why, "the breaker opened, nothing is written"),
        Note::BreakerClosed => tracing::info!("the breaker closed"),
        Note::Withheld { why } => match why {
            Some(why) => tracing::info!(why = Withheld::as_str(*why), "writes are withheld"),
            None => tracing::info!("writes are allowed"),
        },
        Note::Conflict { pod, keys } => {
            tracing::warn!(%pod, keys = keys.join(","), "somebody else owns keys of ours, they are left to them");
        }
        Note::Decided { decision, problem: None } => decided!(info, decision),
        Note::Decided { decision, problem: Some(problem) } => decided!(warn, decision, problem),
    }
}
