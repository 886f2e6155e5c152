//! What resizing needs of SLA classes, HorizontalPodAutoscalers, ResourceQuotas and LimitRanges.
//!
//! Amounts are whole millicores or bytes: those that bound from above are rounded down, those that bound from below up.

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::size::Size;
use serde::{Deserialize, Serialize};

/// Identifies an object of a namespace. Another object of the same name replaces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// An SLA class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassFacts {
    pub(crate) name: String,
    /// The API's uid, for Events about it.
    pub(crate) uid: Option<String>,
    pub(crate) generation: Option<i64>,
    /// What it says; or the field that is wrong, and why.
    pub(crate) policy: Result<Policy, String>,
}

/// A HorizontalPodAutoscaler: the requests that it divides usage by must not change below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AutoscalerFacts {
    pub(crate) key: ObjectKey,
    pub(crate) target: WorkloadRef,
    /// What its metrics of kind `Resource` and `ContainerResource` use; others do not depend on requests.
    pub(crate) uses: Vec<Autoscaled>,
}

/// A workload, as an object of its namespace names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct WorkloadRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// One metric of an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Autoscaled {
    pub(crate) resource: Resource,
    /// Of this container; absent: of all.
    pub(crate) container: Option<String>,
}

/// A ResourceQuota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaFacts {
    pub(crate) key: ObjectKey,
    /// Which pods it counts; all must match. Empty: all pods.
    pub(crate) scopes: Vec<QuotaScope>,
    pub(crate) requests: QuotaValues,
    pub(crate) limits: QuotaValues,
}

/// What a quota says of one kind of value; absent where it does not bound that resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QuotaValues {
    /// Millicores.
    pub(crate) cpu: Option<QuotaValue>,
    /// Bytes.
    pub(crate) memory: Option<QuotaValue>,
}

/// One bound of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaValue {
    pub(crate) hard: u64,
    /// As its controller counted it last; absent before it did. It lags behind what was admitted.
    pub(crate) used: Option<u64>,
}

/// Which pods a quota counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum QuotaScope {
    /// Pods without any request or limit.
    BestEffort,
    /// By the name of their priority class.
    PriorityClass {
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        operator: String,
        values: Vec<String>,
    },
    /// Of a kind that may match any pod that we resize.
    Other(String),
}

/// A LimitRange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LimitRangeFacts {
    pub(crate) key: ObjectKey,
    /// Of each container.
    pub(crate) container: Ranges,
    /// Of the sum over a pod's containers.
    pub(crate) pod: Ranges,
}

/// Ranges of both resources.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ranges {
    /// In millicores.
    pub(crate) cpu: Range,
    /// In bytes.
    pub(crate) memory: Range,
}

/// What a request must not be below, what a limit must not be above, how far the two may be apart, and what is set where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Range {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
    /// Limit over request at most.
    pub(crate) max_ratio: Option<f64>,
    /// The API server sets a request where there is none: when a pod is created, and with each resize.
    pub(crate) default_request: bool,
    /// The same of limits.
    pub(crate) default_limit: bool,
}

impl QuotaValues {
    pub(crate) fn of(&self, resource: Resource) -> Option<QuotaValue> {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }
}

impl Ranges {
    pub(crate) fn of(&self, resource: Resource) -> Range {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }

    /// What fits both.
    #[must_use]
    pub(crate) fn and(&self, other: &Ranges) -> Ranges {
        Ranges { cpu: self.cpu.and(other.cpu), memory: self.memory.and(other.memory) }
    }
}

impl Range {
    /// Whether the API server admits these values: those of a container, or the sums of a pod. Where it bounds what is not set, it
    /// does not.
    pub(crate) fn admits(self, Size { request, limit }: Size) -> bool {
        let both = || [request, limit].into_iter().flatten();
        let is_near = |ratio: f64| {
            request.zip(limit).is_some_and(|(request, limit)| limit as f64 <= request as f64 * ratio)
        };
        self.min.is_none_or(|min| request.is_some() && both().all(|value| value >= min))
            && self.max.is_none_or(|max| limit.is_some() && both().all(|value| value <= max))
            && self.max_ratio.is_none_or(is_near)
    }

    fn and(self, other: Range) -> Range {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Range {
            min: self.min.max(other.min),
            max: least(self.max, other.max),
            max_ratio: self.max_ratio.into_iter().chain(other.max_ratio).reduce(f64::min),
            default_request: self.default_request || other.default_request,
            default_limit: self.default_limit || other.default_limit,
        }
    }
}
