//! All labels of all pods.
//!
//! A paginated list of metadata, 500 a page: the API server is never asked for a single pod, pods that go away meanwhile
//! do no harm, and specs and environment variables never cross the wire.

mod render;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PartialObjectMeta};
use kube::{Client, ResourceExt};

use crate::args::LabelsArgs;
use crate::connect::{Failure, Question};

/// Pods a page.
const PAGE: u32 = 500;
/// How often a list is begun again when the API server has forgotten where it was.
const RESTARTS: u32 = 3;

const LISTING: Question =
    Question { asked: "listing pods", whom: "API server", right: "list pods", of_aggregator: false };

/// Pods, in order, with their labels.
pub type Labels = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Prints the labels; with `--watch` goes on with every change until the process is ended.
///
/// # Errors
/// A [`Failure`], or one of writing to `out`.
pub async fn run(client: &Client, args: &LabelsArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let api = match &args.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
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
    let mut pods = Labels::new();
    let mut next: Option<String> = None;
    let mut restarts = 0;
    loop {
        let page = ListParams { continue_token: next.take(), ..first_page(selector) };
        match LISTING.answer(async { Ok(api.list(&page).await) }).await? {
            Ok(page) => {
                pods.extend(page.items.iter().map(entry));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => next = Some(token),
                    None => return Ok(pods),
                }
            }
            // 410: the list took longer than the API server remembers; what was read may be out of date as well.
            Err(kube::Error::Api(status)) if status.code == 410 && restarts < RESTARTS => {
                restarts += 1;
                pods.clear();
            }
            Err(error) => return Err(LISTING.failure(&error)),
        }
    }
}

fn first_page(selector: Option<&str>) -> ListParams {
    let params = ListParams::default().limit(PAGE);
    match selector {
        Some(selector) => params.labels(selector),
        None => params,
    }
}

fn entry(pod: &PartialObjectMeta<Pod>) -> ((String, String), BTreeMap<String, String>) {
    ((pod.namespace().unwrap_or_default(), pod.name_any()), pod.labels().clone())
}
