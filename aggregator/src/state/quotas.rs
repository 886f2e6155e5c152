//! What ResourceQuotas and LimitRanges leave for the pods of a namespace. The API server enforces both: one that cannot be read only means that
//! a resize may be refused.

use plimsoll_contract::Resource;

use super::State;
use crate::facts::{LimitRangeFacts, ObjectKey, PodFacts, QuotaFacts, QuotaScope, Ranges};
use crate::input::WatchEvent;

/// Which values a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Requests,
    Limits,
}

/// What a quota leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuotaRoom<'a> {
    /// Its name.
    pub(crate) quota: &'a str,
    /// Millicores or bytes by which all pods together may grow; absent: not counted yet, and nothing may grow.
    pub(crate) left: Option<u64>,
}

/// What LimitRanges demand.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LimitRanges {
    /// Of each container.
    pub(crate) container: Ranges,
    /// Of the sum over a pod's containers.
    pub(crate) pod: Ranges,
}

impl State {
    /// The watch of quotas.
    pub(crate) fn observe_quotas(&mut self, event: WatchEvent<QuotaFacts, ObjectKey>) {
        for namespace in self.quotas.observe(event) {
            self.dirty_namespace(&namespace);
        }
    }

    /// The watch of limit ranges.
    pub(crate) fn observe_limit_ranges(&mut self, event: WatchEvent<LimitRangeFacts, ObjectKey>) {
        for namespace in self.limit_ranges.observe(event) {
            self.dirty_namespace(&namespace);
        }
    }

    /// The quota that leaves least for a pod; none if none bounds it. `used` lags: what was admitted since must be subtracted by whoever
    /// asked for it.
    pub(crate) fn quota_room(
        &self,
        facts: &PodFacts,
        resource: Resource,
        counted: Counted,
    ) -> Option<QuotaRoom<'_>> {
        let quotas = self.quotas.of(&facts.pod.namespace).filter(|quota| counts(quota, facts));
        let rooms = quotas.filter_map(|quota| {
            let values = match counted {
                Counted::Requests => quota.requests,
                Counted::Limits => quota.limits,
            };
            let value = values.of(resource)?;
            let left = value.used.map(|used| value.hard.saturating_sub(used));
            Some(QuotaRoom { quota: &quota.key.name, left })
        });
        // Absent is the least.
        rooms.min_by_key(|room| room.left)
    }

    /// What the limit ranges of a namespace demand together.
    pub(crate) fn limit_range(&self, namespace: &str) -> LimitRanges {
        self.limit_ranges.of(namespace).fold(LimitRanges::default(), |all, one| LimitRanges {
            container: all.container.and(&one.container),
            pod: all.pod.and(&one.pod),
        })
    }
}

/// Whether a quota may count a pod that can be resized. What cannot be told counts.
fn counts(quota: &QuotaFacts, facts: &PodFacts) -> bool {
    quota.scopes.iter().all(|scope| match scope {
        QuotaScope::BestEffort => false,
        QuotaScope::PriorityClass { operator, values } => {
            let class = facts.priority_class.as_ref();
            let named = class.is_some_and(|class| values.contains(class));
            match operator.as_str() {
                "In" => named,
                "NotIn" => !named,
                "Exists" => class.is_some(),
                "DoesNotExist" => class.is_none(),
                _ => true,
            }
        }
        QuotaScope::Other(_) => true,
    })
}
