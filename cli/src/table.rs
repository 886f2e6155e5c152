//! Pods as rows, as `plimsoll top` and the demo show them. Pure; the time is an argument.
//!
//! ```text
//! paused by ConfigMap plimsoll-control: no label is written; `plimsoll pause --off` ends it
//! POD            CPU                OF     BAND       MEMORY             OF     BAND      CLASS  LAST
//! shop/web-7d9c    412m ####   82%  limit  high! 12s   120Mi #      23%  limit  low  1h   -      cpu: label says low; label failed 3s ago
//! shop/batch-0     300m ##### 100%  limit  high!  4m    40Mi #      16%  limit  low!  2d  -      no label
//! !: the label on the pod differs from the band; see LAST
//! ```
//!
//! An unknown value is `-`, never 0. A banner says why labels are not written, where they are not.

mod sizing;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use plimsoll_contract::status::{
    AggregatorStatus, Decision, LeftAlone, PodStatus, ResourceStatus, Withheld, why_unknown,
};
use plimsoll_contract::{Band, Basis, Resource, keys};

use self::sizing::{resized, sized};
use crate::connect::escaped;

/// Columns of a row.
pub(crate) const COLUMNS: usize = 11;
pub(crate) const HEADER: [&str; COLUMNS] =
    ["POD", "CPU", "OF", "BAND", "MEMORY", "OF", "BAND", "CLASS", "CPU SIZE", "MEMORY SIZE", "LAST"];
/// The columns that are shown only where a pod has a class and the aggregator resizes.
pub(crate) const SIZES: [usize; 2] = [8, 9];
/// Characters of a full bar.
const BAR: usize = 5;
/// Maximum width of a text that the owner of a pod chooses.
const MAX_TEXT: usize = 60;
/// Maximum width of a line about an object that the aggregator cannot read, and how many there are.
const MAX_LINE: usize = 160;
const MAX_UNREADABLE: usize = 3;

/// The output of an aggregator that writes no labels.
pub(crate) const METRICS: &str = "metrics";

/// Below a table with a marked band.
const FOOTNOTE: &str = "!: the label on the pod differs from the band; see LAST";

/// Pods, formatted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodTable {
    /// Why labels are not written, if they are not: lines above the table.
    pub banner: Vec<String>,
    /// One row for each pod.
    pub rows: Vec<Row>,
}

/// One pod, formatted.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `namespace/name`.
    pub(crate) pod: String,
    pub(crate) cpu: Cell,
    pub(crate) memory: Cell,
    /// The SLA class, or `-`.
    pub(crate) class: String,
    /// CPU and memory: request/limit of all containers together, and what is wanted instead; `-` where it is not known.
    pub(crate) sizes: [String; 2],
    /// The last action on the pod, or why there is none, or `-`.
    pub(crate) last: String,
}

/// One resource of a pod, formatted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Usage: `412m`, `120Mi`, or `-`.
    pub(crate) amount: String,
    /// Usage relative to the basis; absent if unknown.
    pub(crate) utilization: Option<f64>,
    /// `limit`, `request`, `node`, or `-`; `request as 50m` where the request is smaller than what it counts as.
    pub(crate) basis: String,
    pub(crate) band: Band,
    /// The label on the pod is another: the band has a mark.
    pub(crate) differs: bool,
    /// How long the band has held: `12s`; empty if unknown.
    pub(crate) age: String,
}

impl Row {
    /// The row of a pod, as of `now`. `labels`: whether the aggregator writes labels on pods at all.
    pub fn new(pod: &PodStatus, labels: bool, now: Timestamp) -> Row {
        // A pod without a label says nothing; that is right while its load is unknown.
        let differs = |resource| {
            let (status, label) = load_and_label(pod, resource);
            let written = labels && pod.left_alone.is_none() && !pod.terminating;
            written && (is_no_band(pod, resource) || label.unwrap_or_default() != status.band)
        };
        let [cpu, memory] = Resource::ALL
            .map(|resource| Cell::new(load_and_label(pod, resource).0, resource, differs(resource), now));
        Row {
            pod: shortened(&format!("{}/{}", pod.namespace, pod.name)),
            cpu,
            memory,
            class: pod.class.as_deref().map_or_else(unknown, shortened),
            sizes: Resource::ALL
                .map(|resource| pod.resize.as_deref().map_or_else(unknown, |resize| sized(resize, resource))),
            last: last(pod, differs, now),
        }
    }

    /// The texts of the columns, in the order of [`HEADER`], with or without bars.
    pub(crate) fn columns(&self, bars: bool) -> [String; COLUMNS] {
        let [cpu, cpu_of, cpu_band] = self.cpu.columns(bars);
        let [memory, memory_of, memory_band] = self.memory.columns(bars);
        let [cpu_size, memory_size] = self.sizes.clone();
        let (pod, class, last) = (self.pod.clone(), self.class.clone(), self.last.clone());
        [pod, cpu, cpu_of, cpu_band, memory, memory_of, memory_band, class, cpu_size, memory_size, last]
    }

    /// Whether its size is known.
    pub(crate) fn has_size(&self) -> bool {
        self.sizes.iter().any(|size| *size != unknown())
    }
}

impl Cell {
    fn new(status: &ResourceStatus, resource: Resource, differs: bool, now: Timestamp) -> Cell {
        let usage = status.usage.filter(|usage| usage.is_finite() && *usage >= 0.0);
        Cell {
            amount: usage.map_or_else(unknown, |usage| resource.quantity(usage)),
            utilization: status.utilization.filter(|u| u.is_finite() && *u >= 0.0),
            basis: status.basis.map_or_else(unknown, |basis| match (basis, status.request, status.of) {
                (Basis::Request, Some(_), Some(of)) => format!("{basis} as {}", resource.quantity(of)),
                _ => basis.to_string(),
            }),
            band: status.band,
            differs,
            age: status
                .since
                .filter(|_| status.band.is_known())
                .map_or_else(String::new, |since| age(since, now)),
        }
    }

    /// The amount with its bar and share, the basis, the band with its mark and age.
    fn columns(&self, bars: bool) -> [String; 3] {
        let share = |u: f64| format!("{:.0}%", u * 100.0);
        let amount = match self.utilization {
            Some(u) if bars => format!("{:>6} {:BAR$} {:>4}", self.amount, bar(u), share(u)),
            Some(u) => format!("{:>6} {:>4}", self.amount, share(u)),
            None => format!("{:>6}", self.amount),
        };
        let mark = if self.differs { "!" } else { "" };
        let band = format!("{}{mark} {:>3}", self.band, self.age).trim_end().to_owned();
        [amount, self.basis.clone(), band]
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

impl PodTable {
    /// The banner, and the rows as lines of text below a header, each column as wide as its widest text.
    pub fn lines(&self) -> Vec<String> {
        let header = HEADER.map(str::to_owned);
        let cells: Vec<_> =
            std::iter::once(header).chain(self.rows.iter().map(|row| row.columns(true))).collect();
        let widths = widths(&cells);
        let has_sizes = self.rows.iter().any(Row::has_size);
        let line = |row: &[String; COLUMNS]| {
            let shown = (0..COLUMNS).filter(|column| has_sizes || !SIZES.contains(column));
            let padded = shown.map(|column| format!("{:1$}", row[column], widths[column]));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let footnote = self.footnote().map(str::to_owned);
        self.banner.iter().cloned().chain(cells.iter().map(line)).chain(footnote).collect()
    }

    /// What the mark at a band means, if there is one.
    pub(crate) fn footnote(&self) -> Option<&'static str> {
        self.rows.iter().any(|row| row.cpu.differs || row.memory.differs).then_some(FOOTNOTE)
    }
}

/// Why labels are not what the table shows, as far as the replica that answered knows it. One that does not lead does not know whether
/// another one writes them.
pub(crate) fn banner(status: &AggregatorStatus) -> Vec<String> {
    let replica = shortened(&status.replica);
    let mut lines = Vec::new();
    if status.withheld == Some(Withheld::NotSynced) {
        lines.push(format!("replica {replica} has not listed all pods yet: this table may be incomplete"));
    }
    lines.extend(
        status
            .unreadable
            .iter()
            .take(MAX_UNREADABLE)
            .map(|object| cut(&format!("cannot be read, and is not shown: {object}"), MAX_LINE)),
    );
    if status.unreadable.len() > MAX_UNREADABLE {
        lines.push("more objects cannot be read: see /v1/status".to_owned());
    }
    if status.output == METRICS {
        lines.push("bands are only in metrics (--output metrics)".to_owned());
        return lines;
    }
    if status.paused == Some(true) {
        lines.push(format!(
            "paused by ConfigMap {}: no label is written; `plimsoll pause --off` ends it",
            keys::CONTROL_CONFIG_MAP
        ));
    } else {
        lines.extend(who_writes(status));
    }
    if status.unknown_withheld {
        // The guard counts other nodes than those that are silent at this moment.
        lines.push(
            "many nodes are, or were just, silent: labels of their pods do not change to unknown yet"
                .to_owned(),
        );
    }
    lines
}

/// Which replica writes the labels, if it is not this one.
fn who_writes(status: &AggregatorStatus) -> Option<String> {
    let replica = shortened(&status.replica);
    let lease = format!("Lease {} in namespace {}", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE);
    match (&status.leader, &status.last_leader) {
        _ if status.leading && status.paused.is_none() => {
            Some(format!("replica {replica} does not know yet whether it is paused: no label is written"))
        }
        _ if status.leading => None,
        // The last decisions and the conflicts are known to the leader alone.
        (Some(leader), _) => {
            Some(format!("this replica ({replica}) does not lead; {} writes the labels", shortened(leader)))
        }
        (None, Some(last)) => Some(format!(
            "this replica ({replica}) does not lead; {lease} has expired, last held by {}",
            shortened(last)
        )),
        (None, None) => {
            Some(format!("this replica ({replica}) does not lead, and knows of none that does; see {lease}"))
        }
    }
}

/// Rows of the same number of texts as lines, each column as wide as its widest text.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(widest).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The widest text of each column, in characters.
pub(crate) fn widths(cells: &[[String; COLUMNS]]) -> [usize; COLUMNS] {
    std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
}

/// The load and the label of one resource.
fn load_and_label(pod: &PodStatus, resource: Resource) -> (&ResourceStatus, Option<Band>) {
    match resource {
        Resource::Cpu => (&pod.cpu, pod.labeled.cpu),
        Resource::Memory => (&pod.memory, pod.labeled.memory),
    }
}

/// Whether the label of a band has a value that is none.
fn is_no_band(pod: &PodStatus, resource: Resource) -> bool {
    pod.not_bands.iter().any(|key| key == keys::band_label(resource))
}

fn last(pod: &PodStatus, differs: impl Fn(Resource) -> bool, now: Timestamp) -> String {
    if let Some(why) = pod.left_alone {
        return format!("left alone: {}", left_alone(why));
    }
    let label = of_both(|resource| {
        let label = load_and_label(pod, resource).1;
        differs(resource).then(|| match label {
            Some(band) => format!("label says {band}"),
            None if is_no_band(pod, resource) => "label is not a band".to_owned(),
            None => "no label".to_owned(),
        })
    });
    let conflicts: Vec<_> = pod.conflicts.iter().map(ToString::to_string).collect();
    let owned =
        (!conflicts.is_empty()).then(|| shortened(&format!("owned by others: {}", conflicts.join(", "))));
    let unknown_because = of_both(|resource| {
        let status = load_and_label(pod, resource).0;
        (!status.band.is_known()).then(|| why_unknown(status.reason).to_owned())
    });
    let decision = || {
        let Decision { action, outcome, at, .. } = pod.last.as_ref()?;
        Some(shortened(&format!("{action} {outcome} {} ago", age(*at, now))))
    };
    let resize = pod.resize.as_deref().and_then(|resize| resized(resize, now));
    let parts: Vec<String> =
        resize.into_iter().chain(label).chain(owned).chain(unknown_because.or_else(decision)).collect();
    if parts.is_empty() { unknown() } else { parts.join("; ") }
}

/// What is to be said of both resources, once where it is the same; otherwise with the name of each.
fn of_both(text: impl Fn(Resource) -> Option<String>) -> Option<String> {
    let [cpu, memory] = Resource::ALL.map(text);
    match (cpu, memory) {
        (Some(cpu), Some(memory)) if cpu == memory => Some(cpu),
        (Some(cpu), Some(memory)) => Some(format!("cpu: {cpu}, memory: {memory}")),
        (Some(cpu), None) => Some(format!("cpu: {cpu}")),
        (None, Some(memory)) => Some(format!("memory: {memory}")),
        (None, None) => None,
    }
}

/// Why nothing is known of a pod.
pub(crate) const UNKNOWN_POD: &str = "the aggregator does not know it; is it running on a node?";
/// Why nothing is known of the size of a pod to which a class applies.
pub(crate) const SILENT_ABOUT_RESIZING: &str = "the aggregator says nothing about resizing: it runs without --resize, or the replica that answered does not lead";

pub(crate) fn left_alone(why: LeftAlone) -> &'static str {
    match why {
        LeftAlone::PodIgnored => "ignored by its label",
        LeftAlone::NamespaceIgnored => "ignored by its namespace's label",
        LeftAlone::SystemNamespace => "system namespace",
        LeftAlone::Finished => "finished",
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// Safe for a terminal, and at most [`MAX_TEXT`] wide.
fn shortened(text: &str) -> String {
    cut(text, MAX_TEXT)
}

/// Safe for a terminal, and at most so wide.
fn cut(text: &str, most: usize) -> String {
    let safe = escaped(text);
    if safe.chars().count() <= most {
        return safe;
    }
    safe.chars().take(most - 3).chain("...".chars()).collect()
}
