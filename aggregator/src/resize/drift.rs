//! What the kernel says beside the spec while nobody resizes: limits that another hand wrote into the cgroups, and the pod's own cgroup that a
//! resize left behind. Both are said once each time; nothing is sent against them. What differs is one resource of one container: the others
//! are resized as ever.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::report::ContainerReport;
use plimsoll_contract::{Limit, Moment, Resource};
use plimsoll_sizing::size::Sizes;

use super::What;
use super::sizes::{resizable, sizes_of};
use super::verify::{Seen, holds_memory, holds_quota, pod_cgroup_below, stale_pod_cgroup};
use crate::facts::PodFacts;

/// How long limits must differ: less is a resize of somebody's that is under way.
const LASTING: Duration = Duration::from_secs(60);
/// How long the pod's own cgroup must be behind: the kubelet writes one after the other, and they are read one after the other.
const BEHIND: Duration = Duration::from_secs(15);

/// One difference.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Difference {
    since: Option<Moment>,
    /// What the kernel is to have, or the generation that says so.
    of: Option<i64>,
    /// What is said of it, once it lasts.
    said: Option<String>,
}

/// The limits in which the kernel differs from the spec, by container and resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Drifts(BTreeMap<(String, Resource), Difference>);

impl Difference {
    pub(super) fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    pub(super) fn is_there(&self) -> bool {
        self.since.is_some()
    }

    fn end(&mut self) {
        *self = Difference::default();
    }

    /// The difference is there. Whether it has lasted now, and was not said yet.
    fn lasts(&mut self, now: Moment, of: Option<i64>, text: String, lasting: Duration) -> Option<String> {
        // Somebody resized it in between: the kernel follows in a moment.
        if self.of != of {
            *self = Difference { of, ..Difference::default() };
        }
        let since = *self.since.get_or_insert(now);
        if self.said.is_some() || now.since(since) < lasting {
            return None;
        }
        self.said = Some(text.clone());
        Some(text)
    }

    /// Compares the pod's own cgroup with its containers'; also with the bytes of memory that they were started with, where that is known. A pod
    /// with limits of its own may have less than its containers together.
    pub(super) fn compare_pod(
        &mut self,
        now: Moment,
        facts: &PodFacts,
        seen: &Seen,
        started_with: Option<u64>,
    ) -> Option<What> {
        let below = || pod_cgroup_below(facts, seen, started_with?);
        let behind = || stale_pod_cgroup(seen).or_else(below);
        match facts.pod_resources.is_none().then(behind).flatten() {
            None => {
                self.end();
                None
            }
            Some(text) => {
                self.lasts(now, facts.generation, text, BEHIND).map(|text| What::PodCgroupStale { text })
            }
        }
    }
}

impl Drifts {
    pub(super) fn said(&self, container: &str, resource: Resource) -> Option<&str> {
        self.0.iter().find(|((name, of), _)| name == container && *of == resource)?.1.said()
    }

    /// A resize from one size to the other was accepted: the kernel is to have something else now.
    pub(super) fn resized(&mut self, from: &BTreeMap<String, Sizes>, to: &BTreeMap<String, Sizes>) {
        self.0.retain(|(name, resource), _| {
            let of = |sizes: &BTreeMap<String, Sizes>| sizes.get(name).map(|sizes| sizes[*resource]);
            of(from) == of(to)
        });
    }

    /// Compares the kernel's limits with the spec's. What was not read is not known to differ, nor not to.
    pub(super) fn compare(&mut self, now: Moment, facts: &PodFacts, seen: &Seen) -> Vec<What> {
        let mut said = Vec::new();
        self.0.retain(|(name, _), _| resizable(facts).any(|container| container.name == *name));
        for container in resizable(facts) {
            let Some(read) = seen.of(container) else { continue };
            let spec = sizes_of(&container.spec);
            for resource in Resource::ALL {
                let key = (container.name.clone(), resource);
                let limit = spec[resource].limit;
                let found =
                    limit.map_or(Some(None), |asked| difference(&container.name, resource, asked, read));
                match found {
                    None => {}
                    Some(None) => drop(self.0.remove(&key)),
                    Some(Some(text)) => {
                        let of = limit.and_then(|limit| i64::try_from(limit).ok());
                        let text = self.0.entry(key).or_default().lasts(now, of, text, LASTING);
                        said.extend(text.map(|text| What::Drift { text }));
                    }
                }
            }
        }
        said
    }
}

/// How the kernel's limit of a container differs from the one in the spec. Absent: that is not known.
fn difference(name: &str, resource: Resource, asked: u64, read: &ContainerReport) -> Option<Option<String>> {
    Some(match resource {
        Resource::Cpu => match read.cpu.limit_cores? {
            // No quota at all is how the node is set up, or the container has CPUs of its own: nobody wrote another one.
            Limit::Of(bound) if !holds_quota(asked, Limit::Of(bound)) => {
                Some(format!("{name}: the kernel's CPU limit is {bound}, the spec's {asked}m"))
            }
            _ => None,
        },
        Resource::Memory => match read.memory.limit? {
            kernel if holds_memory(asked, kernel) => None,
            Limit::Unlimited => {
                Some(format!("{name}: the kernel's memory limit is none, the spec's {asked} bytes"))
            }
            Limit::Of(kernel) => Some(format!(
                "{name}: the kernel's memory limit is {} bytes, the spec's {asked} bytes",
                kernel.0
            )),
        },
    })
}
