//! Takes what Plimsoll wrote off the pods again, with the caller's own credentials and with no aggregator needed.
//!
//! ```text
//! pause -> see the aggregator stand still -> survey -> an apply of nothing, a pod -> survey -> report
//! ```
//!
//! The apply is by our field manager, never forced, with the pod's uid in it: the API server then removes exactly the keys
//! that we alone own. What somebody else owns stays and is named; a pod made again under the same name is not touched,
//! one that is gone is not made. Single failures do not end it; the second survey, not the answers, says what is left.
//! Doing it twice does nothing the second time. Plimsoll stays paused, or the labels would come back at once.
//!
//! Nothing else is left outside our namespaces: the Events about conflicts expire by themselves.
//!
//! Proof: `cleanup/tests.rs`, and `tests/suite/cleanup.rs` over HTTPS, beside an aggregator that runs.

mod removal;
mod report;
mod survey;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use kube::Client;

use self::report::Report;
use self::survey::survey;
use crate::args::{Account, CleanupArgs};
use crate::connect::escaped;
use crate::pause::standstill::{self, Place};
use crate::pause::{self, Turned};
use crate::pods;

/// Pauses, removes, verifies, reports. A person at a terminal is asked first, and told in which `context`.
///
/// # Errors
/// What kept it from beginning or from looking again; else that keys of ours stay, and on how many pods.
pub async fn run(
    client: &Client,
    context: Option<&str>,
    args: &CleanupArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let pods = pods::api(client, args.namespace.as_deref());
    if args.dry_run {
        return Ok(Report::of_dry_run(&survey(&pods).await?).print(args.output, out)?);
    }
    if !args.yes && io::stdin().is_terminal() {
        let removable =
            survey(&pods).await?.iter().filter(|found| found.removable().next().is_some()).count();
        if removable > 0 && !confirmed(removable, context, &mut io::stdin().lock(), &mut io::stderr())? {
            bail!("nothing was changed");
        }
    }
    let place = Place::new(client, args.url.as_ref())?;
    let on = pause::turn(client, true).await? == Turned::Done;
    // Without a switch too: while its namespace is on its way out, an aggregator may still run.
    let seen = standstill::wait(&place).await;
    let told = args.output == Account::Text;
    if told {
        report::paused(on, &seen, out)?;
    }
    let before = survey(&pods).await?;
    let outcomes = removal::all(client, &before).await;
    let after = survey(&pods).await.context("the keys of some pods may be off already; run it again")?;
    let report = Report::new((on, &seen), &before, outcomes, &after);
    report.print(args.output, out)?;
    report.verdict()?;
    if told {
        report::next(on, out)?;
    }
    Ok(())
}

/// Asks a person; only a clear yes is one.
fn confirmed(
    pods: usize,
    context: Option<&str>,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<bool> {
    let place = context.map(|context| format!(" in context {}", escaped(context))).unwrap_or_default();
    write!(out, "Pause Plimsoll{place} and take its keys off {}? [y/N] ", report::count(pods))?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
