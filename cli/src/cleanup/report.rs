//! What was done, for a person and for a program.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use anyhow::bail;
use plimsoll_contract::keys;
use serde::Serialize;

use super::removal::Outcome;
use super::survey::{Claim, Found, KeyKind};
use crate::args::Account;
use crate::connect::escaped;
use crate::pause::standstill::Standstill;

/// Lines of one list that a person is shown.
const SHOWN: usize = 20;

/// The account of a run. Pods are in the order of namespace and name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Nothing was changed; `removed` is what would be.
    dry_run: bool,
    /// Whether the pause switch is on; otherwise there is none.
    paused: bool,
    /// What was seen of the aggregator: `paused`, `absent`, `unseen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregator: Option<&'static str>,
    /// Pods with keys of ours at the beginning.
    pods: usize,
    removed: Vec<Removed>,
    /// Pods that went away, or were made again, meanwhile.
    gone: Vec<PodName>,
    /// Keys that stay, because our field manager is not their only owner.
    kept: Vec<Kept>,
    failed: Vec<Failed>,
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
struct Kept {
    #[serde(flatten)]
    pod: PodName,
    kind: KeyKind,
    key: String,
    /// Field managers; none where nobody is recorded.
    owners: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    #[serde(flatten)]
    pod: PodName,
    why: String,
}

impl PodName {
    fn of(found: &Found) -> PodName {
        PodName { namespace: found.namespace.clone(), name: found.name.clone() }
    }

    fn shown(&self) -> String {
        escaped(&format!("{}/{}", self.namespace, self.name))
    }
}

impl Kept {
    fn of(found: &Found) -> impl Iterator<Item = Kept> {
        found.kept().map(|Claim { kind, key, others, .. }| Kept {
            pod: PodName::of(found),
            kind: *kind,
            key: key.clone(),
            owners: others.clone(),
        })
    }
}

impl Report {
    /// What would be done.
    pub(super) fn of_dry_run(found: &[Found]) -> Report {
        let mut report = Report::empty(found.len());
        report.dry_run = true;
        for pod in found {
            report.removed.extend(Removed::of(pod));
            report.kept.extend(Kept::of(pod));
        }
        report
    }

    /// What was done. What is on the pods afterwards counts, not what the answers said: an answer may be lost, and what was
    /// removed may be back.
    pub(super) fn new(
        (paused, seen): (bool, &Standstill),
        before: &[Found],
        outcomes: Vec<Outcome>,
        after: &[Found],
    ) -> Report {
        let mut report = Report::empty(before.len());
        report.paused = paused;
        report.aggregator = Some(match seen {
            Standstill::Seen => "paused",
            Standstill::NoAggregator => "absent",
            Standstill::Unseen(_) => "unseen",
        });
        let mut left: BTreeMap<_, _> = after.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
        for (pod, outcome) in before.iter().zip(outcomes) {
            let stays = left.remove(pod.uid.as_str()).is_some_and(|now| now.removable().next().is_some());
            match outcome {
                Outcome::Left => {}
                Outcome::Failed(failure) if stays => report.fail(pod, &failure),
                _ if stays => report.fail(pod, &"its keys are back: something still writes them"),
                Outcome::Gone => report.gone.push(PodName::of(pod)),
                Outcome::Done | Outcome::Failed(_) => report.removed.extend(Removed::of(pod)),
            }
        }
        for pod in left.into_values().filter(|pod| pod.removable().next().is_some()) {
            report.fail(pod, &"it got keys of ours meanwhile: something still writes them");
        }
        report.kept.extend(after.iter().flat_map(Kept::of));
        report.failed.sort_by(|a, b| a.pod.cmp(&b.pod));
        report
    }

    fn empty(pods: usize) -> Report {
        let (removed, gone, kept, failed) = Default::default();
        Report { dry_run: false, paused: false, aggregator: None, pods, removed, gone, kept, failed }
    }

    fn fail(&mut self, pod: &Found, why: &dyn Display) {
        self.failed.push(Failed { pod: PodName::of(pod), why: why.to_string() });
    }

    /// Prints it.
    pub(super) fn print(&self, form: Account, out: &mut impl Write) -> io::Result<()> {
        match form {
            Account::Json => {
                serde_json::to_writer_pretty(&mut *out, self)?;
                writeln!(out)?;
            }
            Account::Text => self.print_text(out)?,
        }
        out.flush()
    }

    /// # Errors
    /// When keys of ours stay that should not.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        match self.failed.len() {
            0 => Ok(()),
            failed => {
                bail!("keys of ours stay on {}; mend what is said above, and run it again", count(failed))
            }
        }
    }

    fn print_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.removed.is_empty() && self.gone.is_empty() && self.failed.is_empty() {
            writeln!(out, "nothing to do: no pod carries a key that is ours alone")?;
        } else {
            let did = if self.dry_run { "would be removed" } else { "removed" };
            writeln!(out, "keys of ours were on {}; {did} from {}", count(self.pods), self.removed.len())?;
        }
        if self.dry_run {
            list(out, &self.removed, |one| format!("{}  {}", one.pod.shown(), escaped(&one.keys.join(" "))))?;
        }
        if !self.gone.is_empty() {
            writeln!(out, "{} went away meanwhile", count(self.gone.len()))?;
        }
        if !self.kept.is_empty() {
            let how = "`kubectl label` or `annotate pod NAME KEY-` takes one off";
            writeln!(out, "kept, because somebody else owns it ({how}):")?;
            list(out, &self.kept, |one| {
                let owners =
                    if one.owners.is_empty() { "nobody on record".into() } else { one.owners.join(", ") };
                format!(
                    "{}  {} {}  owner: {}",
                    one.pod.shown(),
                    one.kind,
                    escaped(&one.key),
                    escaped(&owners)
                )
            })?;
        }
        if !self.failed.is_empty() {
            writeln!(out, "failed on {}:", count(self.failed.len()))?;
            list(out, &self.failed, |one| format!("{}  {}", one.pod.shown(), one.why))?;
        }
        Ok(())
    }
}

impl Removed {
    /// Nothing, where nothing is ours alone.
    fn of(pod: &Found) -> Option<Removed> {
        let keys: Vec<_> = pod.removable().map(|claim| claim.key.clone()).collect();
        (!keys.is_empty()).then(|| Removed { pod: PodName::of(pod), keys })
    }
}

/// Says how it stands with the switch, and with whoever follows it.
pub(super) fn paused(on: bool, seen: &Standstill, out: &mut impl Write) -> io::Result<()> {
    let switch = match on {
        true => "paused".to_owned(),
        false => format!("nothing to pause, there is no namespace {}", keys::SYSTEM_NAMESPACE),
    };
    match seen {
        Standstill::Unseen(why) => {
            let unseen = Standstill::Unseen(escaped(why));
            writeln!(out, "{switch}; but {unseen}; going on, and looking at the end whether keys come back")
        }
        seen => writeln!(out, "{switch}: {seen}"),
    }
}

/// Says what may come next.
pub(super) fn next(paused: bool, out: &mut impl Write) -> io::Result<()> {
    if paused {
        writeln!(
            out,
            "Plimsoll stays paused. Next: `kubectl delete -k manifests/overlays/...` uninstalls it, \
             `plimsoll pause --off` has the labels written again."
        )?;
    }
    out.flush()
}

/// `1 pod`, `2 pods`.
pub(super) fn count(pods: usize) -> String {
    format!("{pods} {}", if pods == 1 { "pod" } else { "pods" })
}

fn list<T>(out: &mut impl Write, items: &[T], line: impl Fn(&T) -> String) -> io::Result<()> {
    for item in items.iter().take(SHOWN) {
        writeln!(out, "  {}", line(item))?;
    }
    match items.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; `-o json` names all"),
    }
}
