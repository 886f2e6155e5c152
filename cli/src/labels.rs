//! All labels of all pods.
//!
//! A paginated list of metadata ([`crate::pods`]): the API server is never asked for a single pod, and pods that go away
//! meanwhile do no harm.

mod render;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PartialObjectMeta};
use kube::{Client, ResourceExt};

use crate::args::LabelsArgs;
use crate::connect::Failure;
use crate::pods;

/// Pods, in order, with their labels.
pub type Labels = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Prints the labels; with `--watch` goes on with every change until the process is ended.
///
/// # Errors
/// A [`Failure`], or one of writing to `out`.
pub async fn run(client: &Client, args: &LabelsArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let api = pods::api(client, args.namespace.as_deref());
    if args.watch {
        return watch::run(api, args, out).await;
    }
    let pods = list(&api, args.selector.as_deref()).await?;
    render::all(&pods, args.output, out)?;
    Ok(())
}

/// Every pod, page by page.
///
/// # Errors
/// The failure of a page.
pub async fn list(api: &Api<PartialObjectMeta<Pod>>, selector: Option<&str>) -> Result<Labels, Failure> {
    Ok(pods::collect(api, selector, |pod| Some(entry(pod))).await?.into_iter().collect())
}

fn entry(pod: &PartialObjectMeta<Pod>) -> ((String, String), BTreeMap<String, String>) {
    ((pod.namespace().unwrap_or_default(), pod.name_any()), pod.labels().clone())
}
