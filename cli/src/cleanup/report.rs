//! What a cleanup did, as text for a person and as JSON for a program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Write};

use anyhow::bail;
use plimsoll_contract::keys;
use serde::Serialize;

use super::removal::{PodResult, RemovalResult};
use super::scan::{KeyKind, PodKeys};
use crate::args::ReportFormat;
use crate::connect::escaped;
use crate::pause::confirm::PauseState;
use crate::pods::UnreadablePod;
use crate::size::{self, Change};

/// Lines of one list in the text.
const MAX_LINES: usize = 20;
/// The command that lets Plimsoll write again.
pub(super) const RESUME: &str = "plimsoll pause --off";

/// What was done. Pods are sorted by namespace and name.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Nothing was changed; `removed` is what would be.
    dry_run: bool,
    /// Whether the pause switch is on now; null where that is not known.
    paused: Option<bool>,
    /// The command that lets Plimsoll write again, where it is paused or may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<&'static str>,
    /// The aggregator after the switch was set: `paused`, `absent`, or `unseen` (not confirmed).
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregator: Option<&'static str>,
    /// Pods with keys of ours at the start.
    pods: usize,
    /// Pods that got their original resources back, or would get them.
    restored: Vec<RestoredSize>,
    removed: Vec<Removed>,
    /// Pods that were deleted or recreated during the run.
    gone: Vec<PodName>,
    /// Keys that stay, because our field manager is not their only owner.
    #[serde(rename = "kept")]
    owned_by_others: Vec<OwnedByOthers>,
    failed: Vec<Failed>,
    /// Pods that cannot be read, in the end: nobody knows what is on them.
    unreadable: Vec<Failed>,
    /// Why the run ended before it knew what it did: the lists are empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct PodName {
    namespace: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct Removed {
    #[serde(flatten)]
    pod: PodName,
    keys: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RestoredSize {
    #[serde(flatten)]
    pod: PodName,
    /// Empty in a dry run: the sizes are read when they are restored.
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct OwnedByOthers {
    #[serde(flatten)]
    pod: PodName,
    kind: KeyKind,
    key: String,
    /// Field managers; empty if none is recorded.
    owners: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    #[serde(flatten)]
    pod: PodName,
    why: String,
}

impl PodName {
    fn of(pod: &PodKeys) -> PodName {
        PodName { namespace: pod.namespace.clone(), name: pod.name.clone() }
    }
}

/// Safe for a terminal.
impl Display for PodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escaped(&format!("{}/{}", self.namespace, self.name)))
    }
}

impl Report {
    /// What would be done.
    pub(super) fn of_dry_run(pods: &[PodKeys]) -> Report {
        let mut report = Report { dry_run: true, pods: pods.len(), ..Report::default() };
        let resized = pods.iter().filter(|pod| pod.is_resized());
        report
            .restored
            .extend(resized.map(|pod| RestoredSize { pod: PodName::of(pod), changes: Vec::new() }));
        pods.iter().for_each(|pod| report.add_removed(pod));
        pods.iter().for_each(|pod| report.add_owned_by_others(pod));
        report
    }

    /// There was nothing to remove, so the switch is where it was: on, off, or (`None`) not known.
    pub(super) fn of_nothing(pods: &[PodKeys], paused: Option<bool>) -> Report {
        let resume = (paused == Some(true)).then_some(RESUME);
        let mut report = Report { paused, resume, pods: pods.len(), ..Report::default() };
        pods.iter().for_each(|pod| report.add_owned_by_others(pod));
        report
    }

    /// The run ended early. `paused`: whether it left Plimsoll paused; `None`: perhaps.
    pub(super) fn of_failure(pods: &[PodKeys], paused: Option<bool>, error: &anyhow::Error) -> Report {
        let resume = (paused != Some(false)).then_some(RESUME);
        Report { paused, resume, pods: pods.len(), error: Some(format!("{error:#}")), ..Report::default() }
    }

    /// What was done. The keys on the pods `after` the run decide, not the results: a response may be lost, and a key that
    /// was removed may have been written again.
    pub(super) fn new(
        (paused, state): (bool, &PauseState),
        before: &[PodKeys],
        results: Vec<PodResult>,
        after: &[PodKeys],
    ) -> Report {
        let aggregator = Some(match state {
            PauseState::Paused => "paused",
            PauseState::NoAggregator => "absent",
            PauseState::Unconfirmed(_) => "unseen",
        });
        let (paused, resume) = (Some(paused), paused.then_some(RESUME));
        let mut report = Report { paused, resume, aggregator, pods: before.len(), ..Report::default() };
        let removable = after.iter().filter(|pod| pod.has_removable_keys());
        let mut left: BTreeMap<_, _> = removable.map(|pod| (pod.uid.as_str(), pod)).collect();
        let still_resized: BTreeSet<_> =
            after.iter().filter(|pod| pod.is_resized()).map(|pod| pod.uid.as_str()).collect();
        for (pod, result) in before.iter().zip(results) {
            let is_left = left.remove(pod.uid.as_str()).is_some();
            let PodResult { removal, restored, not_restored } = result;
            if !restored.is_empty() {
                report.restored.push(RestoredSize { pod: PodName::of(pod), changes: restored });
            }
            // Also where the record has another owner too, and so is none that is to be removed.
            if let (Some(why), true) = (not_restored, still_resized.contains(pod.uid.as_str())) {
                let kept = keys::ORIGINAL_RESOURCES;
                report.add_failed(pod, &format!("{why}; it keeps its size and its annotation {kept}"));
                continue;
            }
            match removal {
                RemovalResult::Skipped => {}
                RemovalResult::Failed(failure) if is_left => report.add_failed(pod, &failure),
                _ if is_left => report.add_failed(pod, &"its keys are back: something still writes them"),
                RemovalResult::Gone => report.gone.push(PodName::of(pod)),
                RemovalResult::Removed | RemovalResult::Failed(_) => report.add_removed(pod),
            }
        }
        for pod in left.into_values() {
            report.add_failed(pod, &"it got keys during the run: something still writes them");
        }
        after.iter().for_each(|pod| report.add_owned_by_others(pod));
        report.failed.sort_by(|a, b| a.pod.cmp(&b.pod));
        report
    }

    /// Adds the pods that cannot be read.
    pub(super) fn with_unreadable(mut self, pods: Vec<UnreadablePod>) -> Report {
        let failed = |UnreadablePod { namespace, name, problem }| Failed {
            pod: PodName { namespace, name },
            why: format!("it cannot be read: {problem}"),
        };
        self.unreadable = pods.into_iter().map(failed).collect();
        self
    }

    fn add_removed(&mut self, pod: &PodKeys) {
        let removable = pod.keys.iter().filter(|key| key.is_removable());
        let keys: Vec<_> = removable.map(|key| key.key.clone()).collect();
        if !keys.is_empty() {
            self.removed.push(Removed { pod: PodName::of(pod), keys });
        }
    }

    fn add_owned_by_others(&mut self, pod: &PodKeys) {
        let staying = pod.keys.iter().filter(|key| !key.is_removable());
        self.owned_by_others.extend(staying.map(|key| OwnedByOthers {
            pod: PodName::of(pod),
            kind: key.kind,
            key: key.key.clone(),
            owners: key.others.clone(),
        }));
    }

    fn add_failed(&mut self, pod: &PodKeys, why: &dyn Display) {
        self.failed.push(Failed { pod: PodName::of(pod), why: why.to_string() });
    }

    /// # Errors
    /// If keys remain that should have been removed, or may remain.
    pub(super) fn result(&self) -> anyhow::Result<()> {
        match (self.failed.len(), self.unreadable.len()) {
            (0, 0) => Ok(()),
            (0, unreadable) => bail!(
                "Plimsoll keys may remain on {}; correct the fields above and run it again",
                count(unreadable)
            ),
            (failed, _) => {
                bail!("Plimsoll keys remain on {}; fix the errors above and run it again", count(failed))
            }
        }
    }

    pub(super) fn print(&self, format: ReportFormat, out: &mut impl Write) -> io::Result<()> {
        match format {
            ReportFormat::Json => {
                serde_json::to_writer_pretty(&mut *out, self)?;
                writeln!(out)?;
            }
            ReportFormat::Text => self.print_text(out)?,
        }
        out.flush()
    }

    fn print_text(&self, out: &mut impl Write) -> io::Result<()> {
        let nothing_done = self.removed.is_empty() && self.gone.is_empty() && self.failed.is_empty();
        if nothing_done && !self.unreadable.is_empty() {
            writeln!(out, "no pod that can be read has a key that Plimsoll alone owns")?;
        } else if nothing_done {
            writeln!(out, "nothing to do: no pod has a key that Plimsoll alone owns")?;
        } else {
            let verb = if self.dry_run { "would be removed" } else { "removed" };
            writeln!(out, "Plimsoll keys were on {}; {verb} from {}", count(self.pods), self.removed.len())?;
        }
        if !self.restored.is_empty() {
            let verb = if self.dry_run { "would be restored" } else { "restored" };
            writeln!(out, "original resources {verb} on {}:", count(self.restored.len()))?;
            print_list(out, &self.restored, |one| {
                format!("{}  {}", one.pod, size::listed(&one.changes)).trim_end().to_owned()
            })?;
        }
        if self.dry_run {
            print_list(out, &self.removed, |one| format!("{}  {}", one.pod, escaped(&one.keys.join(" "))))?;
        }
        if !self.gone.is_empty() {
            let verb = if self.gone.len() == 1 { "was" } else { "were" };
            writeln!(out, "{} {verb} deleted meanwhile", count(self.gone.len()))?;
        }
        if !self.owned_by_others.is_empty() {
            let remedy = "`kubectl label` or `annotate pod NAME KEY-` removes one";
            writeln!(out, "not removed, because others own them ({remedy}):")?;
            print_list(out, &self.owned_by_others, |one| {
                let kind = match one.kind {
                    KeyKind::Label => "label",
                    KeyKind::Annotation => "annotation",
                };
                let owners =
                    if one.owners.is_empty() { "none recorded".into() } else { one.owners.join(", ") };
                format!("{}  {kind} {}  owner: {}", one.pod, escaped(&one.key), escaped(&owners))
            })?;
        }
        if !self.failed.is_empty() {
            writeln!(out, "failed on {}:", count(self.failed.len()))?;
            print_list(out, &self.failed, |one| format!("{}  {}", one.pod, one.why))?;
        }
        if !self.unreadable.is_empty() {
            writeln!(
                out,
                "could not look at {}, which may have keys of Plimsoll:",
                count(self.unreadable.len())
            )?;
            print_list(out, &self.unreadable, |one| format!("{}  {}", one.pod, escaped(&one.why)))?;
        }
        Ok(())
    }
}

/// Says whether Plimsoll is paused, and whether the aggregator confirmed it.
pub(super) fn print_pause(paused: bool, state: &PauseState, out: &mut impl Write) -> io::Result<()> {
    let switch = match paused {
        true => "paused".to_owned(),
        false => format!("nothing to pause, there is no namespace {}", keys::SYSTEM_NAMESPACE),
    };
    match state {
        PauseState::Unconfirmed(why) => {
            let state = PauseState::Unconfirmed(escaped(why));
            writeln!(out, "{switch}; but {state}; continuing, and checking at the end whether keys return")
        }
        state => writeln!(out, "{switch}: {state}"),
    }
}

/// `1 pod`, `2 pods`.
pub(super) fn count(pods: usize) -> String {
    format!("{pods} {}", if pods == 1 { "pod" } else { "pods" })
}

fn print_list<T>(out: &mut impl Write, items: &[T], line: impl Fn(&T) -> String) -> io::Result<()> {
    for item in items.iter().take(MAX_LINES) {
        writeln!(out, "  {}", line(item))?;
    }
    match items.len().saturating_sub(MAX_LINES) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; `-o json` lists all"),
    }
}
