//! Why the API server did not accept a resize, from the result of the write.

use std::time::Duration;

use crate::input::{RefusalKind, WriteResult};

/// Why the API server did not accept a resize. Messages are its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResizeRefusal {
    /// 409: the pod changed after the decision was recorded.
    Conflict,
    /// The pod does not exist any more, or another one has its name.
    Gone,
    /// 403 of the node's capacity, since Kubernetes 1.36: it never fits.
    Infeasible(String),
    /// 403 of a ResourceQuota or LimitRange.
    OverQuota(String),
    /// 422: memory limits cannot be lowered or added in this cluster (Kubernetes 1.33).
    MemoryLimitsFixed(String),
    /// This pod cannot be resized at all, or its node does not support it.
    Unsupported(String),
    /// 403: not this account, or not by our own policy.
    Forbidden(String),
    /// 422 and other refusals of the request as it is: a fault of the plan.
    Invalid(String),
    /// 429, or a refusal that passes; how long to wait, if the server said so.
    Overloaded(String, Option<Duration>),
    /// No response, or that of a server that failed: it may or may not have been done.
    NoAnswer,
}

impl From<&WriteResult> for ResizeRefusal {
    /// Of the outcome of a resize that was not accepted.
    fn from(result: &WriteResult) -> ResizeRefusal {
        let words = || result.problem().unwrap_or_else(|| result.as_str().to_owned());
        match result {
            WriteResult::Refused(kind, message) => {
                let message = message.clone();
                match kind {
                    RefusalKind::Stale => ResizeRefusal::Conflict,
                    RefusalKind::NodeCapacity => ResizeRefusal::Infeasible(message),
                    RefusalKind::Quota | RefusalKind::LimitRange => ResizeRefusal::OverQuota(message),
                    RefusalKind::Forbidden | RefusalKind::Policy => ResizeRefusal::Forbidden(message),
                    RefusalKind::MemoryLimit => ResizeRefusal::MemoryLimitsFixed(message),
                    RefusalKind::Unsupported => ResizeRefusal::Unsupported(message),
                    RefusalKind::QosClass | RefusalKind::Removal | RefusalKind::Invalid => {
                        ResizeRefusal::Invalid(message)
                    }
                }
            }
            WriteResult::Gone => ResizeRefusal::Gone,
            WriteResult::NoAnswer => ResizeRefusal::NoAnswer,
            WriteResult::Throttled(wait) => ResizeRefusal::Overloaded(words(), *wait),
            // A connection that broke, or a server that failed after it had begun: only the pod says whether it was done. What another
            // epoch did not send comes here too, where it changes nothing: what is on the pods is read anew in each epoch.
            WriteResult::Failed(0 | 500.., _) => ResizeRefusal::NoAnswer,
            WriteResult::Failed(_, message) => ResizeRefusal::Overloaded(message.clone(), None),
            // No field manager owns the version of a pod, and what was done was not refused.
            WriteResult::Conflict(_) | WriteResult::Written(_) => ResizeRefusal::Overloaded(words(), None),
        }
    }
}
