//! `plimsoll labels`: all labels of all pods.
//!
//! A paginated list of metadata ([`crate::pods`]): no request names a single pod, so pods that are deleted meanwhile cause
//! no error.

mod render;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::api::PartialObjectMeta;
use kube::{Client, ResourceExt};

use crate::args::LabelsArgs;
use crate::pods;

/// Namespace and name of a pod.
type PodName = (String, String);
type Labels = BTreeMap<String, String>;
/// Pods, sorted, with their labels.
type PodLabels = BTreeMap<PodName, Labels>;

/// Prints the labels; with `--watch` continues with every change until the process is ended.
pub(crate) async fn run(
    client: &Client,
    args: &LabelsArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let api = pods::api(client, args.namespace.as_deref());
    if args.watch {
        return watch::run(api, args, out).await;
    }
    let pods = pods::collect(&api, args.selector.as_deref(), |pod| Some(entry(pod))).await?;
    render::all(&pods.into_iter().collect(), args.output, out)?;
    Ok(())
}

fn entry(pod: &PartialObjectMeta<Pod>) -> (PodName, Labels) {
    ((pod.namespace().unwrap_or_default(), pod.name_any()), pod.labels().clone())
}
