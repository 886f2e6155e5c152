//! Tenants in trouble do not keep others from their labels: one whose policy refuses our writes, and one whose pods lose our labels as soon
//! as they have them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::{Either, select, try_join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use plimsoll_contract::keys;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::TestResult;
use crate::bands;
use crate::harness::Harness;
use crate::history::Observation;
use crate::pods::{NODES, SLEEP, START, pod, spec};

/// Namespace whose labels are removed; its pods are written the same labels again, which no other test allows.
pub(crate) const STRIPPED: &str = "stripped";
const REFUSED: &str = "refused";
const STRIPPED_PODS: usize = 12;
const REFUSED_PODS: usize = 18;
const REQUESTS: [&str; 2] = ["1m", "1Mi"];
/// A large limit: starting a container is a load too.
const LIMITS: [&str; 2] = ["900m", "16Mi"];
/// From the start of the first container until repairs of its pod are due.
const REPAIRS_DUE: Duration = Duration::from_secs(80);
/// Seconds of data before there is a band, and for the label.
const FIRST_LABEL: f64 = 10.0 + 20.0;
/// A refusal that ended is noticed within a minute; after that there is the budget's rate, and this busy machine.
const LABELED_AGAIN: Duration = Duration::from_secs(90);

/// A policy that refuses every change of ours to the pods of a namespace.
fn policy() -> [Value; 2] {
    let account = format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR);
    let (version, name) = ("admissionregistration.k8s.io/v1", "no-labels-here");
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]});
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": REFUSED}});
    [
        json!({
            "apiVersion": version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
                "validations": [{"expression": format!("request.userInfo.username != '{account}'")}],
            },
        }),
        json!({
            "apiVersion": version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }),
    ]
}

/// Without a network of its own, which is slow to set up and not tested here.
fn on_host_network(mut pod: Value) -> Value {
    pod["spec"]["hostNetwork"] = true.into();
    pod
}

fn deployment() -> Value {
    let labels = json!({"app": "stripped"});
    let template =
        on_host_network(json!({"metadata": {"labels": labels}, "spec": spec(None, SLEEP, REQUESTS, LIMITS)}));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "stripped", "namespace": STRIPPED},
        "spec": {"replicas": STRIPPED_PODS, "selector": {"matchLabels": labels}, "template": template},
    })
}

fn has_band(observation: &Observation) -> bool {
    !observation.get(keys::CPU_BAND).is_empty()
}

/// Removes our labels from every pod of the Deployment that has any, again and again.
async fn strip(harness: &Harness) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(harness.client.clone(), STRIPPED);
    let labels: Value = keys::WRITTEN_LABELS.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    let none = json!({"metadata": {"labels": labels}});
    loop {
        for pod in harness.pods(STRIPPED, "app=stripped").await? {
            if keys::WRITTEN_LABELS.iter().any(|key| pod.labels().contains_key(*key)) {
                api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&none)).await?;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Runs a part of the test while the labels are removed.
async fn while_stripping<T>(
    harness: &Harness,
    part: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match select(Box::pin(part), Box::pin(strip(harness))).await {
        Either::Left((result, _)) => result,
        Either::Right((failure, _)) => {
            failure?;
            None.context("labels are removed until the end")
        }
    }
}

/// Seconds from the start of a new pod's container until its first label.
async fn first_label(harness: &Harness) -> anyhow::Result<f64> {
    let (namespace, name) = ("newcomer", "newcomer");
    let since = Timestamp::now();
    harness.run(namespace, vec![on_host_network(pod(name, NODES[0], SLEEP, REQUESTS, LIMITS))]).await?;
    let labeled = harness.history.wait((namespace, name), since, START, has_band).await?;
    let pod = harness.pod(namespace, name).await?;
    let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let running = statuses.into_iter().find_map(|status| status.state?.running?.started_at);
    let started = running.context("the new pod does not run")?.0;
    Ok(labeled.at.duration_since(started).as_secs_f64())
}

/// Our writes to the pods of a namespace since then: their status codes.
fn attempts(harness: &Harness, namespace: &str, since: Timestamp) -> anyhow::Result<Vec<i64>> {
    let all = harness.audit.attempts(since)?;
    Ok(all.into_iter().filter(|attempt| attempt.namespace == namespace).map(|attempt| attempt.code).collect())
}

pub(crate) async fn refused_and_undone_writes_delay_no_first_label_elsewhere(
    harness: &Harness,
) -> TestResult {
    let start = Timestamp::now();
    try_join_all([STRIPPED, REFUSED].map(|namespace| harness.namespace(namespace))).await?;
    for object in policy() {
        harness.create(object).await?;
    }
    harness.create(deployment()).await?;
    let refused: Vec<String> = (0..REFUSED_PODS).map(|number| format!("refused-{number}")).collect();
    let pods = refused.iter().zip(NODES.iter().cycle());
    let pods = pods.map(|(name, node)| on_host_network(pod(name, node, SLEEP, REQUESTS, LIMITS)));
    harness.run(REFUSED, pods.collect()).await?;
    let trouble = while_stripping(harness, async {
        let runs = async || {
            Ok(harness.are_running(STRIPPED, STRIPPED_PODS).await?
                && harness.are_running(REFUSED, REFUSED_PODS).await?)
        };
        harness.until("all pods to run", START, runs).await?;
        sleep(REPAIRS_DUE).await;
        first_label(harness).await
    });
    let took = trouble.await?;
    let now = Timestamp::now();

    let codes = attempts(harness, REFUSED, start)?;
    ensure!(codes.len() >= 2 && codes.iter().all(|code| *code == 422 || *code == 403), "{codes:?}");
    let repaired = attempts(harness, STRIPPED, start)?.len();
    ensure!(repaired > STRIPPED_PODS, "{repaired} writes to {STRIPPED_PODS} pods: none was repaired");
    for (name, observations) in harness.history.within(REFUSED) {
        ensure!(!observations.iter().any(has_band), "the policy did not refuse the label of {name}");
    }
    ensure!(took <= FIRST_LABEL, "the new pod had its first label {took:.1} s after its container started");

    let [name, binding] = ["validatingadmissionpolicy", "validatingadmissionpolicybinding"];
    harness.kubectl(&["delete", binding, "no-labels-here"]).await?;
    harness.kubectl(&["delete", name, "no-labels-here"]).await?;
    let lifted = Instant::now();
    for name in &refused {
        harness
            .history
            .wait((REFUSED, name), now, LABELED_AGAIN.saturating_sub(lifted.elapsed()), has_band)
            .await?;
    }
    let again = lifted.elapsed().as_secs_f64();
    // The next tests need the CPU of the nodes, and right bands.
    harness.kubectl(&["delete", "namespace", STRIPPED, REFUSED, "newcomer"]).await?;
    bands::all_right_again(harness).await?;
    Ok(format!(
        "first label {took:.1} s after the container started, beside {} refused writes and {repaired} to {STRIPPED_PODS} stripped pods; \
         {REFUSED_PODS} pods labeled {again:.0} s after the policy was gone",
        codes.len()
    ))
}
