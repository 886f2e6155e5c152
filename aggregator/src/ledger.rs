//! What became of the pods of each SLA class, as numbers. Pure: [`crate::cluster::ledger`] writes them into the status of the classes.

use plimsoll_contract::Resource;
use plimsoll_sizing::size::Size;

use crate::resize::sizes_of;
use crate::state::{Class, Pod};

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
    pub(crate) fn add_pod(&mut self, pod: &Pod) {
        self.pods += 1;
        let Ok(Some(original)) = &pod.original else { return };
        for container in &pod.facts.containers {
            let Some(before) = original.get(&container.name) else { continue };
            let now = sizes_of(&container.spec);
            self.freed_cpu = self.freed_cpu.saturating_add(freed(before.cpu, now.cpu));
            self.freed_memory = self.freed_memory.saturating_add(freed(before.memory, now.memory));
        }
    }

    /// With the pods that were counted elsewhere.
    pub(crate) fn with_pods_of(self, counted: ClassCounts) -> ClassCounts {
        let ClassCounts { pods, freed_cpu, freed_memory, .. } = counted;
        ClassCounts { pods, freed_cpu, freed_memory, ..self }
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

/// How much less is requested; nothing where one of them is no request.
fn freed(before: Size, now: Size) -> i64 {
    // The size before is an annotation: its amount may be any.
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    before.request.zip(now.request).map_or(0, |(before, now)| whole(before) - whole(now))
}
