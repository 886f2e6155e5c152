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

use self::need::{Amount, Replica, needs, patch, range};
use crate::args::{RecommendArgs, RecommendFormat};
use crate::connect::escaped;
use crate::live::LiveSpec;
use crate::size::{Part, same, shown};
use crate::source::Source;
use crate::table::aligned;
use crate::workload::{self, Kind, Live, Target, Workload};

/// Names of replicas in one line.
const NAMES: usize = 3;

/// Reads the workload and prints what it needs.
pub(crate) async fn run(
    client: &Client,
    source: &Source,
    args: &RecommendArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let namespace = args.namespace.as_deref().unwrap_or(client.default_namespace());
    let target = &args.target;
    let workload = workload::read(client, namespace, target).await?;
    if let Some(unreadable) = workload.pods.unreadable.first() {
        bail!("{unreadable}; what it needs is not known, so nothing is recommended");
    }
    if let Some(owner) = workload.made_by.as_deref().filter(|owner| owner.starts_with("deployment/")) {
        let owner = escaped(owner);
        bail!(
            "{target} is made by {owner}, which undoes a change of its template; `plimsoll recommend {owner} -n {namespace}` says what that needs"
        );
    }
    let alive = workload.pods.picked.iter().filter(|live| !live.pod.is_finishing());
    let (of_template, older): (Vec<_>, Vec<_>) = alive.partition(|live| workload.is_of_template(live));
    let Some(first) = of_template.first() else {
        bail!(nobody(target, namespace, older.len()));
    };
    // In the pod itself the template's size is the one that it had before Plimsoll changed it.
    let original = first.pod.original().filter(|_| target.kind == Kind::Pod);
    let original = original.transpose().map_err(anyhow::Error::msg)?;
    let known = source.read().await?.pods;
    let known: BTreeMap<_, _> = known.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let replica = |live: &&Live| Replica::of(live, known.get(live.id.uid.as_str()).copied());
    let replicas: Vec<_> = of_template.iter().map(replica).collect();
    let amounts = needs(&workload.template, original.as_ref(), &replicas);
    let Workload { template, made_by, .. } = &workload;
    let recommendation = Recommendation {
        namespace,
        target,
        template,
        made_by: made_by.as_deref(),
        amounts,
        replicas: &replicas,
    };
    let is_guess = replicas.iter().all(|replica| replica.not_known.is_some());
    if is_guess && !recommendation.amounts.iter().any(Amount::differs) {
        bail!(
            "what {target} in namespace {namespace} needs is not known:\n{}",
            recommendation.not_known().join("\n")
        );
    }
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

/// Why there is no replica to look at: how many of older templates there are.
fn nobody(target: &Target, namespace: &str, older: usize) -> String {
    let has = format!("{target} in namespace {namespace} has no");
    match older {
        0 => format!("{has} running replica: what it needs is not known; run it first"),
        _ => format!(
            "{has} replica of its current template, only {older} of older ones: what it needs is not known; try again when its rollout has \
             made one"
        ),
    }
}

/// What the replicas of a workload need.
struct Recommendation<'a> {
    namespace: &'a str,
    target: &'a Target,
    template: &'a LiveSpec,
    /// The workload that makes this one.
    made_by: Option<&'a str>,
    amounts: Vec<Amount>,
    replicas: &'a [Replica],
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

    /// The command that applies the patch to the cluster, or where the size belongs instead.
    fn command(&self) -> String {
        if let Some(owner) = self.made_by {
            return format!(
                "made by {}, which undoes a change of this template: set the size there",
                escaped(owner)
            );
        }
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
        text += &match changed {
            0 => format!("nothing to change in the template ({})\n", self.counted()),
            _ => format!("the largest of {}\n", self.counted()),
        };
        for amount in self.amounts.iter().filter(|amount| amount.differs()) {
            text += &format!("#   {}\n", amount.sentence());
        }
        for line in self.not_known().into_iter().chain(self.defaulted()) {
            text += &format!("# {line}\n");
        }
        if changed == 0 {
            return text + "{}\n";
        }
        text += &format!("# {}\n", self.command());
        yaml(&patch, 0, &mut text);
        text
    }

    fn counted(&self) -> String {
        match self.replicas.len() {
            1 => "1 replica".to_owned(),
            count => format!("{count} replicas"),
        }
    }

    /// Of which replicas the need is not known, by reason.
    fn not_known(&self) -> Vec<String> {
        let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for replica in self.replicas {
            if let Some(why) = &replica.not_known {
                by_reason.entry(why).or_default().push(escaped(&replica.name));
            }
        }
        let line = |(why, names): (&str, Vec<String>)| {
            let others = names.len().saturating_sub(NAMES);
            let more = if others > 0 { format!(" and {others} more") } else { String::new() };
            format!(
                "not known, so its size is taken: {}{more}: {}",
                names[..names.len() - others].join(", "),
                escaped(why)
            )
        };
        by_reason.into_iter().map(line).collect()
    }

    /// Limits that replicas have and the template does not set: a LimitRange gives them to new pods too, whatever they request.
    fn defaulted(&self) -> Vec<String> {
        let raised = self.amounts.iter().filter(|amount| amount.part == Part::Request && amount.differs());
        let line = |amount: &Amount| {
            let Amount { container, resource, .. } = amount;
            let is_set = self.amounts.iter().any(|other| {
                other.container == *container && other.resource == *resource && other.part == Part::Limit
            });
            let (_, limit) = range(container, *resource, Part::Limit, self.replicas).filter(|_| !is_set)?;
            Some(format!(
                "{} {resource}: the template sets no limit and replicas have one, up to {}: a LimitRange that gives new pods a limit below \
                 the request keeps them from being created, so set the limit too",
                escaped(container),
                shown(*resource, &limit)
            ))
        };
        raised.filter_map(line).collect()
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
        lines.extend(self.not_known());
        lines.extend(self.defaulted());
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
        let not_known = self.replicas.iter().filter_map(|replica| {
            let why = replica.not_known.as_ref()?;
            Some(json!({"pod": replica.name, "why": why}))
        });
        json!({
            "namespace": self.namespace, "workload": self.target.to_string(), "replicas": self.replicas.len(),
            "notKnown": not_known.collect::<Vec<_>>(), "amounts": self.amounts, "patch": self.patch(),
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
