//! What the kubelet says of a resize: the conditions `PodResizePending` and `PodResizeInProgress`, those of our attempt only.

use crate::facts::{ConditionFacts, PodFacts};

/// Where the kubelet stands with a resize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Neither condition is there. That is no success: they are missing before the kubelet has seen the resize, too.
    Nothing,
    /// It works on it.
    Working,
    /// It fits in principle, but not now.
    Deferred(String),
    /// It never fits.
    Infeasible(String),
    /// It cannot do it, and tries again.
    Error(String),
}

/// What the conditions say of the resize with this generation. `before` are the conditions as they were before it was sent: without a
/// generation (Kubernetes 1.33), one that has not changed since is taken for that of an earlier resize.
pub(super) fn progress(facts: &PodFacts, generation: Option<i64>, before: &[ConditionFacts]) -> Progress {
    let is_ours = |condition: &&ConditionFacts| {
        let seen = condition.observed_generation.or(facts.observed_generation);
        match (seen, generation) {
            (Some(seen), Some(generation)) => seen >= generation,
            _ => !before.contains(condition),
        }
    };
    let find = |kind: &str| {
        let mut all = facts.conditions.iter();
        all.find(|condition| condition.kind == kind && condition.status == "True").filter(is_ours)
    };
    let words =
        |condition: &ConditionFacts| condition.message.clone().unwrap_or_else(|| "no message".to_owned());
    // Both may be there: an older resize fails while a newer one is pending. Ours is the newest.
    if let Some(pending) = find("PodResizePending") {
        return match pending.reason.as_deref() {
            Some("Infeasible") => Progress::Infeasible(words(pending)),
            _ => Progress::Deferred(words(pending)),
        };
    }
    match find("PodResizeInProgress") {
        Some(condition) if condition.reason.as_deref() == Some("Error") => Progress::Error(words(condition)),
        Some(_) => Progress::Working,
        None => Progress::Nothing,
    }
}

/// The two conditions, whatever they are of.
pub(super) fn of_resizes(facts: &PodFacts) -> Vec<ConditionFacts> {
    facts.conditions.iter().filter(|condition| condition.kind.starts_with("PodResize")).cloned().collect()
}

/// Whether an error of the kubelet says nothing of the resize: it does not know the container's usage yet.
pub(super) fn is_transient(message: &str) -> bool {
    message.contains("missing") && message.contains("usage")
}

/// Whether the kubelet has acted on this generation, or nobody knows of generations (Kubernetes 1.33).
pub(super) fn has_seen(facts: &PodFacts, generation: Option<i64>) -> bool {
    match (facts.observed_generation, generation) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    }
}
