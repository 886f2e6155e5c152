//! `plimsoll cleanup`: removes what Plimsoll wrote from the pods, with the caller's own credentials and without needing an
//! aggregator.
//!
//! ```text
//! scan -> (nothing there: done) -> pause -> confirm that the aggregator paused -> scan
//!      -> per pod: original resources (if Plimsoll resized it), then one apply without keys -> scan -> report
//! ```
//!
//! A pod whose original resources cannot be restored keeps the annotation that names them, and the run is a failure.
//!
//! The apply uses our field manager, is never forced, and contains the pod's uid: the API server then removes exactly the
//! keys that we alone own. Keys with another owner stay and are listed; a pod that was recreated under the same name is
//! not touched, and none is created. Single failures do not end the run, and the last scan, not the responses, decides
//! what is left. A pod that cannot be read may have keys: it is named, and the run is a failure. A second run does nothing. Plimsoll stays
//! paused, because otherwise the labels would return at once; whatever ends the run after that, also a signal, says so last.
//!
//! Outside our namespaces nothing else is left: the Events about conflicts expire.
//!
//! Tests: `cleanup/tests.rs`, and `tests/suite/cleanup.rs` over HTTPS, beside a running aggregator.

mod removal;
mod report;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};

use anyhow::{Context, anyhow, bail};
use kube::Client;
use kube::api::Api;
use plimsoll_objects::Object;
use plimsoll_process::shutdown::Shutdown;

use self::report::{RESUME, Report, count};
use self::scan::{OwnedPod, PodKeys, scan};
use crate::args::{CleanupArgs, ReportFormat};
use crate::pause::confirm::{self, Aggregator};
use crate::pause::{self, Switch};
use crate::pods::{self, Collected};
use crate::prompt;

/// Surveys, pauses, removes, verifies, reports. On a terminal it asks before it pauses, and names the `context`. From then on `signals`
/// may interrupt it.
pub(crate) async fn run(
    client: &Client,
    context: Option<&str>,
    args: &CleanupArgs,
    signals: fn() -> io::Result<Shutdown>,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let api = pods::api(client, args.namespace.as_deref());
    let survey = scan(&api).await?;
    if args.dry_run {
        let report = Report::of_dry_run(&survey.picked).with_unreadable(survey.unreadable);
        report.print(args.output, out)?;
        return report.result();
    }
    let pods = survey.picked.iter().filter(|pod| pod.has_own_keys()).count();
    if pods == 0 {
        return finish_without_change(client, survey, args.output, out).await;
    }
    let resized = survey.picked.iter().filter(|pod| pod.is_resized()).count();
    if !prompt::allowed(args.yes, &question(pods, resized, context))? {
        bail!("nothing was changed");
    }
    let aggregator = Aggregator::new(client, args.url.as_ref())?;
    let cleanup = Cleanup { client, api, aggregator, output: args.output };
    let stop = signals().context("handling signals")?;
    cleanup.run(&survey.picked, &stop, out).await
}

/// Says that there is nothing to do, and whether an earlier run left Plimsoll paused.
async fn finish_without_change(
    client: &Client,
    survey: Collected<PodKeys>,
    output: ReportFormat,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let paused = pause::is_on(client).await;
    let report = Report::of_nothing(&survey.picked, paused.as_ref().ok().copied());
    let report = report.with_unreadable(survey.unreadable);
    report.print(output, out)?;
    if output == ReportFormat::Text {
        let said = match paused {
            Ok(true) => LeftPaused::Surely.to_string(),
            Ok(false) => "Plimsoll is not paused, and was not changed".to_owned(),
            Err(failure) => {
                format!("nothing was changed; whether Plimsoll is paused is not known: {failure}")
            }
        };
        writeln!(out, "{said}")?;
    }
    out.flush()?;
    report.result()
}

/// A run that changes something.
struct Cleanup<'a> {
    client: &'a Client,
    api: Api<Object<OwnedPod>>,
    aggregator: Aggregator,
    output: ReportFormat,
}

/// What a run did so far.
#[derive(Debug, Default)]
struct Progress {
    left_paused: Option<LeftPaused>,
    is_reported: bool,
}

/// Whether a run left Plimsoll paused. The last words of a person's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftPaused {
    Surely,
    /// The request was sent, and its answer is not known.
    Perhaps,
}

impl fmt::Display for LeftPaused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            LeftPaused::Surely => "is still",
            LeftPaused::Perhaps => "may be",
        };
        write!(f, "Plimsoll {verb} paused: `{RESUME}` lets it write the labels again")
    }
}

impl Cleanup<'_> {
    /// Runs until the end or `stop`. An error says last whether Plimsoll is left paused; as JSON, a report says it too.
    async fn run(
        &self,
        survey: &[PodKeys],
        stop: &Shutdown,
        out: &mut (impl Write + Send),
    ) -> anyhow::Result<()> {
        let mut progress = Progress::default();
        let result = tokio::select! {
            biased;
            () = stop.triggered() => {
                Err(anyhow!("interrupted; some keys may be removed already: run it again to remove the others"))
            }
            result = self.pause_and_remove(&mut progress, out) => result,
        };
        let Err(error) = result else { return Ok(()) };
        let Progress { left_paused, is_reported } = progress;
        if self.output == ReportFormat::Json && !is_reported {
            let paused = match left_paused {
                None => Some(false),
                Some(LeftPaused::Surely) => Some(true),
                Some(LeftPaused::Perhaps) => None,
            };
            // the error itself is on stderr, also where nobody reads this
            let _ = Report::of_failure(survey, paused, &error).print(self.output, out);
        }
        match left_paused {
            // without the error as its source: a reader of the output that has exited must not hide this
            Some(left_paused) => bail!("{error:#}\n{left_paused}"),
            None => Err(error),
        }
    }

    async fn pause_and_remove(
        &self,
        progress: &mut Progress,
        out: &mut (impl Write + Send),
    ) -> anyhow::Result<()> {
        progress.left_paused = Some(LeftPaused::Perhaps);
        let switch = pause::set(self.client, true).await;
        progress.left_paused = match &switch {
            Ok(Switch::Set) => Some(LeftPaused::Surely),
            Err(failure) if failure.is_unanswered() => Some(LeftPaused::Perhaps),
            Ok(Switch::NotInstalled) | Err(_) => None,
        };
        let paused = switch? == Switch::Set;
        // Also without a switch: while its namespace is being deleted, an aggregator may still run.
        let state = confirm::wait(&self.aggregator).await;
        let is_text = self.output == ReportFormat::Text;
        if is_text {
            report::print_pause(paused, &state, out)?;
        }
        // Again: keys may have been written between the survey and the pause.
        let before = scan(&self.api).await?;
        let results = removal::remove_all(self.client, &before.picked).await;
        let after = scan(&self.api).await.context("some keys may be removed already; run it again")?;
        let report = Report::new((paused, &state), &before.picked, results, &after.picked);
        let report = report.with_unreadable(after.unreadable);
        report.print(self.output, out)?;
        progress.is_reported = true;
        report.result()?;
        if is_text && paused {
            writeln!(
                out,
                "Plimsoll stays paused. Next: `kubectl delete -k manifests/overlays/...` uninstalls it, \
                 `{RESUME}` lets it write the labels again."
            )?;
        }
        Ok(out.flush()?)
    }
}

/// What a person is asked.
fn question(pods: usize, resized: usize, context: Option<&str>) -> String {
    let cluster = prompt::in_context(context);
    let restore = match resized {
        0 => String::new(),
        resized => format!(", restore the original resources of {}", count(resized)),
    };
    format!("Pause Plimsoll{cluster}{restore} and remove its keys from {}?", count(pods))
}
