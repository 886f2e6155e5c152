//! What `/readyz` says: what must have happened once, and what stands in its way.
//!
//! Ready means that reports can be taken in: a certificate is loaded and the watches have listed everything. Whether
//! this replica leads, is paused or withholds writes does not matter here. Failures are logged when they begin and
//! when they change, not at every try.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that must have happened once, or that people want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A certificate is loaded.
    Identity,
    /// The pods are listed.
    Pods,
    /// The nodes are listed.
    Nodes,
    /// The namespaces are listed.
    Namespaces,
    /// The Lease is ours. Not needed to be ready.
    Lease,
    /// The pause switch is watched. Not needed to be ready; nothing is written before.
    Control,
}

impl Part {
    const ALL: [Part; 6] =
        [Part::Identity, Part::Pods, Part::Nodes, Part::Namespaces, Part::Lease, Part::Control];

    /// The word in the answer and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Identity => "certificate",
            Part::Pods => "pods",
            Part::Nodes => "nodes",
            Part::Namespaces => "namespaces",
            Part::Lease => "lease",
            Part::Control => "control",
        }
    }

    fn is_needed(self) -> bool {
        !matches!(self, Part::Lease | Part::Control)
    }
}

/// A cheap clone of the shared state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<Part, State>>>);

#[derive(Debug, Clone, Default)]
struct State {
    done: bool,
    problem: Option<String>,
}

impl Readiness {
    /// Nothing has happened yet.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// It has happened, for good.
    pub fn done(&self, part: Part) {
        self.lock().entry(part).or_default().done = true;
        self.fine(part);
    }

    /// It works (again); this alone makes nothing ready.
    pub fn fine(&self, part: Part) {
        let was = self.lock().entry(part).or_default().problem.take();
        if was.is_some() {
            tracing::info!(part = part.as_str(), "works again");
        }
    }

    /// It does not work, for this reason; what has happened stays so.
    pub fn failed(&self, part: Part, problem: &str) {
        let mut states = self.lock();
        let state = states.entry(part).or_default();
        if state.problem.as_deref() != Some(problem) {
            tracing::warn!(part = part.as_str(), problem, "does not work, trying again");
            state.problem = Some(problem.to_owned());
        }
    }

    /// Whether reports can be taken in.
    pub fn is_ready(&self) -> bool {
        let states = self.lock();
        Part::ALL
            .iter()
            .filter(|part| part.is_needed())
            .all(|part| states.get(part).is_some_and(|state| state.done))
    }

    /// One line for each part: `certificate: ready`, `pods: not yet (why)`.
    pub fn text(&self) -> String {
        let states = self.lock();
        let mut text = String::new();
        for part in Part::ALL {
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
    fn ready_needs_the_certificate_and_the_lists_but_not_the_lease() {
        let readiness = Readiness::new();
        for part in [Part::Pods, Part::Nodes, Part::Namespaces] {
            readiness.done(part);
        }
        readiness.failed(Part::Identity, "no Secret");
        readiness.failed(Part::Lease, "no Lease");
        assert!(!readiness.is_ready());
        assert!(readiness.text().contains("certificate: not yet (no Secret)"), "{}", readiness.text());
        readiness.done(Part::Identity);
        assert!(readiness.is_ready());
        readiness.failed(Part::Pods, "the watch broke");
        assert!(readiness.is_ready(), "a later hiccup does not take the process out of service");
        assert!(readiness.text().contains("pods: ready (the watch broke)"));
    }
}
