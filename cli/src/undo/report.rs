//! What an undo did, as text for a person and as JSON for a program.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::bail;
use plimsoll_contract::keys;
use serde::Serialize;

use crate::args::ReportFormat;
use crate::connect::escaped;
use crate::live::PodId;
use crate::pods::UnreadablePod;
use crate::restore::Restored;
use crate::size::{self, Change};

/// One pod.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    #[serde(skip)]
    pub(super) pod: PodId,
    namespace: String,
    name: String,
    /// `restored`, `already`, `never`, `finishing`, `gone`, `failed`.
    result: &'static str,
    changes: Vec<Change>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Entry {
    pub(super) fn new(pod: &PodId, restored: Restored) -> Entry {
        let (result, changes, why) = match restored {
            Restored::Done(changes) => ("restored", changes, None),
            Restored::Already => ("already", Vec::new(), None),
            Restored::Never => ("never", Vec::new(), None),
            Restored::Finishing => ("finishing", Vec::new(), None),
            Restored::Gone => ("gone", Vec::new(), None),
            Restored::Failed { why, .. } => ("failed", Vec::new(), Some(why)),
        };
        let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
        Entry { pod: pod.clone(), namespace, name, result, changes, why }
    }

    /// Whether it has its original resources now.
    pub(super) fn is_restored(&self) -> bool {
        matches!(self.result, "restored" | "already")
    }

    fn line(&self, dry_run: bool) -> String {
        let said = match self.result {
            "restored" if dry_run => format!("would be restored: {}", size::listed(&self.changes)),
            "restored" => format!("restored: {}", size::listed(&self.changes)),
            "already" => "has its original resources".to_owned(),
            "never" => "was never resized by Plimsoll".to_owned(),
            "finishing" => "has finished or is being deleted; nothing to do".to_owned(),
            "gone" => "was deleted meanwhile".to_owned(),
            _ => format!("FAILED: {}", self.why.as_deref().unwrap_or_default()),
        };
        format!("{}  {said}", escaped(&format!("{}/{}", self.namespace, self.name)))
    }
}

/// What would resize the pods again.
#[derive(Debug)]
pub(super) struct Again {
    /// Whether Plimsoll is paused; `None`: not known.
    pub(super) paused: Option<bool>,
    /// Names of pods by the class of their own label.
    pub(super) classes: BTreeMap<String, Vec<String>>,
    /// The class that the namespace gives, or why that is not known.
    pub(super) of_namespace: Result<Option<String>, String>,
}

impl Default for Again {
    fn default() -> Self {
        Again { paused: None, classes: BTreeMap::new(), of_namespace: Ok(None) }
    }
}

impl Again {
    /// Said below the pods: that they are resized again, and what prevents it.
    fn lines(&self, namespace: &str) -> Vec<String> {
        let (namespace, mut lines) = (escaped(namespace), Vec::new());
        for (class, pods) in &self.classes {
            let class = escaped(class);
            let names = escaped(&pods.join(" "));
            lines.push(format!(
                "class {class} still applies to {}: when their load asks for it, Plimsoll resizes them again. To prevent that, remove \
                 the label `kubectl label pod -n {namespace} {names} {}-` and from the template, or set `mode: Recommend` in SLAClass {class}, \
                 or run `plimsoll pause`",
                count(pods.len()),
                keys::SLA
            ));
        }
        match &self.of_namespace {
            Ok(None) => {}
            Ok(Some(class)) => {
                let class = escaped(class);
                lines.push(format!(
                    "namespace {namespace} gives class {class} to its pods that name none: Plimsoll resizes them again. To prevent that, \
                     remove the label `kubectl label namespace {namespace} {}-`, or set `mode: Recommend` in SLAClass {class}, or run \
                     `plimsoll pause`",
                    keys::SLA
                ));
            }
            Err(why) => lines.push(format!(
                "whether namespace {namespace} gives its pods a class is not known: {}; with a class, Plimsoll resizes them again",
                escaped(why)
            )),
        }
        if self.paused == Some(true) {
            lines.push("Plimsoll is paused: nothing is resized until `plimsoll pause --off`".to_owned());
        }
        lines
    }
}

/// What was done. Pods are sorted by namespace and name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Nothing was changed; the API server only said whether it would.
    dry_run: bool,
    pods: Vec<Entry>,
    /// Pods that cannot be read.
    unreadable: Vec<String>,
    /// What would resize them again, and what prevents it.
    again: Vec<String>,
}

impl Report {
    pub(super) fn new(
        dry_run: bool,
        namespace: &str,
        pods: Vec<Entry>,
        unreadable: &[UnreadablePod],
        again: &Again,
    ) -> Report {
        let unreadable = unreadable.iter().map(ToString::to_string).collect();
        Report { dry_run, pods, unreadable, again: again.lines(namespace) }
    }

    pub(super) fn print(&self, format: ReportFormat, out: &mut impl Write) -> io::Result<()> {
        match format {
            ReportFormat::Json => {
                serde_json::to_writer_pretty(&mut *out, self)?;
                writeln!(out)?;
            }
            ReportFormat::Text => {
                if self.pods.is_empty() {
                    let of_all = if self.unreadable.is_empty() { "" } else { " of those that can be read" };
                    writeln!(out, "nothing to do: no pod{of_all} was resized by Plimsoll")?;
                }
                for pod in &self.pods {
                    writeln!(out, "{}", pod.line(self.dry_run))?;
                }
                for line in self.unreadable.iter().chain(&self.again) {
                    writeln!(out, "{line}")?;
                }
            }
        }
        out.flush()
    }

    /// # Errors
    /// If a pod could not be restored, or not be read.
    pub(super) fn result(&self) -> anyhow::Result<()> {
        let failed = self.pods.iter().filter(|pod| pod.why.is_some()).count();
        match (failed, self.unreadable.len()) {
            (0, 0) => Ok(()),
            (0, unreadable) => {
                bail!(
                    "{} could not be read and may have been resized; correct the fields above",
                    count(unreadable)
                )
            }
            (failed, _) if self.dry_run => bail!("{} could not be restored, see above", count(failed)),
            (failed, _) => bail!(
                "{} could not be restored: the size stays as it is, and nothing was evicted. Fix the errors above and run it again",
                count(failed)
            ),
        }
    }
}

/// `1 pod`, `2 pods`.
pub(super) fn count(pods: usize) -> String {
    format!("{pods} {}", if pods == 1 { "pod" } else { "pods" })
}
