//! The core's notes as log lines. Each is a transition: the core repeats none.

use plimsoll_contract::NodeName;

use crate::core::{Note, Withheld};
use crate::plan::silence::Phase;

/// The one line of a write: the same value as in `/v1/decisions`.
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
pub(super) fn note(note: &Note) {
    match note {
        Note::FirstReport { node, pods } => tracing::info!(%node, pods, "first report of the node"),
        Note::ReportsAgain { node } => tracing::info!(%node, "the node reports again"),
        Note::NodeLate { node } => {
            tracing::warn!(%node, "the node is late: no report for a while, nothing on it is resized");
        }
        Note::NodeSilent { node } => {
            tracing::warn!(%node, "the node is silent: no report for long, the bands of its pods are unknown");
        }
        Note::Silence { phase, silent, nodes } => match phase {
            Phase::Withholding(_) => tracing::warn!(
                silent,
                nodes,
                "many nodes are silent: the labels of their pods are not set to unknown for now (check: the agents, the network)"
            ),
            Phase::Lasting => {
                tracing::warn!(silent, nodes, "many nodes remain silent: their pods are labeled unknown");
            }
            Phase::Normal => tracing::info!(silent, nodes, "enough nodes report again"),
        },
        Note::PodsRejected { node, reason, count } => {
            tracing::info!(%node, reason = reason.as_str(), count, "pods of a report were rejected");
        }
        Note::Quarantined { node } => {
            tracing::warn!(%node, "the node reported pods of other nodes: its reports are rejected for a while");
        }
        Note::PauseSwitch { paused } => tracing::info!(paused, "pause switch"),
        Note::Withheld { why: Some(why) } => {
            tracing::info!(why = Withheld::as_str(*why), "writes are withheld");
        }
        Note::Withheld { why: None } => tracing::info!("writes are allowed"),
        Note::Conflict { pod, conflicts, cure } => {
            let keys = conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::warn!(%pod, keys, cure, "another field manager owns keys of ours: they are left to it");
        }
        Note::InvalidIgnore { object, value } => {
            tracing::warn!(
                object,
                value,
                "plimsoll.dev/ignore must be true or false: nothing is ignored because of it"
            );
        }
        Note::InvalidClass { class, problem, held } => {
            tracing::warn!(
                class,
                problem,
                held,
                "an SLAClass is invalid: what it said before stays in force, if it ever was valid"
            );
        }
        Note::SlowNamespace { namespace, slow: true } => tracing::warn!(
            %namespace,
            "writes to pods of the namespace are slow: they get at most half of the writes in flight (check: admission webhooks)"
        ),
        Note::SlowNamespace { namespace, slow: false } => {
            tracing::info!(%namespace, "writes to pods of the namespace are no longer slow");
        }
        // Its decision is logged.
        Note::Resize { .. } => {}
        Note::Decided { decision, problem: None } => decided!(info, decision),
        Note::Decided { decision, problem: Some(problem) } => decided!(warn, decision, problem),
    }
}
