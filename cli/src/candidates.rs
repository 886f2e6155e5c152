//! `plimsoll candidates`: which pods are resized, which would be if a class applied, and why others are not.
//!
//! The aggregator's word counts where it has one. It says nothing about pods without a class, so for them this lists what no class can
//! change: the properties of the pod for which Plimsoll, or Kubernetes, never resizes one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;

use kube::Client;
use plimsoll_contract::keys;
use plimsoll_contract::resize::PodResources;
use plimsoll_contract::status::PodStatus;
use serde::Serialize;

use crate::args::{CandidatesArgs, ReportFormat};
use crate::connect::escaped;
use crate::live::LivePod;
use crate::pods::{self, Collected};
use crate::size;
use crate::source::Source;
use crate::table::{SILENT_ABOUT_RESIZING, UNKNOWN_POD, aligned, left_alone};
use crate::workload::Live;

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is kept at the size that its load needs, or that size is recommended.
    Managed,
    /// It would be managed if a class applied.
    Eligible,
    /// It is not resized, for a reason.
    Refused,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Managed => "managed",
            State::Eligible => "eligible",
            State::Refused => "refused",
        }
    }
}

/// One pod.
#[derive(Debug, PartialEq, Serialize)]
struct Candidate {
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// `Apply` or `Recommend`, where it is managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    state: State,
    /// Why it is not managed, or what is done.
    why: String,
}

/// Lists the pods, and counts them at the end.
pub(crate) async fn run(
    client: &Client,
    source: &Source,
    args: &CandidatesArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let known = source.read().await?.pods;
    let known: BTreeMap<_, _> = known.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let api = pods::api::<LivePod>(client, args.namespace.as_deref());
    let Collected { picked, unreadable } = pods::collect(&api, None, Live::of).await?;
    let mut all: Vec<_> =
        picked.iter().map(|live| candidate(live, known.get(live.id.uid.as_str()).copied())).collect();
    all.extend(unreadable.into_iter().map(|pod| Candidate {
        namespace: pod.namespace,
        name: pod.name,
        class: None,
        mode: None,
        state: State::Refused,
        why: format!("it cannot be read: {}", pod.problem),
    }));
    all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    match args.output {
        ReportFormat::Json => {
            let [managed, eligible, refused] = counts(&all);
            let counts = serde_json::json!({"managed": managed, "eligible": eligible, "refused": refused});
            serde_json::to_writer_pretty(&mut *out, &serde_json::json!({"pods": all, "counts": counts}))?;
            writeln!(out)?;
        }
        ReportFormat::Text => {
            for line in lines(&all) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Where one pod stands. `known`: what the aggregator says about it.
fn candidate(live: &Live, known: Option<&PodStatus>) -> Candidate {
    let class = known.and_then(|pod| pod.class.as_deref()).or(live.pod.class());
    let resize = known.and_then(|pod| pod.resize.as_deref());
    let (state, why) = standing(&live.pod, known, class);
    Candidate {
        namespace: live.id.namespace.clone(),
        name: live.id.name.clone(),
        class: class.map(str::to_owned),
        mode: resize.filter(|_| state == State::Managed).map(|resize| resize.mode.clone()),
        state,
        why,
    }
}

fn standing(pod: &LivePod, known: Option<&PodStatus>, class: Option<&str>) -> (State, String) {
    if pod.is_finishing() {
        return (State::Refused, "it has finished or is being deleted".to_owned());
    }
    let Some(known) = known else {
        return (State::Refused, UNKNOWN_POD.to_owned());
    };
    if let Some(why) = known.left_alone {
        return (State::Refused, left_alone(why).to_owned());
    }
    if let Some(why) = never(pod) {
        return (State::Refused, why.to_owned());
    }
    // Without a class the aggregator has looked at nothing else.
    let resize = known.resize.as_deref().filter(|resize| resize.refusal.as_deref() != Some("no_class"));
    if let Some(resize) = resize {
        return match (&resize.refused, resize.mode.as_str()) {
            (Some(refused), _) => (State::Refused, refused.clone()),
            (None, "Recommend") => (State::Managed, "sizes are recommended, nothing is written".to_owned()),
            (None, _) => (State::Managed, "resized in place".to_owned()),
        };
    }
    match class {
        Some(_) => (State::Refused, format!("a class applies, but {SILENT_ABOUT_RESIZING}")),
        None => (State::Eligible, format!("label {} on the pod, its template or its namespace", keys::SLA)),
    }
}

/// Why no class can make a pod resizable.
fn never(pod: &LivePod) -> Option<&'static str> {
    let is_critical = matches!(
        pod.spec.priority_class_name.as_deref(),
        Some("system-node-critical" | "system-cluster-critical")
    );
    if pod.is_static() {
        return Some("static pod: its size is in a file on the node");
    }
    if is_critical {
        return Some("its priority class is critical to the cluster");
    }
    if pod.spec.resources.is_some() {
        return Some("it has resources of its own (spec.resources), which are not resized yet");
    }
    let is_best_effort = pod.status.qos_class.0.as_deref() == Some("BestEffort") || !has_size(&pod.sizes());
    is_best_effort.then_some(
        "BestEffort: no request and no limit of cpu or memory, and a resize may not add one; set one in the template",
    )
}

fn has_size(sizes: &PodResources) -> bool {
    sizes
        .values()
        .any(|one| size::amounts().any(|(resource, part)| size::amount(one, resource, part).is_some()))
}

/// Managed, eligible, refused.
fn counts(all: &[Candidate]) -> [usize; 3] {
    [State::Managed, State::Eligible, State::Refused]
        .map(|state| all.iter().filter(|one| one.state == state).count())
}

fn lines(all: &[Candidate]) -> Vec<String> {
    let mut rows = vec![["POD", "CLASS", "STATE", "WHY"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        vec![
            escaped(&format!("{}/{}", one.namespace, one.name)),
            one.class.as_deref().map_or_else(|| "-".to_owned(), escaped),
            one.state.as_str().to_owned(),
            escaped(&one.why),
        ]
    }));
    let [managed, eligible, refused] = counts(all);
    let mut lines = aligned(&rows);
    lines.push(format!("{managed} managed, {eligible} eligible, {refused} refused"));
    lines
}
