//! Which pods, and which resources of their containers, may be resized at all; a reason for every one that may not.

use std::time::Duration;

use plimsoll_contract::Resource;
use plimsoll_contract::status::LeftAlone;
use plimsoll_sizing::policy::Policy;

use super::refusal::Refusal;
use super::view::{ContainerView, NodeView, PodView};
use crate::facts::{PodFacts, Resources};
use crate::resize::Blocked;

/// A node whose agent is late, without a report for this long, gets no resize.
pub(crate) const LATE_AFTER: Duration = Duration::from_secs(30);
/// A growth is for the load of now. Pods under pressure are reported every second, the others every 10 s: what was seen before their last
/// growth must not make them grow again.
pub(crate) const GROWTH_SEEN_WITHIN: Duration = Duration::from_secs(3);
/// Classes for whose pods the kubelet evicts others.
const CRITICAL: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

/// The class of a pod.
///
/// # Errors
/// Why it has none.
pub(crate) fn class<'a>(pod: &PodView<'a>) -> Result<&'a Policy, Refusal> {
    let class = pod.class.ok_or(Refusal::NoClass)?;
    class.map_err(Refusal::from)
}

/// What about a pod itself keeps it from being resized, whatever its class: that which lasts first.
pub(crate) fn obstacle(pod: &PodView<'_>) -> Option<Refusal> {
    let facts = pod.facts;
    if let Some(reason) = pod.left_alone {
        return Some(match reason {
            LeftAlone::PodIgnored | LeftAlone::NamespaceIgnored => Refusal::Ignored,
            LeftAlone::SystemNamespace => Refusal::SystemNamespace,
            LeftAlone::Finished => Refusal::Finished,
        });
    }
    if facts.finished {
        return Some(Refusal::Finished);
    }
    if facts.terminating {
        return Some(Refusal::Terminating);
    }
    if is_static(facts) {
        return Some(Refusal::StaticPod);
    }
    let critical = facts.priority_class.as_deref().filter(|class| CRITICAL.contains(class));
    if let Some(class) = critical {
        return Some(Refusal::CriticalPod(class.to_owned()));
    }
    if facts.pod_resources.is_some() {
        return Some(Refusal::PodLevelResources);
    }
    if is_best_effort(facts) {
        return Some(Refusal::BestEffort);
    }
    let runs = facts.containers.iter().any(|c| c.kind.counts() && c.running);
    if facts.node.is_none() || !(runs || pod.containers.iter().any(ContainerView::is_down_after_kill)) {
        return Some(Refusal::NotRunning);
    }
    if pod.in_flight {
        return Some(Refusal::InFlight);
    }
    match pod.blocked.clone() {
        Some(Blocked::Yielding { owner, until }) => return Some(Refusal::Yielding { owner, until }),
        Some(Blocked::Failed { message, until }) => return Some(Refusal::Failed { message, until }),
        Some(Blocked::Unsupported { message }) => return Some(Refusal::Unsupported(message)),
        Some(Blocked::Original { message }) => return Some(Refusal::OriginalUnreadable(message)),
        // Of growth only, and of single resources.
        Some(Blocked::PodCgroupStale { .. } | Blocked::Drift { .. }) | None => {}
    }
    // None of ours is under way: what the kubelet still has to do is somebody else's, and ours would take it for its own.
    facts.pending_resize().map(|condition| {
        let said = [condition.reason.as_deref(), condition.message.as_deref()];
        Refusal::PendingResize(said.into_iter().flatten().collect::<Vec<_>>().join(": "))
    })
}

/// What keeps every pod of a node from being resized.
pub(crate) fn node_obstacle(node: &NodeView<'_>) -> Option<Refusal> {
    if !node.bounds_known {
        return Some(Refusal::BoundsUnknown);
    }
    let Some(facts) = node.facts else { return Some(Refusal::NodeUnknown) };
    if !facts.is_ready() {
        return Some(Refusal::NodeNotReady);
    }
    let reports = node.report_age.is_some_and(|age| age < LATE_AFTER);
    (!reports).then_some(Refusal::NodeSilent)
}

/// What keeps one resource of a container from being resized.
pub(crate) fn container_obstacle(
    container: &ContainerView<'_>,
    resource: Resource,
    policy: &Policy,
) -> Option<Refusal> {
    let facts = container.facts;
    // The kubelet sets more memory aside for its next start. Nothing else is known of it while it is down.
    if !(facts.running || resource == Resource::Memory && container.is_down_after_kill()) {
        return Some(Refusal::ContainerNotRunning);
    }
    let resize_policy = match resource {
        Resource::Cpu => facts.cpu_resize_policy.as_deref(),
        Resource::Memory => facts.memory_resize_policy.as_deref(),
    };
    if resize_policy == Some("RestartContainer") && !policy.allow_restart {
        return Some(Refusal::RestartContainer);
    }
    if let Some(Err(problem)) = container.resource(resource).bounds {
        return Some(Refusal::BadBounds(problem.to_owned()));
    }
    None
}

/// Its mirror carries the config hash of its manifest, where another pod has its uid.
fn is_static(facts: &PodFacts) -> bool {
    facts.mirror_of.is_some() || facts.controller.as_deref().is_some_and(|owner| owner.starts_with("Node/"))
}

/// As the API server says, and where it does not, as its resources say.
fn is_best_effort(facts: &PodFacts) -> bool {
    match facts.qos.as_deref() {
        Some(class) => class == "BestEffort",
        None => facts.containers.iter().all(|container| container.spec == Resources::default()),
    }
}
