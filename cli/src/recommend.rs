//! `plimsoll recommend`: the size that the replicas of a workload need, beside its template, and as a patch of the template.
//!
//! ```text
//! template, replicas (API server) + wanted sizes (aggregator) -> need: per amount the largest of the replicas -> table | patch | json
//! ```
//!
//! Reads only. For GitOps: put the patch into the repository that the template comes from, so that new replicas start at that size.

mod need;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use kube::Client;
use serde_json::{Value, json};

use self::need::{Amount, Replica, needs, patch};
use crate::args::{RecommendArgs, RecommendFormat};
use crate::connect::escaped;
use crate::live::LiveSpec;
use crate::size::{same, shown};
use crate::source::Source;
use crate::table::aligned;
use crate::workload::{self, Kind, Target, Workload};

/// Reads the workload and prints what it needs.
pub(crate) async fn run(
    client: &Client,
    source: &Source,
    args: &RecommendArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let namespace = args.namespace.as_deref().unwrap_or(client.default_namespace());
    let target = &args.target;
    let Workload { template, pods } = workload::read(client, namespace, target).await?;
    if let Some(unreadable) = pods.unreadable.first() {
        bail!("{unreadable}; what it needs is not known, so nothing is recommended");
    }
    let known = source.read().await?.pods;
    let known: BTreeMap<_, _> = known.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let mut replicas = Vec::new();
    // In the pod itself the template's size is the one that it had before Plimsoll changed it.
    let mut original = None;
    for live in pods.picked.iter().filter(|live| !live.pod.is_finishing()) {
        let resize = known.get(live.id.uid.as_str()).and_then(|pod| pod.resize.as_deref());
        let wanted = resize.map(|resize| resize.wanted.clone()).unwrap_or_default();
        if target.kind == Kind::Pod {
            original = live.pod.original().transpose().map_err(anyhow::Error::msg)?;
        }
        replicas.push(Replica { name: live.id.name.clone(), live: live.pod.sizes(), wanted });
    }
    if replicas.is_empty() {
        bail!(
            "{target} in namespace {namespace} has no running replica: what it needs is not known; run it first"
        );
    }
    let recommendation = Recommendation {
        namespace,
        target,
        template: &template,
        amounts: needs(&template, original.as_ref(), &replicas),
        replicas: replicas.len(),
    };
    match args.output {
        RecommendFormat::Table => {
            for line in recommendation.table() {
                writeln!(out, "{line}")?;
            }
        }
        RecommendFormat::Patch => write!(out, "{}", recommendation.yaml())?,
        RecommendFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, &recommendation.json())?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}

/// What the replicas of a workload need.
struct Recommendation<'a> {
    namespace: &'a str,
    target: &'a Target,
    template: &'a LiveSpec,
    amounts: Vec<Amount>,
    replicas: usize,
}

impl Recommendation<'_> {
    fn patch(&self) -> Value {
        let spec = patch(self.template, &self.amounts);
        match (spec.as_object().is_none_or(serde_json::Map::is_empty), self.target.kind) {
            (true, _) => json!({}),
            (false, Kind::Pod) => json!({"spec": spec}),
            (false, _) => json!({"spec": {"template": {"spec": spec}}}),
        }
    }

    /// The command that applies the patch to the cluster.
    fn command(&self) -> String {
        let Target { kind, name } = self.target;
        let (object, resize) = match kind {
            Kind::Pod => (format!("pod {name}"), " --subresource resize"),
            _ => (self.target.to_string(), ""),
        };
        format!("kubectl patch {object} -n {}{resize} --type strategic --patch-file FILE", self.namespace)
    }

    /// A strategic-merge patch, with what was taken as comments.
    fn yaml(&self) -> String {
        let patch = self.patch();
        let changed = self.amounts.iter().filter(|amount| amount.differs()).count();
        let mut text = format!("# what {} in namespace {} needs; ", self.target, self.namespace);
        if changed == 0 {
            text += &format!("nothing to change in the template ({})\n{{}}\n", self.counted());
            return text;
        }
        text += &format!("the largest of {}\n", self.counted());
        for amount in self.amounts.iter().filter(|amount| amount.differs()) {
            text += &format!("#   {}\n", amount.sentence());
        }
        text += &format!("# {}\n", self.command());
        yaml(&patch, 0, &mut text);
        text
    }

    fn counted(&self) -> String {
        format!("{} {}", self.replicas, if self.replicas == 1 { "replica" } else { "replicas" })
    }

    fn table(&self) -> Vec<String> {
        let header = ["CONTAINER", "RESOURCE", "", "TEMPLATE", "LIVE", "NEEDED", "TAKEN FROM"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for amount in &self.amounts {
            let text = |value: &str| shown(amount.resource, value);
            let live = match &amount.live {
                None => "-".to_owned(),
                Some((least, most)) if same(least, most) => text(least),
                Some((least, most)) => format!("{} to {}", text(least), text(most)),
            };
            rows.push(vec![
                escaped(&amount.container),
                amount.resource.to_string(),
                amount.part.to_string(),
                text(&amount.template),
                live,
                amount.needed.as_ref().map_or_else(|| "-".to_owned(), |needed| text(&needed.amount)),
                amount.source(),
            ]);
        }
        let mut lines = aligned(&rows);
        let differing = self.amounts.iter().filter(|amount| amount.differs()).count();
        let unknown = self.amounts.iter().filter(|amount| amount.needed.is_none()).count();
        if unknown > 0 {
            lines.push(format!(
                "what is needed of {unknown} of {} is not known, and not changed",
                self.amounts.len()
            ));
        }
        lines.push(match (self.amounts.is_empty(), differing) {
            (true, _) => format!(
                "the template of {} sets no cpu and no memory: there is nothing to recommend",
                self.target
            ),
            (false, 0) => format!("nothing to change in the template ({})", self.counted()),
            (false, differing) => format!(
                "the template differs in {differing} of {}; `-o patch` prints what changes it",
                self.amounts.len()
            ),
        });
        lines
    }

    fn json(&self) -> Value {
        json!({
            "namespace": self.namespace, "workload": self.target.to_string(), "replicas": self.replicas,
            "amounts": self.amounts, "patch": self.patch(),
        })
    }
}

/// A value of maps, lists of maps, and texts as YAML. Texts are quoted: a quantity such as `1` is none without.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    let Value::Object(map) = value else { return };
    for (key, value) in map {
        let space = " ".repeat(indent);
        match value {
            Value::Object(_) => {
                *out += &format!("{space}{key}:\n");
                yaml(value, indent + 2, out);
            }
            Value::Array(items) => {
                *out += &format!("{space}{key}:\n");
                for item in items {
                    let mut text = String::new();
                    yaml(item, indent + 4, &mut text);
                    *out += &format!("{space}  - {}", text.trim_start());
                }
            }
            text => *out += &format!("{space}{key}: {text}\n"),
        }
    }
}
