//! Labels as a table, as JSON, as CSV.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::Labels;
use crate::args::Output;
use crate::connect::escaped;

/// What happened to a pod, with `--watch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// It is there.
    Added,
    /// Its labels changed.
    Changed,
    /// It is gone; the labels are its last ones.
    Deleted,
}

/// One pod.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
}

/// The widths of the first two columns of a table, so that later lines still align.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths(usize, usize);

impl Widths {
    pub(super) fn of(pods: &Labels) -> Self {
        let widest = |lengths: &mut dyn Iterator<Item = usize>, least| lengths.max().unwrap_or(0).max(least);
        let namespaces = &mut pods.keys().map(|(namespace, _)| escaped(namespace).chars().count());
        let names = &mut pods.keys().map(|(_, name)| escaped(name).chars().count());
        Widths(widest(namespaces, "NAMESPACE".len()), widest(names, "POD".len()))
    }
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Changed => "changed",
            Change::Deleted => "deleted",
        }
    }
}

/// Every pod, at once.
pub(super) fn all(pods: &Labels, output: Output, out: &mut impl Write) -> io::Result<()> {
    let entries =
        pods.iter().map(|((namespace, name), labels)| Entry { change: None, namespace, name, labels });
    if output == Output::Json {
        serde_json::to_writer_pretty(&mut *out, &entries.collect::<Vec<_>>())?;
        return writeln!(out);
    }
    let widths = Widths::of(pods);
    header(output, false, widths, out)?;
    for entry in entries {
        one(&entry, output, widths, out)?;
    }
    out.flush()
}

/// The first line, where the format has one.
pub(super) fn header(output: Output, changes: bool, widths: Widths, out: &mut impl Write) -> io::Result<()> {
    match (output, changes) {
        (Output::Table, changes) => {
            let first = if changes { "EVENT    " } else { "" };
            writeln!(out, "{first}{:w0$}  {:w1$}  LABELS", "NAMESPACE", "POD", w0 = widths.0, w1 = widths.1)
        }
        (Output::Csv, true) => csv(&["event", "namespace", "pod", "label", "value"], out),
        (Output::Csv, false) => csv(&["namespace", "pod", "label", "value"], out),
        (Output::Json, _) => Ok(()),
    }
}

/// One pod: a line, or with CSV a line a label.
pub(super) fn one(entry: &Entry<'_>, output: Output, widths: Widths, out: &mut impl Write) -> io::Result<()> {
    let change = entry.change.map(Change::as_str);
    match output {
        Output::Table => {
            let first = change.map(|change| format!("{change:9}")).unwrap_or_default();
            let (namespace, name) = (escaped(entry.namespace), escaped(entry.name));
            let labels: Vec<_> = entry.labels.iter().map(|(k, v)| escaped(&format!("{k}={v}"))).collect();
            let labels = if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") };
            writeln!(out, "{first}{namespace:w0$}  {name:w1$}  {labels}", w0 = widths.0, w1 = widths.1)
        }
        Output::Json => {
            serde_json::to_writer(&mut *out, entry)?;
            writeln!(out)
        }
        Output::Csv => {
            let mut line = |label: &str, value: &str| {
                let fields: Vec<_> =
                    change.into_iter().chain([entry.namespace, entry.name, label, value]).collect();
                csv(&fields, out)
            };
            if entry.labels.is_empty() {
                return line("", "");
            }
            entry.labels.iter().try_for_each(|(label, value)| line(label, value))
        }
    }
}

/// One record of RFC 4180: quoted where it has to be, quotes doubled.
fn csv(fields: &[&str], out: &mut impl Write) -> io::Result<()> {
    let quoted = fields.iter().map(|field| {
        let field = escaped(field);
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    write!(out, "{}\r\n", quoted.collect::<Vec<_>>().join(","))
}
