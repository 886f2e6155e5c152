//! Who is served first among those of one class: from a report to the criteria of `crates/sizing`.

use std::fmt;

use plimsoll_contract::{Bytes, Resource};
use plimsoll_sizing::urgency::{Criteria, Terms, Weights, score};

use super::view::ContainerView;

/// The urgency of one growth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Urgency {
    /// 0 to 1.
    pub(super) score: f64,
    criteria: Option<(Criteria, Weights)>,
}

impl Urgency {
    /// Of one resource of a container.
    pub(super) fn of(resource: Resource, container: &ContainerView<'_>, weights: &Weights) -> Urgency {
        let criteria = match resource {
            Resource::Cpu => of_cpu(container),
            Resource::Memory => of_memory(container),
        };
        Urgency { score: score(&criteria, weights), criteria: Some((criteria, *weights)) }
    }
}

fn of_cpu(container: &ContainerView<'_>) -> Criteria {
    let cpu = container.report.map(|report| &report.cpu);
    let high = container.report.map(|_| container.cpu.high.as_secs_f64());
    // A container that just started has no 3 s yet.
    let throttled = cpu.and_then(|cpu| cpu.throttled3.or(cpu.throttled2));
    let utilization = cpu.and_then(|cpu| cpu.utilization3);
    Criteria::cpu(throttled, utilization, cpu.and_then(|cpu| cpu.pressure), high)
}

fn of_memory(container: &ContainerView<'_>) -> Criteria {
    let events = container.memory_events;
    let events = events.max.into_iter().chain(events.oom_kill).reduce(u64::saturating_add);
    if container.is_down_after_kill() {
        // It had used its limit.
        return Criteria::memory(events.map(|events| events as f64), Some(1.0), None, Some(0.0));
    }
    let Some(memory) = container.report.map(|report| &report.memory) else {
        return Criteria::memory(None, None, None, None);
    };
    let limit = container.size(Resource::Memory).limit.map(|limit| limit as f64);
    let used = memory.working_set.map(Bytes::as_f64).zip(limit).map(|(used, limit)| used / limit);
    let left =
        memory.unreclaimable.map(Bytes::as_f64).zip(limit).map(|(used, limit)| (limit - used).max(0.0));
    let seconds =
        memory.growth.zip(left).map(|(rate, left)| if rate > 0.0 { left / rate } else { f64::INFINITY });
    Criteria::memory(events.map(|events| events as f64), used, memory.pressure, seconds)
}

/// `U 0.45 [throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12]`.
impl fmt::Display for Urgency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.criteria {
            Some((criteria, weights)) => write!(f, "U {:.2} {}", self.score, Terms(criteria, weights)),
            None => write!(f, "U {:.2}", self.score),
        }
    }
}
