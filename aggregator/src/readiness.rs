//! What `/readyz` says: what must have happened once, and what prevents it.
//!
//! Ready means that reports can be accepted: a certificate is loaded and the watches have listed everything. Whether this replica
//! leads, is paused or withholds writes does not matter. Failures are logged when they begin and when they change, not at every try.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A part of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// A certificate is loaded.
    Certificate,
    /// The pods are listed.
    Pods,
    /// The nodes are listed.
    Nodes,
    /// The namespaces are listed.
    Namespaces,
    /// The API server's keys for tokens are known. Not needed to be ready; without them tokens are reviewed.
    SigningKeys,
    /// The Lease is held. Not needed to be ready.
    Lease,
    /// The position of the pause switch is known. Not needed to be ready; nothing is written before.
    Control,
    /// The SLA classes are listed. Not needed to be ready, like the three below; nothing is resized before, and without `--resize` nobody
    /// asks for them.
    Classes,
    /// The HorizontalPodAutoscalers are listed.
    Autoscalers,
    /// The ResourceQuotas are listed.
    Quotas,
    /// The LimitRanges are listed.
    LimitRanges,
}

impl Part {
    const ALL: [Part; 11] = [
        Part::Certificate,
        Part::Pods,
        Part::Nodes,
        Part::Namespaces,
        Part::SigningKeys,
        Part::Lease,
        Part::Control,
        Part::Classes,
        Part::Autoscalers,
        Part::Quotas,
        Part::LimitRanges,
    ];
    /// What resizing needs.
    pub(crate) const OF_RESIZING: [Part; 4] =
        [Part::Classes, Part::Autoscalers, Part::Quotas, Part::LimitRanges];

    /// The word in the answer and in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Part::Certificate => "certificate",
            Part::Pods => "pods",
            Part::Nodes => "nodes",
            Part::Namespaces => "namespaces",
            Part::SigningKeys => "signing_keys",
            Part::Lease => "lease",
            Part::Control => "control",
            Part::Classes => "sla_classes",
            Part::Autoscalers => "autoscalers",
            Part::Quotas => "resource_quotas",
            Part::LimitRanges => "limit_ranges",
        }
    }

    fn is_needed(self) -> bool {
        !matches!(self, Part::SigningKeys | Part::Lease | Part::Control) && !Part::OF_RESIZING.contains(&self)
    }
}

/// A cheap clone of the shared state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeMap<Part, State>>>);

#[derive(Debug, Clone, Default)]
struct State {
    done: bool,
    problem: Option<String>,
}

impl Readiness {
    /// Nothing is ready yet.
    pub(crate) fn new() -> Readiness {
        Readiness::default()
    }

    /// The part is ready, for good.
    pub(crate) fn done(&self, part: Part) {
        self.lock().entry(part).or_default().done = true;
        self.recovered(part);
    }

    /// The part works again; this alone does not make it ready.
    pub(crate) fn recovered(&self, part: Part) {
        let was = self.lock().entry(part).or_default().problem.take();
        if was.is_some() {
            tracing::info!(part = part.as_str(), "works again");
        }
    }

    /// The part fails for this reason; if it was ready, it stays so.
    pub(crate) fn failed(&self, part: Part, problem: &str) {
        let mut states = self.lock();
        let state = states.entry(part).or_default();
        if state.problem.as_deref() != Some(problem) {
            tracing::warn!(part = part.as_str(), problem, "fails, retrying");
            state.problem = Some(problem.to_owned());
        }
    }

    /// Whether reports can be accepted.
    pub(crate) fn is_ready(&self) -> bool {
        let states = self.lock();
        Part::ALL
            .iter()
            .filter(|part| part.is_needed())
            .all(|part| states.get(part).is_some_and(|state| state.done))
    }

    /// One line for each part: `certificate: ready`, `pods: not yet (why)`. What resizing needs is there once something is known of it.
    pub(crate) fn text(&self) -> String {
        let states = self.lock();
        let mut text = String::new();
        let asked = |part: &Part| !Part::OF_RESIZING.contains(part) || states.contains_key(part);
        for part in Part::ALL.into_iter().filter(asked) {
            let State { done, problem } = states.get(&part).cloned().unwrap_or_default();
            let word = if done { "ready" } else { "not yet" };
            let problem = problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}: {word}{problem}", part.as_str());
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_the_certificate_and_the_lists_but_neither_the_lease_nor_the_keys() {
        let readiness = Readiness::new();
        for part in [Part::Pods, Part::Nodes, Part::Namespaces] {
            readiness.done(part);
        }
        readiness.failed(Part::Certificate, "no Secret");
        readiness.failed(Part::Lease, "no Lease");
        readiness.failed(Part::SigningKeys, "not served");
        assert!(!readiness.is_ready());
        assert!(readiness.text().contains("certificate: not yet (no Secret)"), "{}", readiness.text());
        readiness.done(Part::Certificate);
        assert!(readiness.is_ready());
        readiness.failed(Part::Pods, "the watch broke");
        assert!(readiness.is_ready(), "a later hiccup does not take the process out of service");
        assert!(readiness.text().contains("pods: ready (the watch broke)"));
    }
}
