//! What the kernel says beside the spec while nobody resizes: limits that another hand wrote into the cgroups, and the pod's own cgroup that a
//! resize left behind. Both are said once each time; nothing is sent against them.

use std::time::Duration;

use plimsoll_contract::{Limit, Moment};

use super::verify::{Seen, holds_memory, holds_quota, stale_pod_cgroup};
use super::{What, spec_of};
use crate::facts::PodFacts;

/// How long limits must differ: less is a resize of somebody's that is under way.
const LASTING: Duration = Duration::from_secs(60);
/// How long the pod's own cgroup must be behind: the kubelet writes one after the other, and they are read one after the other.
const BEHIND: Duration = Duration::from_secs(15);

/// One kind of difference.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Difference {
    since: Option<Moment>,
    generation: Option<i64>,
    /// What is said of it, once it lasts.
    said: Option<String>,
}

impl Difference {
    pub(super) fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    pub(super) fn is_there(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn end(&mut self) {
        *self = Difference::default();
    }

    /// The difference is there. Whether it has lasted now, and was not said yet.
    fn lasts(&mut self, now: Moment, facts: &PodFacts, text: String, lasting: Duration) -> Option<String> {
        // Somebody resized the pod in between: the kernel follows in a moment.
        if self.generation != facts.generation {
            *self = Difference { generation: facts.generation, ..Difference::default() };
        }
        let since = *self.since.get_or_insert(now);
        if self.said.is_some() || now.since(since) < lasting {
            return None;
        }
        self.said = Some(text.clone());
        Some(text)
    }

    /// Compares the kernel's limits with the spec's.
    pub(super) fn compare(&mut self, now: Moment, facts: &PodFacts, seen: &Seen) -> Option<What> {
        match difference(facts, seen)? {
            None => {
                self.end();
                None
            }
            Some(text) => self.lasts(now, facts, text, LASTING).map(|text| What::Drift { text }),
        }
    }

    /// Compares the pod's own cgroup with its containers'.
    pub(super) fn compare_pod(&mut self, now: Moment, facts: &PodFacts, seen: &Seen) -> Option<What> {
        match stale_pod_cgroup(seen) {
            None => {
                self.end();
                None
            }
            Some(text) => self.lasts(now, facts, text, BEHIND).map(|text| What::PodCgroupStale { text }),
        }
    }
}

/// Where the kernel's limits are not the spec's. Absent: they are not known.
fn difference(facts: &PodFacts, seen: &Seen) -> Option<Option<String>> {
    for (name, spec) in spec_of(facts) {
        let container = facts.containers.iter().find(|container| container.name == name)?;
        let Some(read) = seen.of(container) else {
            if spec.cpu.limit.is_some() || spec.memory.limit.is_some() {
                return None;
            }
            continue;
        };
        if let Some(asked) = spec.cpu.limit {
            let kernel = read.cpu.limit_cores?;
            // No quota at all is how the node is set up, or the container has CPUs of its own: nobody wrote another one.
            if let Limit::Of(bound) = kernel
                && !holds_quota(asked, kernel)
            {
                let kernel = bound.to_string();
                return Some(Some(format!(
                    "{name}: the kernel's CPU limit is {kernel}, the spec's {asked}m"
                )));
            }
        }
        if let Some(asked) = spec.memory.limit {
            let kernel = read.memory.limit?;
            if !holds_memory(asked, kernel) {
                let kernel = match kernel {
                    Limit::Unlimited => "none".to_owned(),
                    Limit::Of(kernel) => format!("{} bytes", kernel.0),
                };
                return Some(Some(format!(
                    "{name}: the kernel's memory limit is {kernel}, the spec's {asked} bytes"
                )));
            }
        }
    }
    Some(None)
}
