//! What one plan is made from: a node, its pods, and what is known about each, as plain values.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::report::{Capacity, ContainerReport, MemoryEvents};
use plimsoll_contract::status::LeftAlone;
use plimsoll_contract::{Bytes, Cores, Moment, Resource};
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::size::{Size, Sizes};

use super::headroom::Booked;
use crate::facts::{ContainerFacts, NodeFacts, PodFacts, Resources, UserBounds};
use crate::resize::{Blocked, CpuGrowth};
use crate::state::{LimitRanges, PolicyProblem, QuotaRoom};

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct NodeView<'a> {
    /// As the API server lists it.
    pub(crate) facts: Option<&'a NodeFacts>,
    /// Time since its last report was accepted; absent: there was none.
    pub(crate) report_age: Option<Duration>,
    /// As its agent reports it.
    pub(crate) capacity: Option<Capacity>,
    /// The real machine, where other nodes run on the same kernel.
    pub(crate) machine: Option<Machine>,
    /// Whether memory is not decreased there any more.
    pub(crate) memory_shrinks_stopped: bool,
    /// Until when sizes are not decreased anywhere.
    pub(crate) decreases_paused: Option<Moment>,
    /// Day of the week, Monday 1 to Sunday 7, and minute of the day, UTC.
    pub(crate) week_time: (u8, u16),
    /// Whether classes, autoscalers, quotas and limit ranges are listed.
    pub(crate) bounds_known: bool,
    /// The pods bound to it, in the order of their names.
    pub(crate) pods: Vec<PodView<'a>>,
    /// What LimitRanges demand of pods with a class, by namespace.
    pub(crate) limit_ranges: BTreeMap<&'a str, LimitRanges>,
}

/// A machine that several nodes share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Machine {
    /// What it has, in millicores and bytes; memory absent where its nodes are limited, and say only their own.
    pub(crate) cpu: u64,
    pub(crate) memory: Option<u64>,
    /// What is booked on its other nodes.
    pub(crate) others: Booked,
}

/// The sizes before and after a resize in flight, in millicores or bytes, by container and resource.
pub(crate) type Reserved<'a> = BTreeMap<(&'a str, Resource), [Size; 2]>;

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct PodView<'a> {
    pub(crate) facts: &'a PodFacts,
    pub(crate) left_alone: Option<LeftAlone>,
    /// Absent where none is chosen.
    pub(crate) class: Option<Result<&'a Policy, PolicyProblem<'a>>>,
    /// What the quota of its namespace that is tightest leaves; absent where none bounds it.
    pub(crate) quotas: PodQuotas<'a>,
    /// Time since a report last named it; absent: none did.
    pub(crate) report_age: Option<Duration>,
    /// Its resize in flight: it books the larger of both sizes.
    pub(crate) reserved: Reserved<'a>,
    /// A resize of it is not done, and no plan that might be renewed.
    pub(crate) in_flight: bool,
    /// What its last resizes have shown.
    pub(crate) blocked: Option<Blocked>,
    /// The size that the kubelet deferred last.
    pub(crate) deferred: Option<&'a BTreeMap<String, Sizes>>,
    /// It appeared a moment ago, and we never resized it.
    pub(crate) newborn: bool,
    /// Live pods of the same template, of a newborn pod.
    pub(crate) siblings: Vec<&'a PodFacts>,
    /// Its containers that count; of a pod without a class, none.
    pub(crate) containers: Vec<ContainerView<'a>>,
}

/// The quotas that bound a pod.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PodQuotas<'a> {
    pub(crate) cpu: ValueQuotas<'a>,
    pub(crate) memory: ValueQuotas<'a>,
}

/// Those of one resource.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ValueQuotas<'a> {
    pub(crate) requests: Option<QuotaRoom<'a>>,
    pub(crate) limits: Option<QuotaRoom<'a>>,
}

/// A container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerView<'a> {
    pub(crate) facts: &'a ContainerFacts,
    /// Of the container that runs now; absent where its node reported none.
    pub(crate) report: Option<&'a ContainerReport>,
    /// Its size before our first resize.
    pub(crate) original: Sizes,
    /// Recent memory events that its memory has not grown for: hits of the last minute, kills of the last 10 minutes.
    pub(crate) memory_events: MemoryEvents,
    /// The largest of what its CPU grew for in the last day.
    pub(crate) cpu_growth: Option<CpuGrowth>,
    pub(crate) cpu: ResourceView<'a>,
    pub(crate) memory: ResourceView<'a>,
}

/// One resource of a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceView<'a> {
    /// Time since it grew last; absent: it never did.
    pub(crate) since_growth: Option<Duration>,
    /// Time since it shrank last; absent: it never did.
    pub(crate) since_shrink: Option<Duration>,
    /// Time since something last called for growth; absent: nothing ever did.
    pub(crate) since_pressure: Option<Duration>,
    /// Why it is left alone after a failure, and until when.
    pub(crate) held: Option<(&'a str, Moment)>,
    /// What is wrong where its node enforces another size than the spec says.
    pub(crate) drift: Option<&'a str>,
    /// How long the pod has been in the high band because of this container.
    pub(crate) high: Duration,
    /// The HorizontalPodAutoscaler that uses its request.
    pub(crate) autoscaler: Option<&'a str>,
    /// What the owner allows; or why that cannot be read.
    pub(crate) bounds: Option<Result<UserBounds, &'a str>>,
}

impl NodeView<'_> {
    /// What LimitRanges demand of a pod with a class.
    pub(crate) fn limit_ranges_of(&self, pod: &PodView<'_>) -> LimitRanges {
        self.limit_ranges.get(pod.facts.pod.namespace.as_ref()).copied().unwrap_or_default()
    }
}

impl<'a> PodView<'a> {
    /// Its class, if it can be used.
    pub(crate) fn policy(&self) -> Option<&'a Policy> {
        self.class.and_then(Result::ok)
    }
}

impl ContainerView<'_> {
    /// Whether it waits to be started after it was killed for memory, and its memory has not grown for that: without more it may never start again.
    pub(crate) fn is_down_after_kill(&self) -> bool {
        !self.facts.running
            && !self.facts.terminated
            && self.memory_events.oom_kill.is_some_and(|kills| kills > 0)
    }

    pub(crate) fn resource(&self, resource: Resource) -> &ResourceView<'_> {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }

    /// Its size, as the spec asks for it.
    pub(crate) fn size(&self, resource: Resource) -> Size {
        size(&self.facts.spec, resource)
    }
}

/// The size in millicores or bytes.
pub(crate) fn size(resources: &Resources, resource: Resource) -> Size {
    match resource {
        Resource::Cpu => Size {
            request: resources.cpu_request.map(millicores),
            limit: resources.cpu_limit.map(millicores),
        },
        Resource::Memory => Size {
            request: resources.memory_request.map(|Bytes(bytes)| bytes),
            limit: resources.memory_limit.map(|Bytes(bytes)| bytes),
        },
    }
}

/// In whole millicores, a part of one rounded up: what is booked is never less than what is asked for. Noise of floating point is none.
pub(crate) fn millicores(cores: Cores) -> u64 {
    (cores.0 * 1000.0 - 1e-6).ceil().max(0.0) as u64
}
