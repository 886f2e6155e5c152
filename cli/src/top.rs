//! The live table of pods, as the aggregator sees them, below what the replica that answers says of itself.

mod live;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use plimsoll_contract::status::{PodStatus, ResourceStatus};

use crate::args::{Sort, TopArgs};
use crate::source::{Snapshot, Source};
use crate::table::{self, PodTable, Row};

/// Shows the table: live on a terminal, else once as plain lines.
///
/// # Errors
/// Why the first request failed, or an error of writing to `out`. On a terminal later failures are shown in the
/// status line.
pub(crate) async fn run(
    source: &Source,
    args: &TopArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let snapshot = source.read().await?;
    if args.once || !io::stdout().is_terminal() {
        for line in table_of(&snapshot, args, Timestamp::now()).lines() {
            writeln!(out, "{line}")?;
        }
        return Ok(out.flush()?);
    }
    live::run(source, args, snapshot).await
}

/// The table of the selected pods, sorted as `args` says.
pub fn table_of(snapshot: &Snapshot, args: &TopArgs, now: Timestamp) -> PodTable {
    let status = snapshot.status.as_deref();
    let labels = status.is_none_or(|status| status.output != table::METRICS);
    let rows = selected(&snapshot.pods, args).into_iter().map(|pod| Row::new(pod, labels, now)).collect();
    PodTable { banner: status.map(table::banner).unwrap_or_default(), rows }
}

fn selected<'a>(pods: &'a [PodStatus], args: &TopArgs) -> Vec<&'a PodStatus> {
    let selected =
        |pod: &&PodStatus| args.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace);
    let mut pods: Vec<_> = pods.iter().filter(selected).collect();
    pods.sort_by(|a, b| {
        let by_load = match args.sort {
            Sort::Name => Ordering::Equal,
            Sort::Cpu => by_utilization(&a.cpu, &b.cpu),
            Sort::Memory => by_utilization(&a.memory, &b.memory),
        };
        by_load.then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    });
    pods
}

/// The higher utilization first, unknown ones last.
fn by_utilization(a: &ResourceStatus, b: &ResourceStatus) -> Ordering {
    let known = |status: &ResourceStatus| status.utilization.filter(|u| u.is_finite());
    match (known(a), known(b)) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
