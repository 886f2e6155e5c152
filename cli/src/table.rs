//! Pods as rows, as `plimsoll top` and the demo show them. Pure; the time is an argument.
//!
//! ```text
//! POD            CPU              OF       BAND      MEMORY         OF     BAND  CLASS  LAST
//! shop/web-7d9c  412m ####   82%  limit    high 12s  120Mi #   23%  limit  low   gold   written 3s ago
//! lab/new        -                -        unknown   -              -      -     -      too little data yet
//! ```
//!
//! An unknown value is `-`, never 0.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::status::{Decision, LeftAlone, PodStatus, ResourceStatus};
use plimsoll_contract::{Band, Bytes, Cores, Resource};

use crate::connect::escaped;

/// Columns of a row.
pub(crate) const COLUMNS: usize = 9;
pub(crate) const HEADER: [&str; COLUMNS] =
    ["POD", "CPU", "OF", "BAND", "MEMORY", "OF", "BAND", "CLASS", "LAST"];
/// Characters of a full bar.
const BAR: usize = 5;
/// Maximum width of a text that the owner of a pod chooses.
const MAX_TEXT: usize = 60;

/// One pod, formatted.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `namespace/name`.
    pub(crate) pod: String,
    pub(crate) cpu: Cell,
    pub(crate) memory: Cell,
    /// The SLA class, or `-`.
    pub(crate) class: String,
    /// The last write to the pod, or why there is none, or `-`.
    pub(crate) last: String,
}

/// One resource of a pod, formatted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Usage: `412m`, `120Mi`, or `-`.
    pub(crate) amount: String,
    /// Usage relative to the basis; absent if unknown.
    pub(crate) utilization: Option<f64>,
    /// `limit`, `request`, `node`, or `-`.
    pub(crate) basis: String,
    pub(crate) band: Band,
    /// How long the band has held: `12s`; empty if unknown.
    pub(crate) age: String,
}

impl Row {
    /// The row of a pod, as of `now`.
    pub fn new(pod: &PodStatus, now: Timestamp) -> Row {
        Row {
            pod: shortened(&format!("{}/{}", pod.namespace, pod.name)),
            cpu: Cell::new(&pod.cpu, Resource::Cpu, now),
            memory: Cell::new(&pod.memory, Resource::Memory, now),
            class: pod.class.as_deref().map_or_else(unknown, shortened),
            last: last(pod, now),
        }
    }

    /// The texts of the columns, in the order of [`HEADER`], with or without bars.
    pub(crate) fn columns(&self, bars: bool) -> [String; COLUMNS] {
        let [cpu, cpu_of, cpu_band] = self.cpu.columns(bars);
        let [memory, memory_of, memory_band] = self.memory.columns(bars);
        let (pod, class, last) = (self.pod.clone(), self.class.clone(), self.last.clone());
        [pod, cpu, cpu_of, cpu_band, memory, memory_of, memory_band, class, last]
    }
}

impl Cell {
    fn new(status: &ResourceStatus, resource: Resource, now: Timestamp) -> Cell {
        let usage = status.usage.filter(|usage| usage.is_finite() && *usage >= 0.0);
        Cell {
            amount: usage.map_or_else(unknown, |usage| match resource {
                Resource::Cpu => Cores(usage).to_string(),
                Resource::Memory => Bytes(usage as u64).to_string(),
            }),
            utilization: status.utilization.filter(|u| u.is_finite() && *u >= 0.0),
            basis: status.basis.map_or_else(unknown, |basis| basis.to_string()),
            band: status.band,
            age: status
                .since
                .filter(|_| status.band.is_known())
                .map_or_else(String::new, |since| age(since, now)),
        }
    }

    /// The amount with its bar and share, the basis, the band with its age.
    fn columns(&self, bars: bool) -> [String; 3] {
        let share = |u: f64| format!("{:.0}%", u * 100.0);
        let amount = match self.utilization {
            Some(u) if bars => format!("{:>6} {:BAR$} {:>4}", self.amount, bar(u), share(u)),
            Some(u) => format!("{:>6} {:>4}", self.amount, share(u)),
            None => format!("{:>6}", self.amount),
        };
        [amount, self.basis.clone(), format!("{} {:>3}", self.band, self.age).trim_end().to_owned()]
    }
}

/// A utilization as up to five `#`; a full bar that ends in `>` is more than the basis.
fn bar(utilization: f64) -> String {
    let whole = BAR as f64;
    let filled = (utilization * whole).round().clamp(0.0, whole) as usize;
    if utilization > 1.05 { format!("{:#<1$}>", "", BAR - 1) } else { "#".repeat(filled) }
}

/// How long ago: `12s`, `4m`, `3h`, `2d`. A time in the future (clocks differ) is `0s`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    match now.duration_since(since).as_secs().max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// The rows as lines of text below a header, each column as wide as its widest text.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let header = HEADER.map(str::to_owned);
    let cells: Vec<_> = std::iter::once(header).chain(rows.iter().map(|row| row.columns(true))).collect();
    let widths = widths(&cells);
    let line = |row: &[String; COLUMNS]| {
        let padded = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

/// The widest text of each column, in characters.
pub(crate) fn widths(cells: &[[String; COLUMNS]]) -> [usize; COLUMNS] {
    std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
}

fn last(pod: &PodStatus, now: Timestamp) -> String {
    let unknown_reason = |status: &ResourceStatus| status.reason.filter(|_| !status.band.is_known());
    if let Some(why) = pod.left_alone {
        format!("left alone: {}", left_alone(why))
    } else if !pod.conflicts.is_empty() {
        shortened(&format!("owned by others: {}", pod.conflicts.join(", ")))
    } else if let Some(reason) = unknown_reason(&pod.cpu).or_else(|| unknown_reason(&pod.memory)) {
        unknown_because(reason).to_owned()
    } else if let Some(Decision { action, outcome, at, .. }) = &pod.last {
        shortened(&format!("{action} {outcome} {} ago", age(*at, now)))
    } else {
        unknown()
    }
}

fn left_alone(why: LeftAlone) -> &'static str {
    match why {
        LeftAlone::PodIgnored => "ignored by its label",
        LeftAlone::NamespaceIgnored => "ignored by its namespace's label",
        LeftAlone::SystemNamespace => "system namespace",
        LeftAlone::Finished => "finished",
    }
}

fn unknown_because(reason: UnknownReason) -> &'static str {
    match reason {
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
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// Safe for a terminal, and at most [`MAX_TEXT`] wide.
fn shortened(text: &str) -> String {
    let safe = escaped(text);
    if safe.chars().count() <= MAX_TEXT {
        return safe;
    }
    safe.chars().take(MAX_TEXT - 3).chain("...".chars()).collect()
}
