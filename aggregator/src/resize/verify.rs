//! Whether a resize is done: limits as the node's cgroups say, requests as the kubelet's status says.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::report::{ContainerReport, PodCgroup, PodReport};
use plimsoll_contract::{Bytes, Cores, Limit, Moment, Resource};
use plimsoll_sizing::size::Sizes;

use super::conditions::{Progress, has_seen, progress};
use super::phase::Accepted;
use super::sizes::{resizable, sizes_of};
use crate::facts::{ContainerFacts, PodFacts};

/// The least quota that the kubelet sets, millicores.
const MIN_QUOTA: f64 = 10.0;
/// systemd rounds a quota up to the next 10 ms of CPU time a second, millicores: 417m becomes 420m.
const QUOTA_STEP: f64 = 10.0;
/// The largest page that Linux uses, in bytes; limits of memory are rounded down to whole pages.
const PAGE: u64 = 64 << 10;

/// What a report says of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) containers: &'a [ContainerReport],
    /// The pod's own cgroup.
    pub(crate) cgroup: PodCgroup,
}

impl<'a> From<&'a PodReport> for Seen<'a> {
    fn from(report: &'a PodReport) -> Seen<'a> {
        Seen { containers: &report.containers, cgroup: report.cgroup.unwrap_or_default() }
    }
}

impl<'a> Seen<'a> {
    /// The numbers of the container that has this id; absent after a restart, until it is reported.
    pub(super) fn of(&self, facts: &'a ContainerFacts) -> Option<&'a ContainerReport> {
        self.containers.iter().find(|container| facts.id.as_ref() == Some(&container.id))
    }
}

/// Whether the kernel holds a quota that was asked for, in millicores.
pub(super) fn holds_quota(asked: u64, kernel: Limit<Cores>) -> bool {
    let asked = (asked as f64).max(MIN_QUOTA);
    kernel.bound().is_some_and(|kernel| {
        let above = kernel.0 * 1000.0 - asked;
        (-0.5..QUOTA_STEP - 0.5).contains(&above)
    })
}

/// Whether the kernel holds a limit of memory that was asked for, in bytes.
pub(super) fn holds_memory(asked: u64, kernel: Limit<Bytes>) -> bool {
    kernel.bound().is_some_and(|kernel| kernel.0 <= asked && asked - kernel.0 < PAGE)
}

/// What the kernel holds of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Every limit that was asked for; also if none was.
    Holds,
    /// The same, but for CPU limits that nothing shows: the node sets no quota at all (`--cpu-cfs-quota=false`, or the container has CPUs of its
    /// own).
    HoldsButQuota,
    /// Another limit.
    Differs,
    /// A container does not run, or its limits were not read since.
    Unknown,
}

impl Kernel {
    /// Whether a resize is in the kernel. Of a quota that the node does not set, the kubelet's word for the generation is all there is.
    pub(super) fn shows(self, facts: &PodFacts, accepted: &Accepted) -> bool {
        let before = &accepted.resize.conditions_before;
        match self {
            Kernel::Holds => true,
            Kernel::HoldsButQuota => {
                requests_are_set(facts, &accepted.resize.wanted.sizes, accepted.generation)
                    && progress(facts, accepted.generation, before) == Progress::Nothing
            }
            Kernel::Differs | Kernel::Unknown => false,
        }
    }
}

/// Whether the kernel holds these limits, read after `since`.
pub(super) fn kernel(
    now: Moment,
    facts: &PodFacts,
    seen: &Seen,
    asked: &BTreeMap<String, Sizes>,
    since: Option<Moment>,
) -> Kernel {
    let (mut result, mut is_shown) = (Kernel::Holds, true);
    for container in resizable(facts) {
        let Some(asked) = asked.get(&container.name) else { continue };
        if asked.cpu.limit.is_none() && asked.memory.limit.is_none() {
            continue;
        }
        let Some(read) = seen.of(container).filter(|read| is_read_since(now, read, since)) else {
            return Kernel::Unknown;
        };
        let has_quota = read.cpu.limit_cores != Some(Limit::Unlimited);
        is_shown &= has_quota || asked.cpu.limit.is_none();
        let cpu = asked.cpu.limit.filter(|_| has_quota);
        let cpu = cpu.map(|asked| read.cpu.limit_cores.map(|kernel| holds_quota(asked, kernel)));
        let memory =
            asked.memory.limit.map(|asked| read.memory.limit.map(|kernel| holds_memory(asked, kernel)));
        for held in [cpu, memory].into_iter().flatten() {
            match held {
                None => return Kernel::Unknown,
                Some(false) => result = Kernel::Differs,
                Some(true) => {}
            }
        }
    }
    match result {
        Kernel::Holds if !is_shown => Kernel::HoldsButQuota,
        result => result,
    }
}

fn is_read_since(now: Moment, read: &ContainerReport, since: Option<Moment>) -> bool {
    let Some(since) = since else { return true };
    let age = read.limits_age.and_then(|age| Duration::try_from_secs_f64(age).ok());
    age.is_some_and(|age| now.earlier_by(age) >= since)
}

/// Whether the kubelet's status says that it has set these requests aside, or has applied them, at our generation or a later one. While it says
/// that it still works on it, that is no proof.
pub(super) fn requests_are_set(
    facts: &PodFacts,
    asked: &BTreeMap<String, Sizes>,
    generation: Option<i64>,
) -> bool {
    has_seen(facts, generation)
        && resizable(facts).filter_map(|c| Some((c, asked.get(&c.name)?))).all(|(container, asked)| {
            let says = [&container.allocated, &container.actual].map(|said| said.as_ref().map(sizes_of));
            Resource::ALL.into_iter().all(|resource| {
                let request = asked[resource].request;
                // One of the two may lack the resource (kubernetes/kubernetes#141814), and what is read back from the kernel's weight of CPU may
                // be rounded: the other says it then.
                request.is_none_or(|request| {
                    says.iter().flatten().any(|said| said[resource].request == Some(request))
                })
            })
        })
}

/// Whether the kubelet's status says no other limits: what is missing in it contradicts nothing. Of a container that is down it says what it has set aside for its next start.
pub(super) fn limits_are_set(facts: &PodFacts, asked: &BTreeMap<String, Sizes>) -> bool {
    resizable(facts).filter_map(|c| Some((c.actual.as_ref()?, asked.get(&c.name)?))).all(|(actual, asked)| {
        let actual = sizes_of(actual);
        Resource::ALL.into_iter().all(|resource| {
            let said = actual[resource].limit;
            said.is_none() || said == asked[resource].limit
        })
    })
}

/// What is wrong with the pod's own cgroup after a container for which a size was set aside has started: its limit is below the bytes that its
/// containers were started with together. They may be killed again before anybody reads theirs.
pub(super) fn pod_cgroup_below(facts: &PodFacts, seen: &Seen, started_with: u64) -> Option<String> {
    let own = seen.cgroup.limit_bytes.and_then(Limit::bound)?;
    let rounding = PAGE * (resizable(facts).count() as u64 + 1);
    (own.0.saturating_add(rounding) <= started_with).then(|| {
        format!(
            "the pod's own memory limit is {own}, its containers were started with {} together",
            Bytes(started_with)
        )
    })
}

/// What is wrong with the pod's own cgroup: its limit is below that of its containers together, so that more for a container changes nothing
/// (kubernetes/kubernetes#138760).
pub(super) fn stale_pod_cgroup(seen: &Seen) -> Option<String> {
    let bound = |container: &ContainerReport| container.cpu.limit_cores.and_then(Limit::bound);
    let cpu: Option<f64> = seen.containers.iter().map(|c| bound(c).map(|cores| cores.0)).sum();
    let mut limits = seen.containers.iter().map(|c| Some(c.memory.limit.and_then(Limit::bound)?.0));
    let memory = limits.try_fold(0_u64, |sum, limit| Some(sum.saturating_add(limit?)));
    let containers = seen.containers.len() as u64;
    if let (Some(own), Some(cpu)) = (seen.cgroup.limit_cores.and_then(Limit::bound), cpu)
        && own.0 * 1000.0 + QUOTA_STEP * (containers + 1) as f64 <= cpu * 1000.0
    {
        return Some(format!(
            "the pod's own CPU limit is {own}, its containers have {} together",
            Cores(cpu)
        ));
    }
    if let (Some(own), Some(memory)) = (seen.cgroup.limit_bytes.and_then(Limit::bound), memory)
        && own.0.saturating_add(PAGE * (containers + 1)) <= memory
    {
        return Some(format!(
            "the pod's own memory limit is {own}, its containers have {} together",
            Bytes(memory)
        ));
    }
    None
}
