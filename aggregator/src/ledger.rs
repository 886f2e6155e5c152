//! What became of the pods of each SLA class, as numbers. Pure: [`crate::cluster::ledger`] writes them into the status of the classes.

use plimsoll_contract::resize::PodResources;
use plimsoll_contract::{Quantity, Resource, keys};

use crate::facts::PodFacts;
use crate::state::Class;

/// One class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassRow {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) counts: ClassCounts,
}

/// The numbers of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ClassCounts {
    /// Pods that are sized by it now.
    pub(crate) pods: i64,
    /// What follows is counted since the process started: growths, shrinks, shrinks that were undone, and processes killed for memory.
    pub(crate) grown: i64,
    pub(crate) shrunk: i64,
    pub(crate) undone: i64,
    pub(crate) oom: i64,
    /// Millicores that its pods request less now than before their first resize; negative: more.
    pub(crate) freed_cpu: i64,
    /// The same in bytes.
    pub(crate) freed_memory: i64,
}

impl ClassCounts {
    /// Counts a pod of the class.
    pub(crate) fn add_pod(&mut self, facts: &PodFacts) {
        self.pods += 1;
        let original = facts.annotations.get(keys::ORIGINAL_RESOURCES);
        let Some(original) = original.and_then(|text| serde_json::from_str::<PodResources>(text).ok()) else {
            return;
        };
        for container in &facts.containers {
            let Some(before) = original.get(&container.name) else { continue };
            let quantity =
                |resource: Resource| before.requests.get(resource.as_str())?.parse::<Quantity>().ok();
            let now = &container.spec;
            if let (Some(before), Some(now)) = (quantity(Resource::Cpu), now.cpu_request) {
                self.freed_cpu = self
                    .freed_cpu
                    .saturating_add(whole(before.milli_value()) - (now.0 * 1000.0).round() as i64);
            }
            if let (Some(before), Some(now)) = (quantity(Resource::Memory), now.memory_request) {
                self.freed_memory =
                    self.freed_memory.saturating_add(whole(before.value()) - whole(now.0.into()));
            }
        }
    }

    /// What is freed, for people: `1500m 2Gi`.
    pub(crate) fn freed(&self) -> String {
        let text = |resource: Resource, amount: i64, unit: f64| {
            let sign = if amount < 0 { "-" } else { "" };
            format!("{sign}{}", resource.quantity(amount.unsigned_abs() as f64 / unit))
        };
        format!(
            "{} {}",
            text(Resource::Cpu, self.freed_cpu, 1000.0),
            text(Resource::Memory, self.freed_memory, 1.0)
        )
    }
}

/// Amounts in annotations are of any size.
fn whole(amount: i128) -> i64 {
    i64::try_from(amount.clamp(0, i64::MAX.into())).unwrap_or(i64::MAX)
}
