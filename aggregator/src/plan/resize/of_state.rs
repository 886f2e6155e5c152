//! The view of a node, from the state.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Band, Moment, NodeName, PodName, Resource, keys};

use super::birth::{MAX_LOOKED_AT, MAX_SIBLINGS, NEW_FOR};
use super::headroom::Booked;
use super::view::{
    ContainerView, Machine, NodeView, PodQuotas, PodView, Reserved, ResourceView, ValueQuotas, millicores,
};
use crate::facts::{ContainerFacts, PodFacts};
use crate::input::Now;
use crate::resize::sizes_of;
use crate::state::{Counted, Pod, State};

/// Bytes of a pod's name that Kubernetes keeps of its controller's: then come random letters.
const NAME_KEPT: usize = 58;

/// What is known of a node and its pods; none for one that is not known at all.
pub(crate) fn node_view<'a>(
    state: &'a State,
    name: &'a NodeName,
    now: Now,
    decreases_paused: Option<Moment>,
) -> Option<NodeView<'a>> {
    let node = state.nodes.get(name)?;
    let pods: Vec<&Pod> = node.pods.iter().filter_map(|pod| state.pods.get(pod)).map(Box::as_ref).collect();
    let wall = now.wall.to_zoned(TimeZone::UTC);
    let mut limit_ranges = BTreeMap::new();
    for pod in &pods {
        let namespace = pod.facts.pod.namespace.as_ref();
        if state.is_managed(&pod.facts) && !limit_ranges.contains_key(namespace) {
            limit_ranges.insert(namespace, state.limit_range(namespace));
        }
    }
    Some(NodeView {
        facts: node.facts.as_ref(),
        report_age: node.reported.map(|reported| now.at.since(reported)),
        capacity: node.capacity,
        machine: machine(state, name),
        memory_shrinks_stopped: node.memory_shrinks.stopped(now.at),
        decreases_paused,
        week_time: (
            u8::try_from(wall.weekday().to_monday_one_offset()).unwrap_or(1),
            u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap_or(0),
        ),
        bounds_known: state.knows_bounds(),
        pods: pods.into_iter().map(|pod| pod_view(state, pod, now.at)).collect(),
        limit_ranges,
    })
}

/// What is known of a pod. Only that of a pod with a class is complete.
pub(crate) fn pod_view<'a>(state: &'a State, pod: &'a Pod, now: Moment) -> PodView<'a> {
    let facts = &pod.facts;
    let class = state.policy(facts);
    let managed = matches!(class, Some(Ok(_)));
    let original = pod.original.as_ref().ok().and_then(Option::as_ref);
    let newborn = managed
        && pod.original == Ok(None)
        && pod.appeared.is_some_and(|appeared| now.since(appeared) < NEW_FOR);
    let containers = facts.containers.iter().filter(|container| managed && container.kind.counts());
    let containers = containers.map(|container| {
        let report = pod.containers.iter().find(|report| Some(&report.id) == container.id.as_ref());
        let original = original.and_then(|all| all.get(&container.name));
        ContainerView {
            facts: container,
            report,
            original: original.copied().unwrap_or_else(|| sizes_of(&container.spec)),
            memory_events: memory_events(pod, now, &container.name),
            cpu_growth: pod.resize.cpu_growth(now, &container.name),
            cpu: resource_view(state, pod, container, Resource::Cpu, now),
            memory: resource_view(state, pod, container, Resource::Memory, now),
        }
    });
    let containers = containers.collect();
    let quotas = |resource| ValueQuotas {
        requests: state.quota_room(facts, resource, Counted::Requests),
        limits: state.quota_room(facts, resource, Counted::Limits),
    };
    PodView {
        facts,
        left_alone: state.left_alone(facts),
        class,
        quotas: match managed {
            true => PodQuotas { cpu: quotas(Resource::Cpu), memory: quotas(Resource::Memory) },
            false => PodQuotas::default(),
        },
        report_age: (!pod.containers.is_empty()).then(|| now.since(pod.confirmed)),
        reserved: if pod.resize.takes_plans() { Reserved::new() } else { reserved(pod) },
        in_flight: !pod.resize.takes_plans(),
        blocked: if managed {
            pod.resize.blocked(now, pod.original.as_ref().err().map(String::as_str))
        } else {
            None
        },
        deferred: pod.resize.deferred_size(),
        newborn,
        siblings: if newborn { siblings(state, facts) } else { Vec::new() },
        containers,
    }
}

fn resource_view<'a>(
    state: &'a State,
    pod: &'a Pod,
    container: &'a ContainerFacts,
    resource: Resource,
    now: Moment,
) -> ResourceView<'a> {
    let (facts, name) = (&pod.facts, container.name.as_str());
    let history = pod.load(resource);
    let of_it = history.load.container.as_ref().is_none_or(|hottest| Some(hottest) == container.id.as_ref());
    let is_high = history.band() == Some(Band::High) && of_it;
    ResourceView {
        since_growth: pod.resize.since_growth(now, name, resource),
        since_shrink: pod.resize.since_shrink(now, name, resource),
        since_pressure: pod.resize.since_pressure(now, name, resource),
        held: pod.resize.held(now, resource),
        drift: pod.resize.drift(name, resource),
        high: if is_high { now.since(history.band_changed) } else { Duration::ZERO },
        autoscaler: state.autoscaler_on(facts, name, resource),
        bounds: facts.bounds.as_ref().map(|bounds| bounds.of(name, resource)),
    }
}

fn memory_events(pod: &Pod, now: Moment, container: &str) -> MemoryEvents {
    let counts = pod.resize.recent_memory_events(now, container);
    MemoryEvents { high: None, max: Some(counts.max), oom_kill: Some(counts.oom_kill) }
}

/// What its resize books, also if it is only planned.
fn reserved(pod: &Pod) -> Reserved<'_> {
    let containers = pod.facts.containers.iter().filter(|_| pod.resize.busy());
    let both =
        containers.flat_map(|container| Resource::ALL.map(|resource| (container.name.as_str(), resource)));
    both.filter_map(|(name, resource)| Some(((name, resource), pod.resize.reserved(name, resource)?)))
        .collect()
}

/// The machine, where other nodes run on it too.
fn machine(state: &State, name: &NodeName) -> Option<Machine> {
    let others: Vec<_> = state.machines.others(name).filter_map(|other| state.nodes.get(other)).collect();
    if others.is_empty() {
        return None;
    }
    let mut booked = Booked::default();
    for pod in others.iter().flat_map(|node| &node.pods).filter_map(|pod| state.pods.get(pod)) {
        booked.add(&pod.facts, &reserved(pod));
    }
    let own = state.nodes.get(name).into_iter();
    let capacities: Vec<_> = own.chain(others).filter_map(|node| node.capacity).collect();
    let cores = capacities.iter().map(|capacity| millicores(capacity.cpus.unwrap_or(capacity.cores)));
    let limited = capacities.iter().any(|capacity| capacity.cpus.is_some());
    let bytes = capacities.iter().map(|capacity| capacity.bytes.0).max();
    Some(Machine { cpu: cores.max()?, memory: bytes.filter(|_| !limited), others: booked })
}

/// Live pods of the same controller and template: their names begin with the controller's. Those are looked at that come next after the pod's
/// own, in a circle, and only so many of them: many pods may be new at once.
fn siblings<'a>(state: &'a State, facts: &PodFacts) -> Vec<&'a PodFacts> {
    let Some((_, controller)) = facts.controller.as_deref().and_then(|controller| controller.split_once('/'))
    else {
        return Vec::new();
    };
    let (namespace, start) = (&facts.pod.namespace, controller.get(..NAME_KEPT).unwrap_or(controller));
    let is_named = |other: &&PodFacts| other.pod.namespace == *namespace && other.pod.name.starts_with(start);
    let after = state.pods.range(facts.pod.clone()..).map(|(_, pod)| &pod.facts).take_while(is_named);
    let first = PodName::new(namespace, start);
    let before = state.pods.range(first..).map(|(_, pod)| &pod.facts).take_while(is_named);
    let before = before.take_while(|other| other.pod < facts.pod);
    let is_live = |other: &&PodFacts| !other.finished && !other.terminating && other.node.is_some();
    let is_same = |other: &&PodFacts| {
        other.controller == facts.controller && other.revision == facts.revision && other.pod != facts.pod
    };
    // Of one that was not sized yet the size says nothing but what the template says.
    let is_sized = |other: &&PodFacts| other.annotations.contains_key(keys::ORIGINAL_RESOURCES);
    let looked_at = after.chain(before).take(MAX_LOOKED_AT);
    looked_at.filter(is_same).filter(is_live).filter(is_sized).take(MAX_SIBLINGS).collect()
}
