//! `plimsoll cleanup`: removes what Plimsoll wrote from the pods, with the caller's own credentials and without needing an
//! aggregator.
//!
//! ```text
//! pause -> confirm that the aggregator paused -> scan -> one apply without keys per pod -> scan -> report
//! ```
//!
//! The apply uses our field manager, is never forced, and contains the pod's uid: the API server then removes exactly the
//! keys that we alone own. Keys with another owner stay and are listed; a pod that was recreated under the same name is
//! not touched, and none is created. Single failures do not end the run, and the second scan, not the responses, decides
//! what is left. A second run does nothing. Plimsoll stays paused, because otherwise the labels would return at once.
//!
//! Outside our namespaces nothing else is left: the Events about conflicts expire.
//!
//! Tests: `cleanup/tests.rs`, and `tests/suite/cleanup.rs` over HTTPS, beside a running aggregator.

mod removal;
mod report;
mod scan;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use kube::Client;

use self::report::{Report, count};
use self::scan::scan;
use crate::args::{CleanupArgs, ReportFormat};
use crate::connect::escaped;
use crate::pause::confirm::{self, Aggregator};
use crate::pause::{self, Switch};
use crate::pods;

/// Pauses, removes, verifies, reports. On a terminal it asks first, and names the `context`.
pub(crate) async fn run(
    client: &Client,
    context: Option<&str>,
    args: &CleanupArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let pods = pods::api(client, args.namespace.as_deref());
    if args.dry_run {
        return Ok(Report::of_dry_run(&scan(&pods).await?).print(args.output, out)?);
    }
    if !args.yes && io::stdin().is_terminal() {
        let removable = scan(&pods).await?.iter().filter(|pod| pod.has_removable_keys()).count();
        if removable > 0 && !confirmed(removable, context, &mut io::stdin().lock(), &mut io::stderr())? {
            bail!("nothing was changed");
        }
    }
    let aggregator = Aggregator::new(client, args.url.as_ref())?;
    let paused = pause::set(client, true).await? == Switch::Set;
    // Also without a switch: while its namespace is being deleted, an aggregator may still run.
    let state = confirm::wait(&aggregator).await;
    let is_text = args.output == ReportFormat::Text;
    if is_text {
        report::print_pause(paused, &state, out)?;
    }
    let before = scan(&pods).await?;
    let results = removal::remove_all(client, &before).await;
    let after = scan(&pods).await.context("some keys may be removed already; run it again")?;
    let report = Report::new((paused, &state), &before, results, &after);
    report.print(args.output, out)?;
    report.result()?;
    if is_text && paused {
        writeln!(
            out,
            "Plimsoll stays paused. Next: `kubectl delete -k manifests/overlays/...` uninstalls it, \
             `plimsoll pause --off` lets it write the labels again."
        )?;
    }
    Ok(out.flush()?)
}

/// Asks for confirmation. Anything but y or yes is a no.
fn confirmed(
    pods: usize,
    context: Option<&str>,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<bool> {
    let cluster = context.map(|context| format!(" in context {}", escaped(context))).unwrap_or_default();
    write!(out, "Pause Plimsoll{cluster} and remove its keys from {}? [y/N] ", count(pods))?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
