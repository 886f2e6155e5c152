//! `plimsoll labels`: all labels of all pods.
//!
//! A paginated list of metadata ([`crate::pods`]): no request names a single pod, so pods that are deleted meanwhile cause
//! no error. A pod that cannot be read is named on stderr.

mod render;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io::{self, Write};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use plimsoll_objects::Content;
use serde::Deserialize;

use crate::args::LabelsArgs;
use crate::pods;

/// Namespace and name of a pod.
type PodName = (String, String);
type Labels = BTreeMap<String, String>;
/// Pods, sorted, with their labels.
type PodLabels = BTreeMap<PodName, Labels>;

/// The fields of a pod that are read.
#[derive(Debug, Clone, Deserialize)]
struct LabeledPod {
    #[serde(default)]
    metadata: LabeledMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LabeledMetadata {
    #[serde(default)]
    labels: Option<Labels>,
}

impl Content for LabeledPod {
    type Kind = Pod;
    const METADATA_ONLY: bool = true;
}

impl LabeledPod {
    fn labels(&self) -> Labels {
        self.metadata.labels.clone().unwrap_or_default()
    }
}

/// Prints the labels; with `--watch` continues with every change until the process is ended.
pub(crate) async fn run(
    client: &Client,
    args: &LabelsArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    print(client, args, out, &mut io::stderr()).await
}

/// Names what is left out on `err`.
async fn print(
    client: &Client,
    args: &LabelsArgs,
    out: &mut (impl Write + Send),
    err: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let api = pods::api::<LabeledPod>(client, args.namespace.as_deref());
    if args.watch {
        return watch::run(api, args, out, err).await;
    }
    let entry = |names: &_, pod: &LabeledPod| Some((pods::names(names), pod.labels()));
    let pods = pods::collect(&api, args.selector.as_deref(), entry).await?;
    render::all(&pods.picked.into_iter().collect(), args.output, out)?;
    for pod in pods.unreadable {
        writeln!(err, "plimsoll: {pod}; it is left out")?;
    }
    Ok(())
}
