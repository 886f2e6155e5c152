//! What a node has left for growth.
//!
//! ```text
//!   requests:     allocatable - sum over all its pods of max(spec, allocated, actual, in flight) - reserve
//!   memory limits: what is really free - growth of limits that the kernel does not enforce yet, in flight included - reserve
//! ```
//!
//! The scheduler and the kubelet count the same maximum while a resize is pending. Pods without a class count too, and pods that are bound
//! but do not run yet. A number that is missing makes the result unknown, or leaves the other numbers to decide; it is never zero.

use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, Resource};

use super::view::{Machine, NodeView, Reserved, millicores, size};
use crate::facts::{ContainerFacts, PodFacts, Resources};

/// The part of a node that is left free, in percent.
const RESERVE_PERCENT: u64 = 5;

/// Requests, and growth of memory limits that the kernel does not enforce yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Booked {
    /// Millicores.
    pub(crate) cpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Bytes.
    pub(crate) memory_limits_growing: u64,
    /// Some of that is not known.
    pub(crate) growth_unknown: bool,
}

/// What is left; absent where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Headroom {
    /// Millicores of requests.
    pub(crate) cpu: Option<u64>,
    /// Bytes of requests.
    pub(crate) memory: Option<u64>,
    /// Bytes of memory that is free.
    pub(crate) free_memory: Option<u64>,
}

impl Booked {
    /// What one more pod books. One that has finished books nothing.
    pub(crate) fn add(&mut self, facts: &PodFacts, reserved: &Reserved<'_>) {
        if facts.finished {
            return;
        }
        self.cpu = self.cpu.saturating_add(requests(facts, reserved, Resource::Cpu));
        self.memory = self.memory.saturating_add(requests(facts, reserved, Resource::Memory));
        match growing(facts, reserved) {
            Some(growing) => self.memory_limits_growing = self.memory_limits_growing.saturating_add(growing),
            None => self.growth_unknown = true,
        }
    }
}

/// What a node has left. `floor` is the least that a container of its classes is given, in millicores and bytes.
pub(crate) fn headroom(node: &NodeView<'_>, floor: [u64; 2]) -> Headroom {
    let mut booked = Booked::default();
    for pod in &node.pods {
        booked.add(pod.facts, &pod.reserved);
    }
    let growing = booked.memory_limits_growing;
    let reserve = |all: u64, floor: u64| (all / 100 * RESERVE_PERCENT).max(floor);
    let left =
        |all: u64, booked: u64, floor: u64| all.saturating_sub(booked).saturating_sub(reserve(all, floor));
    let cpu = node.facts.and_then(|facts| facts.allocatable_cpu).map(millicores);
    let memory = node.facts.and_then(|facts| facts.allocatable_memory).map(|bytes| bytes.0);
    let available = node.capacity.and_then(|capacity| capacity.available_bytes).map(|bytes| bytes.0);
    let total = node.capacity.map(|capacity| capacity.bytes.0);
    let others_unknown = node.machine.is_some_and(|machine| machine.others.growth_unknown);
    let available = available.filter(|_| !booked.growth_unknown && !others_unknown);
    let mut headroom = Headroom {
        cpu: cpu.map(|all| left(all, booked.cpu, floor[0])),
        memory: memory.map(|all| left(all, booked.memory, floor[1])),
        free_memory: available
            .zip(total)
            .map(|(free, all)| free.saturating_sub(growing).saturating_sub(reserve(all, floor[1]))),
    };
    // Each of the nodes of one machine says that it has all of it.
    if let Some(Machine { cpu, memory, others }) = node.machine {
        let machine_cpu = left(cpu, booked.cpu.saturating_add(others.cpu), floor[0]);
        headroom.cpu = headroom.cpu.map(|left| left.min(machine_cpu));
        if let Some(memory) = memory {
            let machine_memory = left(memory, booked.memory.saturating_add(others.memory), floor[1]);
            headroom.memory = headroom.memory.map(|left| left.min(machine_memory));
        }
        headroom.free_memory =
            headroom.free_memory.map(|free| free.saturating_sub(others.memory_limits_growing));
    }
    headroom
}

/// What one pod books: what its containers ask for at once; never less than its pod-level request. Its runtime's overhead comes on top.
fn requests(facts: &PodFacts, reserved: &Reserved<'_>, resource: Resource) -> u64 {
    let all = facts.containers.iter().map(|one| (one.kind, request(facts, one, reserved, resource)));
    let at_once = at_once(all);
    let of_pod = facts.pod_resources.as_ref().and_then(|resources| size(resources, resource).request);
    let overhead = match resource {
        Resource::Cpu => facts.overhead.0.map(millicores),
        Resource::Memory => facts.overhead.1.map(|Bytes(bytes)| bytes),
    };
    at_once.max(of_pod.unwrap_or(0)).saturating_add(overhead.unwrap_or(0))
}

/// What the containers of a pod, in the order of the spec, ask for at once: containers and sidecars together, or what an init container needs
/// beside the sidecars that started before it, if that is more.
pub(super) fn at_once(containers: impl Iterator<Item = (ContainerKind, u64)>) -> u64 {
    let (mut together, mut sidecars, mut initial) = (0_u64, 0_u64, 0_u64);
    for (kind, amount) in containers {
        match kind {
            ContainerKind::App => together = together.saturating_add(amount),
            ContainerKind::Sidecar => {
                together = together.saturating_add(amount);
                sidecars = sidecars.saturating_add(amount);
            }
            ContainerKind::Init => initial = initial.max(sidecars.saturating_add(amount)),
            ContainerKind::Ephemeral => {}
        }
    }
    together.max(initial)
}

/// The largest of the requests of a container that are known. One that is in none of them is no request. What its node has said to be infeasible
/// does not count, as it does not for the scheduler: anybody who may resize a pod could ask for a thousand cores.
pub(crate) fn request(
    pod: &PodFacts,
    container: &ContainerFacts,
    reserved: &Reserved<'_>,
    resource: Resource,
) -> u64 {
    let request = |resources: &Resources| size(resources, resource).request;
    let allocated = container.allocated.as_ref().and_then(request);
    let actual = container.actual.as_ref().and_then(request);
    let is_refused = pending_reason(pod) == Some("Infeasible") && allocated.or(actual).is_some();
    let spec = request(&container.spec).filter(|_| !is_refused);
    let in_flight = reserved.get(&(container.name.as_str(), resource)).into_iter().flatten();
    let in_flight = in_flight.filter_map(|size| size.request).max();
    [spec, allocated, actual, in_flight].into_iter().flatten().max().unwrap_or(0)
}

/// Why the newest resize of a pod is not allocated, in the kubelet's word: `Deferred` or `Infeasible`.
fn pending_reason(pod: &PodFacts) -> Option<&str> {
    let mut all = pod.conditions.iter();
    all.find(|one| one.kind == "PodResizePending" && one.status == "True")?.reason.as_deref()
}

/// How much of the memory limits of a pod, those of its resize in flight included, the kernel does not enforce yet; absent where that is not
/// known.
fn growing(facts: &PodFacts, reserved: &Reserved<'_>) -> Option<u64> {
    let bytes = |resources: &Resources| resources.memory_limit.map(|bytes| bytes.0);
    let mut growing = 0_u64;
    for container in &facts.containers {
        let in_flight = reserved.get(&(container.name.as_str(), Resource::Memory));
        let [before, after] = in_flight.map_or([None; 2], |sizes| sizes.map(|size| size.limit));
        // A limit that is not allocated does not grow before it is; ours, in flight, may be allocated at any moment.
        let spec = bytes(&container.spec).filter(|_| pending_reason(facts).is_none());
        let Some(most) = [spec, before, after].into_iter().flatten().max() else { continue };
        let stated = [&container.actual, &container.allocated].into_iter().flatten().find_map(bytes);
        // Where nothing changes, the kernel has what the spec says.
        let settled = spec.filter(|_| !container.running || facts.is_settled());
        let enforced = stated.or(before).or(settled)?;
        growing = growing.saturating_add(most.saturating_sub(enforced));
    }
    Some(growing)
}
