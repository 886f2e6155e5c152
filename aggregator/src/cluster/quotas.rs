//! ResourceQuotas and LimitRanges as the API server sends them: the bounds of CPU and memory.

use anyhow::Context;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use plimsoll_contract::{Quantity, Resource};
use plimsoll_objects::Content;
use plimsoll_objects::field::{self, Lenient};
use serde::Deserialize;

use super::names::Names;
use crate::facts::{LimitRangeFacts, QuotaFacts, QuotaScope, QuotaValue, QuotaValues, Range, Ranges};

/// Scopes of a quota, and values of a scope, that are kept; the others count as ones that may match any pod.
const MAX_SCOPES: usize = 16;
const MAX_VALUES: usize = 64;

/// The fields of a quota that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct QuotaObject {
    #[serde(default)]
    metadata: Names,
    #[serde(default)]
    spec: QuotaSpec,
    #[serde(default)]
    status: Lenient<QuotaStatus>,
}

impl Content for QuotaObject {
    type Kind = ResourceQuota;
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QuotaSpec {
    hard: Option<QuotaAmounts>,
    #[serde(deserialize_with = "field::list")]
    scopes: Vec<String>,
    scope_selector: Option<ScopeSelector>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct QuotaStatus {
    used: Lenient<QuotaAmounts>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeSelector {
    #[serde(deserialize_with = "field::list")]
    match_expressions: Vec<ScopeExpression>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeExpression {
    scope_name: String,
    operator: String,
    #[serde(default, deserialize_with = "field::list")]
    values: Vec<String>,
}

/// `cpu` and `memory` are other names of the requests.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct QuotaAmounts {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
    #[serde(rename = "requests.cpu")]
    requests_cpu: Option<Quantity>,
    #[serde(rename = "requests.memory")]
    requests_memory: Option<Quantity>,
    #[serde(rename = "limits.cpu")]
    limits_cpu: Option<Quantity>,
    #[serde(rename = "limits.memory")]
    limits_memory: Option<Quantity>,
}

impl QuotaObject {
    /// What is kept of the quota.
    ///
    /// # Errors
    /// If it has no name or namespace.
    pub(crate) fn facts(&self) -> anyhow::Result<QuotaFacts> {
        let key = self.metadata.key().context("metadata: it has no name or namespace")?;
        let hard = self.spec.hard.unwrap_or_default();
        let used = self.status.0.clone().unwrap_or_default().used.0.unwrap_or_default();
        let value = |resource: Resource, hard: Option<Quantity>, used: Option<Quantity>| {
            let used = used.map(|used| at_least(resource, used));
            hard.map(|hard| QuotaValue { hard: at_most(resource, hard), used })
        };
        // Under both names the smaller bounds.
        let tighter = |a: Option<QuotaValue>, b: Option<QuotaValue>| {
            let left = |value: &QuotaValue| value.used.map(|used| value.hard.saturating_sub(used));
            a.into_iter().chain(b).min_by_key(left)
        };
        let of = |resource, hard, used| value(resource, hard, used);
        use Resource::{Cpu, Memory};
        Ok(QuotaFacts {
            key,
            scopes: self.scopes(),
            requests: QuotaValues {
                cpu: tighter(of(Cpu, hard.requests_cpu, used.requests_cpu), of(Cpu, hard.cpu, used.cpu)),
                memory: tighter(
                    of(Memory, hard.requests_memory, used.requests_memory),
                    of(Memory, hard.memory, used.memory),
                ),
            },
            limits: QuotaValues {
                cpu: of(Cpu, hard.limits_cpu, used.limits_cpu),
                memory: of(Memory, hard.limits_memory, used.limits_memory),
            },
        })
    }

    fn scopes(&self) -> Vec<QuotaScope> {
        let other = |name: &str| QuotaScope::Other(field::shortened(name.to_owned(), 63));
        let plain = self.spec.scopes.iter().map(|name| match name.as_str() {
            "BestEffort" => QuotaScope::BestEffort,
            // As an expression with `Exists`.
            "PriorityClass" => {
                QuotaScope::PriorityClass { operator: "Exists".to_owned(), values: Vec::new() }
            }
            name => other(name),
        });
        let selector = self.spec.scope_selector.iter().flat_map(|selector| &selector.match_expressions);
        let selected = selector.map(|expression| match expression.scope_name.as_str() {
            "BestEffort" => QuotaScope::BestEffort,
            "PriorityClass" if expression.values.len() <= MAX_VALUES => QuotaScope::PriorityClass {
                operator: field::shortened(expression.operator.clone(), 63),
                values: expression.values.iter().map(|name| field::shortened(name.clone(), 253)).collect(),
            },
            name => other(name),
        });
        plain.chain(selected).take(MAX_SCOPES).collect()
    }
}

/// The fields of a limit range that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LimitRangeObject {
    #[serde(default)]
    metadata: Names,
    #[serde(default)]
    spec: LimitRangeSpec,
}

impl Content for LimitRangeObject {
    type Kind = LimitRange;
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct LimitRangeSpec {
    #[serde(deserialize_with = "field::list")]
    limits: Vec<LimitRangeItem>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LimitRangeItem {
    r#type: String,
    min: Option<RangeAmounts>,
    max: Option<RangeAmounts>,
    max_limit_request_ratio: Option<RangeAmounts>,
    default: Option<RangeAmounts>,
    default_request: Option<RangeAmounts>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct RangeAmounts {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

impl RangeAmounts {
    fn of(self, resource: Resource) -> Option<Quantity> {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }
}

impl LimitRangeObject {
    /// What is kept of the limit range.
    ///
    /// # Errors
    /// If it has no name or namespace.
    pub(crate) fn facts(&self) -> anyhow::Result<LimitRangeFacts> {
        let of = |kind: &str| {
            let items = self.spec.limits.iter().filter(|item| item.r#type == kind);
            items.fold(Ranges::default(), |all, item| all.and(&item.ranges()))
        };
        Ok(LimitRangeFacts {
            key: self.metadata.key().context("metadata: it has no name or namespace")?,
            container: of("Container"),
            pod: of("Pod"),
        })
    }
}

impl LimitRangeItem {
    fn ranges(&self) -> Ranges {
        let range = |resource: Resource| {
            let amount = |amounts: Option<RangeAmounts>| amounts?.of(resource);
            Range {
                min: amount(self.min).map(|min| at_least(resource, min)),
                max: amount(self.max).map(|max| at_most(resource, max)),
                max_ratio: amount(self.max_limit_request_ratio).map(Quantity::as_f64),
                default_request: amount(self.default_request).is_some(),
                default_limit: amount(self.default).is_some(),
            }
        };
        Ranges { cpu: range(Resource::Cpu), memory: range(Resource::Memory) }
    }
}

/// Millicores or bytes, rounded up.
fn at_least(resource: Resource, amount: Quantity) -> u64 {
    let units = match resource {
        Resource::Cpu => amount.milli_value(),
        Resource::Memory => amount.value(),
    };
    u64::try_from(units.max(0)).unwrap_or(u64::MAX)
}

/// Millicores or bytes, rounded down.
fn at_most(resource: Resource, amount: Quantity) -> u64 {
    let per_unit = match resource {
        Resource::Cpu => 1_000_000,
        Resource::Memory => 1_000_000_000,
    };
    u64::try_from(amount.nano_value().max(0) / per_unit).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
