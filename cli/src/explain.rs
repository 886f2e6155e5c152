//! `plimsoll explain`: what a pod asked for, has and uses, how it is or would be resized, and why.
//!
//! Everything is from the aggregator's document about the pod; nothing is computed here but shares of amounts that stand beside them.

mod cure;
mod render;
#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::bail;
use jiff::Timestamp;

use crate::args::{ExplainArgs, ReportFormat};
use crate::source::Source;
use crate::workload::Kind;

/// Reads the document and prints it.
pub(crate) async fn run(
    source: &Source,
    args: &ExplainArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let namespace = args.namespace.as_deref().unwrap_or(source.namespace());
    if args.pod.kind != Kind::Pod {
        bail!("{} is no pod; name one of its pods, or use `plimsoll recommend {}`", args.pod, args.pod);
    }
    let name = &args.pod.name;
    let Some(pod) = source.pod(namespace, name).await? else {
        bail!(
            "the aggregator knows no pod {namespace}/{name}; `kubectl get pod -n {namespace} {name}` says whether there is one, -n names \
             another namespace, `plimsoll top` lists all that it knows"
        );
    };
    match args.output {
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, &pod)?;
            writeln!(out)?;
        }
        ReportFormat::Text => {
            for line in render::lines(&pod, Timestamp::now()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(out.flush()?)
}
