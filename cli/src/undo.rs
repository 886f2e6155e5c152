//! `plimsoll undo`: gives pods the resources back that they had before Plimsoll first resized them, in place, with the caller's own
//! credentials and without needing an aggregator.
//!
//! ```text
//! read the pods -> (none was resized: done) -> ask -> one PATCH pods/resize per pod -> report, and what would resize them again
//! ```
//!
//! A pod that cannot be restored stays as it is; it is named, and the run is a failure. Nothing is evicted or restarted.
//!
//! Tests: `undo/tests.rs`, and `tests/suite/undo.rs` over HTTPS.

mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api;
use plimsoll_contract::keys;
use plimsoll_objects::field;
use plimsoll_objects::{Content, Object};
use serde::Deserialize;

use self::report::{Again, Entry, Report, count};
use crate::args::UndoArgs;
use crate::connect::{Failure, Operation};
use crate::live::LivePod;
use crate::pause;
use crate::pods::{self, Collected};
use crate::prompt;
use crate::requests::{self, Requests};
use crate::restore::{Restored, restore};
use crate::workload::{self, Live, Target};

const READ_NAMESPACE: Operation = Operation::on_api_server("reading the namespace", "get namespaces");

/// Reads the pods, asks, restores, reports.
pub(crate) async fn run(
    client: &Client,
    context: Option<&str>,
    args: &UndoArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let namespace = args.namespace.as_deref().unwrap_or(client.default_namespace());
    let Collected { picked, unreadable } = selected(client, namespace, args.target.as_ref()).await?;
    let (resized, never): (Vec<_>, Vec<_>) =
        picked.into_iter().partition(|live| live.pod.original().is_some());
    let question =
        format!("Restore the original resources of {}{}?", count(resized.len()), prompt::in_context(context));
    if !args.dry_run && !resized.is_empty() && !prompt::allowed(args.yes, &question)? {
        bail!("nothing was changed");
    }
    let run = Requests::default();
    let results =
        requests::all(resized.iter().map(|live| restore(client, &live.id, &run, args.dry_run))).await;
    let mut entries: Vec<_> =
        resized.iter().zip(results).map(|(live, result)| Entry::new(&live.id, result)).collect();
    // Of a whole namespace only the pods that were resized are of interest.
    if args.target.is_some() {
        entries.extend(never.iter().map(|live| Entry::new(&live.id, Restored::Never)));
    }
    entries.sort_by(|a, b| a.pod.cmp(&b.pod));
    let again = match entries.iter().any(Entry::is_restored) {
        true => again(client, namespace, &resized).await,
        false => Again::default(),
    };
    let report = Report::new(args.dry_run, namespace, entries, &unreadable, &again);
    report.print(args.output, out)?;
    report.result()
}

/// The pods that are meant: those of the target, or all of the namespace.
async fn selected(
    client: &Client,
    namespace: &str,
    target: Option<&Target>,
) -> Result<Collected<Live>, Failure> {
    match target {
        Some(target) => Ok(workload::read(client, namespace, target).await?.pods),
        None => pods::collect(&pods::api::<LivePod>(client, Some(namespace)), None, Live::of).await,
    }
}

/// What would resize these pods again.
async fn again(client: &Client, namespace: &str, resized: &[Live]) -> Again {
    let mut classes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for live in resized {
        if let Some(class) = live.pod.class() {
            classes.entry(class.to_owned()).or_default().push(live.id.name.clone());
        }
    }
    let api: Api<Object<LabeledNamespace>> = Api::all(client.clone());
    let answer = READ_NAMESPACE.run(api.get(namespace)).await.map_err(|failure| failure.to_string());
    let of_namespace = answer.and_then(|object| match &object.content {
        Ok(content) => Ok(content.metadata.labels.get(keys::SLA).cloned()),
        Err(problem) => Err(problem.to_string()),
    });
    Again { paused: pause::is_on(client).await.ok(), classes, of_namespace }
}

/// The labels of ours on a namespace.
#[derive(Debug, Clone, Deserialize)]
struct LabeledNamespace {
    #[serde(default)]
    metadata: NamespaceMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NamespaceMetadata {
    #[serde(deserialize_with = "our_labels")]
    labels: BTreeMap<String, String>,
}

fn our_labels<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    field::entries(deserializer, keys::is_ours, 253)
}

impl Content for LabeledNamespace {
    type Kind = Namespace;
    const METADATA_ONLY: bool = true;
}
