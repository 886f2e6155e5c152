//! Labels as a table, as JSON, as CSV.

use std::io::{self, Write};

use serde::Serialize;

use super::{Labels, PodLabels, PodName};
use crate::args::Output;
use crate::connect::escaped;

/// One pod in JSON.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    namespace: &'a str,
    name: &'a str,
    labels: &'a Labels,
}

/// Prints all pods.
pub(super) fn all(pods: &PodLabels, output: Output, out: &mut impl Write) -> io::Result<()> {
    if output == Output::Json {
        let entries =
            pods.iter().map(|((namespace, name), labels)| Entry { change: None, namespace, name, labels });
        serde_json::to_writer_pretty(&mut *out, &entries.collect::<Vec<_>>())?;
        writeln!(out)?;
    } else {
        let renderer = Renderer::of(pods, output);
        renderer.header(false, out)?;
        for (pod, labels) in pods {
            renderer.pod(None, pod, labels, out)?;
        }
    }
    out.flush()
}

/// Prints single pods, so that they align with the ones printed before.
#[derive(Debug)]
pub(super) struct Renderer {
    output: Output,
    /// Widths of the columns NAMESPACE and POD of a table.
    widths: [usize; 2],
}

impl Renderer {
    /// With columns wide enough for these pods.
    pub(super) fn of(pods: &PodLabels, output: Output) -> Self {
        let width = |text: &str| escaped(text).chars().count();
        let namespaces = pods.keys().map(|(namespace, _)| width(namespace));
        let names = pods.keys().map(|(_, name)| width(name));
        let widths = [namespaces.fold("NAMESPACE".len(), usize::max), names.fold("POD".len(), usize::max)];
        Renderer { output, widths }
    }

    /// The header line, if the format has one. `changes`: with a column for the change.
    pub(super) fn header(&self, changes: bool, out: &mut impl Write) -> io::Result<()> {
        let [w0, w1] = self.widths;
        match (self.output, changes) {
            (Output::Table, changes) => {
                let first = if changes { "EVENT    " } else { "" };
                writeln!(out, "{first}{:w0$}  {:w1$}  LABELS", "NAMESPACE", "POD")
            }
            (Output::Csv, true) => csv(&["event", "namespace", "pod", "label", "value"], out),
            (Output::Csv, false) => csv(&["namespace", "pod", "label", "value"], out),
            (Output::Json, _) => Ok(()),
        }
    }

    /// One pod: a line, or with CSV a line per label. `change`: what happened to it, with `--watch`.
    pub(super) fn pod(
        &self,
        change: Option<&'static str>,
        (namespace, name): &PodName,
        labels: &Labels,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let [w0, w1] = self.widths;
        match self.output {
            Output::Table => {
                let first = change.map(|change| format!("{change:9}")).unwrap_or_default();
                let labels: Vec<_> = labels.iter().map(|(k, v)| escaped(&format!("{k}={v}"))).collect();
                let labels = if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") };
                writeln!(out, "{first}{:w0$}  {:w1$}  {labels}", escaped(namespace), escaped(name))
            }
            Output::Json => {
                serde_json::to_writer(&mut *out, &Entry { change, namespace, name, labels })?;
                writeln!(out)
            }
            Output::Csv => {
                let mut line = |label: &str, value: &str| {
                    let fields: Vec<_> = change.into_iter().chain([namespace, name, label, value]).collect();
                    csv(&fields, out)
                };
                if labels.is_empty() {
                    return line("", "");
                }
                labels.iter().try_for_each(|(label, value)| line(label, value))
            }
        }
    }
}

/// One record of RFC 4180: quoted where necessary, with quotes doubled.
fn csv(fields: &[&str], out: &mut impl Write) -> io::Result<()> {
    let quoted = fields.iter().map(|field| {
        let field = escaped(field);
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    write!(out, "{}\r\n", quoted.collect::<Vec<_>>().join(","))
}
