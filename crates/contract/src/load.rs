//! The load of one resource of one pod: the statement that travels from the agent's classification to the label.

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Band, Basis, Bytes, ContainerId, Cores};

/// How loaded one resource of a pod is. `A` is the unit of the amounts: [`Cores`] or [`Bytes`] in reports, plain numbers where one
/// rule serves both resources. `C` identifies the hottest container: by id in reports, by name for people.
///
/// In JSON the usage is called `cores`, `bytes` or (plain numbers) `usage`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLoad<A, C = ContainerId> {
    /// The band.
    pub band: Band,
    /// What the utilization is relative to.
    pub basis: Option<Basis>,
    /// Smoothed usage over basis; may exceed 1.
    pub utilization: Option<f64>,
    /// Smoothed usage of the hottest candidate: CPU time, or the memory that cannot be reclaimed at once.
    #[serde(alias = "cores", alias = "bytes")]
    pub usage: Option<A>,
    /// The amount that the basis stands for.
    pub of: Option<A>,
    /// The CPU request of the hottest candidate, where it is too small to be the basis: `of` is more.
    pub request: Option<A>,
    /// The hottest candidate; absent when it is the pod's own cgroup.
    pub container: Option<C>,
    /// What limits the hottest candidate. The aggregator fills it in, from that container's numbers.
    pub bound_by: Option<BoundBy>,
    /// Since when the band holds; while it is unknown, since when there is data.
    pub since: Option<Timestamp>,
    /// Why the band or the utilization is unknown.
    pub reason: Option<UnknownReason>,
    /// What made the band; absent while it is unknown, and where it was taken over from the labels after a restart.
    pub cause: Option<Cause<A, C>>,
}

/// What made a band: recorded when the band changed, so that it never contradicts the band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause<A, C = ContainerId> {
    /// The rule that applied.
    pub rule: Rule,
    /// How many seconds the burst took, or over how many the mean is.
    pub seconds: f64,
    /// Mean usage during that time.
    pub usage: A,
    /// What the usage is relative to.
    pub basis: Basis,
    /// The amount that the basis stands for.
    pub of: A,
    /// The container; absent when it was the pod's own cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<C>,
    /// What limited its CPU at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_by: Option<BoundBy>,
    /// As [`ResourceLoad::request`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<A>,
    /// The working set at the time, where it differs from what counts for the memory band.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_set: Option<A>,
}

/// The two rules by which a band changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Much more than a threshold for a few seconds.
    Burst,
    /// The mean of the last minute, or of the time since the container started.
    Mean,
}

impl<A, C> Cause<A, C> {
    /// The same cause with its amounts in another unit, and its container identified otherwise.
    pub fn map<B, D>(self, amount: impl Fn(A) -> B, container: impl FnOnce(C) -> D) -> Cause<B, D> {
        Cause {
            rule: self.rule,
            seconds: self.seconds,
            usage: amount(self.usage),
            basis: self.basis,
            of: amount(self.of),
            container: self.container.map(container),
            bound_by: self.bound_by,
            request: self.request.map(&amount),
            working_set: self.working_set.map(&amount),
        }
    }
}

/// A pod's CPU load: that of the hottest of its containers, or of its own cgroup where that has a limit or its containers do not show
/// all of it.
pub type CpuLoad = ResourceLoad<Cores>;
/// A pod's memory load; as [`CpuLoad`], in bytes that the kernel cannot reclaim at once.
pub type MemoryLoad = ResourceLoad<Bytes>;

/// A unit in which a load can be stated.
pub trait Amount: Copy + Serialize {
    /// The name of the usage in JSON.
    const USAGE_KEY: &'static str;
}

impl Amount for Cores {
    const USAGE_KEY: &'static str = "cores";
}

impl Amount for Bytes {
    const USAGE_KEY: &'static str = "bytes";
}

impl Amount for f64 {
    const USAGE_KEY: &'static str = "usage";
}

impl<A, C> ResourceLoad<A, C> {
    /// An unknown load, and why. Without a reason nothing was reported.
    pub fn unknown(reason: Option<UnknownReason>) -> Self {
        ResourceLoad {
            band: Band::Unknown,
            basis: None,
            utilization: None,
            usage: None,
            of: None,
            request: None,
            container: None,
            bound_by: None,
            since: None,
            reason,
            cause: None,
        }
    }

    /// The same load with its amounts in another unit, and its container identified otherwise.
    pub fn map<B, D>(self, amount: impl Fn(A) -> B, container: impl Fn(C) -> D) -> ResourceLoad<B, D> {
        ResourceLoad {
            band: self.band,
            basis: self.basis,
            utilization: self.utilization,
            usage: self.usage.map(&amount),
            of: self.of.map(&amount),
            request: self.request.map(&amount),
            container: self.container.map(&container),
            bound_by: self.bound_by,
            since: self.since,
            reason: self.reason,
            cause: self.cause.map(|cause| cause.map(amount, container)),
        }
    }
}

impl<A, C> Default for ResourceLoad<A, C> {
    fn default() -> Self {
        ResourceLoad::unknown(None)
    }
}

/// Absent values are left out.
impl<A: Amount, C: Serialize> Serialize for ResourceLoad<A, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn entry<M: SerializeMap, T: Serialize>(
            map: &mut M,
            key: &'static str,
            value: Option<&T>,
        ) -> Result<(), M::Error> {
            value.map_or(Ok(()), |value| map.serialize_entry(key, value))
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("band", &self.band)?;
        entry(&mut map, "basis", self.basis.as_ref())?;
        entry(&mut map, "utilization", self.utilization.as_ref())?;
        entry(&mut map, A::USAGE_KEY, self.usage.as_ref())?;
        entry(&mut map, "of", self.of.as_ref())?;
        entry(&mut map, "request", self.request.as_ref())?;
        entry(&mut map, "container", self.container.as_ref())?;
        entry(&mut map, "boundBy", self.bound_by.as_ref())?;
        entry(&mut map, "since", self.since.as_ref())?;
        entry(&mut map, "reason", self.reason.as_ref())?;
        entry(&mut map, "cause", self.cause.as_ref())?;
        map.end()
    }
}

/// Why something is not known. A closed list: it is also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// Too little data yet.
    WarmingUp,
    /// The roster names no container of the pod that counts.
    NotInRoster,
    /// No quota, and the request is not known yet.
    RequestUnknown,
    /// The kernel does not account this resource here (no controller).
    NoController,
    /// The file is missing.
    Absent,
    /// Reading was refused.
    Denied,
    /// The file's content is not what it should be.
    Malformed,
    /// Reading failed otherwise.
    Failed,
    /// The counter went backwards, or rose faster than the node's CPUs allow.
    CounterReset,
    /// Nothing was read for too long: the agent got no CPU, or the machine slept.
    Gap,
    /// No container of the pod is running.
    NotRunning,
    /// Containers are running, but no process is in their cgroups: they run elsewhere.
    Empty,
    /// Containers are running, but their cgroups were not found.
    NotFound,
}

impl UnknownReason {
    /// Every reason.
    pub const ALL: [UnknownReason; 13] = [
        UnknownReason::WarmingUp,
        UnknownReason::NotInRoster,
        UnknownReason::RequestUnknown,
        UnknownReason::NoController,
        UnknownReason::Absent,
        UnknownReason::Denied,
        UnknownReason::Malformed,
        UnknownReason::Failed,
        UnknownReason::CounterReset,
        UnknownReason::Gap,
        UnknownReason::NotRunning,
        UnknownReason::Empty,
        UnknownReason::NotFound,
    ];

    /// The word in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownReason::WarmingUp => "warming_up",
            UnknownReason::NotInRoster => "not_in_roster",
            UnknownReason::RequestUnknown => "request_unknown",
            UnknownReason::NoController => "no_controller",
            UnknownReason::Absent => "absent",
            UnknownReason::Denied => "denied",
            UnknownReason::Malformed => "malformed",
            UnknownReason::Failed => "failed",
            UnknownReason::CounterReset => "counter_reset",
            UnknownReason::Gap => "gap",
            UnknownReason::NotRunning => "not_running",
            UnknownReason::Empty => "empty",
            UnknownReason::NotFound => "not_found",
        }
    }

    /// The words for people: in the evidence annotation and on the command line.
    pub fn words(self) -> &'static str {
        match self {
            UnknownReason::WarmingUp => "too little data yet",
            UnknownReason::NotInRoster => "its containers are not known yet",
            UnknownReason::RequestUnknown => "its request is not known yet",
            UnknownReason::NoController => "the node does not account for it",
            UnknownReason::Absent => "a cgroup file is missing",
            UnknownReason::Denied => "reading its cgroup is denied",
            UnknownReason::Malformed => "a cgroup file is malformed",
            UnknownReason::Failed => "reading its cgroup fails",
            UnknownReason::CounterReset => "a counter was reset",
            UnknownReason::Gap => "not read for too long",
            UnknownReason::NotRunning => "no container is running",
            UnknownReason::Empty => "no process is in its cgroups",
            UnknownReason::NotFound => "its cgroups were not found",
        }
    }
}

/// What limits a container's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoundBy {
    /// Its own limit: the kernel throttles it.
    Limit,
    /// The node: pressure without throttling.
    Node,
    /// Nothing.
    None,
}

impl BoundBy {
    /// The word in JSON and the evidence annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            BoundBy::Limit => "limit",
            BoundBy::Node => "node",
            BoundBy::None => "none",
        }
    }
}
