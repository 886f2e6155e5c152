//! A resize is under way, and then the aggregator is killed, the pod is deleted, or the kubelet cannot do it: nothing is left half done.
//!
//! How a resize is kept in a state: an admission webhook that nobody answers (`sent`), a stopped kubelet (`accepted`), and a Node that says
//! for some seconds that it has more CPU than it has, until its kubelet corrects it (`deferred`, and what the kubelet calls infeasible).

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use plimsoll_contract::keys;
use serde_json::{Value, json};

use super::shared::free_millicores;
use super::{RUNS, amount, drop_namespace, restarts, sized};
use crate::TestResult;
use crate::harness::{Harness, container_ids, is_running};
use crate::pods::{BURN, NODES, SLEEP, pod};
use crate::restarts::restart_the_aggregator;

/// Until a throttled pod of a class was resized, or would have been.
const RESIZED: Duration = Duration::from_secs(150);
/// The CPU that the Node with too much says it has.
const MUCH: &str = "4";

/// One pod of a class in a namespace of its own.
struct Subject<'a> {
    harness: &'a Harness,
    namespace: &'static str,
    name: &'static str,
}

impl Subject<'_> {
    async fn pod(&self) -> anyhow::Result<Pod> {
        self.harness.pod(self.namespace, self.name).await
    }

    /// The limit of the spec in millicores.
    async fn limit(&self) -> anyhow::Result<f64> {
        Ok(amount(&self.pod().await?, "limits", "cpu").unwrap_or_default() * 1000.0)
    }

    /// Where its resize stands.
    async fn state(&self) -> anyhow::Result<String> {
        let status = self.harness.status(self.namespace, self.name).await?;
        Ok(status.resize.map_or_else(String::new, |resize| resize.state))
    }

    async fn until_state(&self, states: &[&str]) -> anyhow::Result<()> {
        let here = async || Ok(states.contains(&self.state().await?.as_str()));
        self.harness.until(&format!("{} to be {states:?}", self.name), RUNS + RESIZED, here).await.map(drop)
    }

    async fn until_running(&self) -> anyhow::Result<()> {
        let runs = async || Ok(is_running(&self.pod().await?));
        self.harness.until(&format!("{} to run", self.name), RUNS, runs).await.map(drop)
    }

    /// `cpu.max` of its container, in millicores.
    async fn kernel(&self) -> anyhow::Result<f64> {
        let pod = self.pod().await?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("it is on no node")?;
        let (_, id, _) = container_ids(&pod).into_iter().next().context("it has no container")?;
        let all = "/sys/fs/cgroup/kubepods";
        let line = format!("cat {all}/*/*/{id}/cpu.max {all}/*/{id}/cpu.max 2>/dev/null | head -n 1");
        let text = self.harness.on(&node, &line).await?;
        let mut words = text.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(quota)), Some(Ok(period))) = (words.next(), words.next()) else {
            anyhow::bail!("{}: cpu.max is {text:?}", self.name);
        };
        Ok(quota / period * 1000.0)
    }

    /// Until its kernel holds what its spec says, and that is more than before.
    async fn until_grown_in_the_kernel(&self, from: f64) -> anyhow::Result<f64> {
        let grown = async || {
            let limit = self.limit().await?;
            Ok(limit > from && (self.kernel().await? - limit).abs() < 0.5)
        };
        self.harness.until(&format!("{} to grow in the kernel", self.name), RESIZED, grown).await?;
        self.limit().await
    }

    /// The limits that were asked for and answered with this code, in millicores.
    fn asked_for(&self, since: Timestamp, code: i64) -> anyhow::Result<Vec<f64>> {
        let attempts = self.harness.audit.attempts(since)?.into_iter();
        let ours = attempts.filter(|one| {
            (one.namespace.as_str(), one.name.as_str()) == (self.namespace, self.name)
                && one.is_resize
                && one.code == code
        });
        let limit = |body: &Value| {
            let text = body["spec"]["containers"][0]["resources"]["limits"]["cpu"].as_str()?;
            Some(text.parse::<plimsoll_contract::Quantity>().ok()?.as_f64() * 1000.0)
        };
        Ok(ours.filter_map(|one| limit(&one.body)).collect())
    }

    async fn has_event(&self, reason: &str) -> anyhow::Result<bool> {
        let events = self.harness.kubectl(&["get", "events", "-n", self.namespace, "-o", "json"]).await?;
        let events: Value = serde_json::from_str(&events)?;
        let mut all = events["items"].as_array().into_iter().flatten();
        Ok(all.any(|one| one["reason"] == reason && one["involvedObject"]["name"] == self.name))
    }
}

/// A pod that uses all that its limit allows, after some seconds.
fn burner(name: &str, node: &str, after: u32, millicores: u32) -> Value {
    let cpu = format!("{millicores}m");
    sized("gold", name, node, &format!("sleep {after}; {BURN}"), [&cpu, "16Mi"], [&cpu, "16Mi"])
}

/// Resizes in a namespace wait for a webhook at an address of the cluster's network that nobody has.
async fn block_resizes(harness: &Harness, namespace: &str) -> anyhow::Result<()> {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "resizes.plimsoll.test",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods/resize"]}],
            "clientConfig": {"url": "https://10.77.0.250/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 10,
        }],
    });
    harness.create(webhook).await
}

async fn unblock_resizes(harness: &Harness, namespace: &str) -> anyhow::Result<()> {
    harness.kubectl(&["delete", "validatingwebhookconfiguration", namespace]).await.map(drop)
}

/// Stops a node's kubelet (`STOP`), or continues it (`CONT`).
async fn signal_kubelet(harness: &Harness, node: &str, signal: &str) -> anyhow::Result<()> {
    let files = "$(grep -lz '^--config=/run/kubelet.yaml$' /proc/[0-9]*/cmdline 2>/dev/null)";
    let line = format!("for file in {files}; do kill -{signal} $(basename $(dirname $file)); done");
    harness.on(node, &line).await.map(drop)
}

/// Lets a Node say that it has more CPU than it has, until a condition holds. Its kubelet corrects it within 10 s, again and again.
async fn with_too_much_cpu(
    harness: &Harness,
    node: &str,
    what: &str,
    condition: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let too_much = async || {
        set_allocatable_cpu(harness, node, MUCH).await?;
        condition().await
    };
    harness.until(what, RUNS + RESIZED, too_much).await.map(drop)
}

async fn set_allocatable_cpu(harness: &Harness, node: &str, cpu: &str) -> anyhow::Result<()> {
    let patch = json!({"status": {"allocatable": {"cpu": cpu}, "capacity": {"cpu": cpu}}}).to_string();
    harness
        .kubectl(&["patch", "node", node, "--subresource", "status", "--type", "merge", "-p", &patch])
        .await?;
    Ok(())
}

async fn allocatable_cpu(harness: &Harness, node: &str) -> anyhow::Result<String> {
    harness.kubectl(&["get", "node", node, "-o", "jsonpath={.status.allocatable.cpu}"]).await
}

/// What its pods leave of a node's CPU is reserved by a pod that does nothing, but for this much.
async fn fill(harness: &Harness, namespace: &str, node: &str, but: u64) -> anyhow::Result<()> {
    let free = free_millicores(harness, node).await?;
    ensure!(free > but, "only {free}m are free on {node}");
    let filler = format!("{}m", free - but);
    harness.run(namespace, vec![pod("filler", node, SLEEP, [&filler, "8Mi"], ["", ""])]).await
}

/// The nodes that the aggregator does not run on, and that on which it does.
async fn nodes(harness: &Harness) -> anyhow::Result<[&'static str; 3]> {
    let pods = harness.pods(keys::SYSTEM_NAMESPACE, "app.kubernetes.io/name=plimsoll-aggregator").await?;
    let here = pods.first().and_then(|pod| pod.spec.as_ref()?.node_name.clone()).context("no aggregator")?;
    let mut nodes = NODES;
    nodes.sort_by_key(|node| *node == here);
    Ok(nodes)
}

/// One resize is sent, one accepted, one deferred, when the aggregator is killed. Its successor completes the first two and takes the third back.
pub(crate) async fn a_killed_aggregator_leaves_no_resize_half_done(harness: &Harness) -> TestResult {
    let [stopped, full, own] = nodes(harness).await?;
    let sent = Subject { harness, namespace: "interrupted-sent", name: "sent" };
    let accepted = Subject { harness, namespace: "interrupted-accepted", name: "accepted" };
    let deferred = Subject { harness, namespace: "interrupted-deferred", name: "deferred" };
    let subjects = [&sent, &accepted, &deferred];
    let since = Timestamp::now();
    for subject in subjects {
        harness.namespace(subject.namespace).await?;
    }
    let cpu = allocatable_cpu(harness, full).await?;
    block_resizes(harness, sent.namespace).await?;
    // More than the reserve of the plan, which the kubelet would give.
    harness.run(deferred.namespace, vec![burner(deferred.name, full, 20, 150)]).await?;
    deferred.until_running().await?;
    fill(harness, deferred.namespace, full, 0).await?;
    let killed = kill_in_three_states(harness, (&sent, &accepted, &deferred), [own, stopped, full]).await;
    // Whatever the result, because the next tests need the cluster.
    unblock_resizes(harness, sent.namespace).await?;
    signal_kubelet(harness, stopped, "CONT").await?;
    set_allocatable_cpu(harness, full, &cpu).await?;
    let (states, uids) = killed?;

    let back = async || Ok(deferred.limit().await? == 150.0 && deferred.kernel().await? == 150.0);
    harness.until("the deferred resize to be taken back", RESIZED, back).await?;
    let grown =
        [sent.until_grown_in_the_kernel(40.0).await?, accepted.until_grown_in_the_kernel(40.0).await?];
    for (subject, uid) in subjects.into_iter().zip(uids) {
        let pod = subject.pod().await?;
        ensure!(pod.uid() == uid && restarts(&pod) == 0, "{} is another one, or restarted", subject.name);
        let original = pod.annotations().get(keys::ORIGINAL_RESOURCES).context("no original resources")?;
        let first = if subject.name == deferred.name { "150m" } else { "40m" };
        ensure!(original.contains(first), "{}: the original is {original}", subject.name);
    }
    // What was accepted is not asked for again.
    let asked = accepted.asked_for(since, 200)?;
    let mut once = asked.clone();
    once.dedup();
    ensure!(asked == once, "asked for twice: {asked:?}");
    ensure!(deferred.has_event("ResizeDeferred").await?, "no Event says that it was deferred");
    for subject in subjects {
        drop_namespace(harness, subject.namespace).await?;
    }
    Ok(format!("killed while {}; then {grown:?} millicores in the kernel, and 150 again", states.join(", ")))
}

/// Brings one resize into each state and kills the aggregator: the states, and the pods' uids.
async fn kill_in_three_states(
    harness: &Harness,
    (sent, accepted, deferred): (&Subject<'_>, &Subject<'_>, &Subject<'_>),
    [own, stopped, full]: [&str; 3],
) -> anyhow::Result<(Vec<String>, Vec<Option<String>>)> {
    harness.run(accepted.namespace, vec![burner(accepted.name, stopped, 12, 40)]).await?;
    accepted.until_running().await?;
    // Before its load begins. The node counts as unready 20 s later.
    signal_kubelet(harness, stopped, "STOP").await?;
    accepted.until_state(&["accepted", "in_progress"]).await?;
    harness.run(sent.namespace, vec![burner(sent.name, own, 1, 40)]).await?;
    sent.until_state(&["sent"]).await?;
    with_too_much_cpu(harness, full, "the resize to be deferred", async || {
        Ok(deferred.state().await? == "deferred")
    })
    .await?;
    let (mut states, mut uids) = (Vec::new(), Vec::new());
    for (subject, expected) in [
        (sent, &["planned", "recorded", "sent"][..]),
        (accepted, &["accepted", "in_progress"]),
        (deferred, &["deferred"]),
    ] {
        let state = subject.state().await?;
        ensure!(expected.contains(&state.as_str()), "{} is {state:?}", subject.name);
        states.push(state);
        uids.push(subject.pod().await?.uid());
    }
    ensure!(
        sent.pod().await?.annotations().contains_key(keys::DECISION),
        "the first resize was not recorded"
    );
    restart_the_aggregator(harness).await?;
    Ok((states, uids))
}

/// While a resize is on its way, the pod is deleted, and another one gets its name: that one is left alone.
pub(crate) async fn a_pod_deleted_in_mid_flight_leaves_the_next_of_its_name_alone(
    harness: &Harness,
) -> TestResult {
    let subject = Subject { harness, namespace: "interrupted-deleted", name: "replaced" };
    let since = Timestamp::now();
    harness.namespace(subject.namespace).await?;
    block_resizes(harness, subject.namespace).await?;
    let replaced = replace_in_flight(harness, &subject).await;
    unblock_resizes(harness, subject.namespace).await?;
    replaced?;
    subject.until_running().await?;
    let untouched = async || {
        let pod = subject.pod().await?;
        let ours = [keys::ORIGINAL_RESOURCES, keys::DECISION];
        Ok(subject.limit().await? == 40.0 && ours.iter().all(|key| !pod.annotations().contains_key(*key)))
    };
    harness.throughout("the new pod is as it was made", Duration::from_secs(40), untouched).await?;
    let [done, conflicts, gone] =
        [200, 409, 404].map(|code| subject.asked_for(since, code).map(|all| all.len()));
    let (done, refused) = (done?, conflicts? + gone?);
    ensure!(done == 0, "{done} resizes came through");
    drop_namespace(harness, subject.namespace).await?;
    Ok(format!("the new pod stayed at 40m; {refused} requests for the old one were refused as such"))
}

async fn replace_in_flight(harness: &Harness, subject: &Subject<'_>) -> anyhow::Result<()> {
    harness.run(subject.namespace, vec![burner(subject.name, NODES[1], 15, 40)]).await?;
    subject.until_state(&["sent"]).await?;
    let (namespace, name) = (subject.namespace, subject.name);
    harness.kubectl(&["delete", "pod", name, "-n", namespace, "--force", "--grace-period=0"]).await?;
    harness.run(namespace, vec![sized("gold", name, NODES[1], SLEEP, ["40m", "16Mi"], ["40m", "16Mi"])]).await
}

/// What the kubelet can never do is put back, said, and not asked for again.
pub(crate) async fn a_resize_beyond_the_node_is_put_back_and_not_repeated(harness: &Harness) -> TestResult {
    const SIZE: u32 = 550;
    let [node, ..] = nodes(harness).await?;
    let subject = Subject { harness, namespace: "interrupted-infeasible", name: "infeasible" };
    let since = Timestamp::now();
    let cpu = allocatable_cpu(harness, node).await?;
    let free = free_millicores(harness, node).await?;
    ensure!(free > u64::from(SIZE), "only {free}m are free on {node}");
    harness.run(subject.namespace, vec![burner(subject.name, node, 15, SIZE)]).await?;
    subject.until_running().await?;
    let size = f64::from(SIZE);
    let put_back = async || {
        let asked = subject.asked_for(since, 200)?;
        let refused = !subject.asked_for(since, 403)?.is_empty();
        Ok((asked.len() >= 2 || refused)
            && subject.limit().await? == size
            && subject.state().await? == "idle")
    };
    let result = async {
        with_too_much_cpu(harness, node, "the resize to be put back", put_back).await?;
        // The Node still says that there is room.
        let end = Timestamp::now() + Duration::from_secs(40);
        with_too_much_cpu(harness, node, "some time", async || Ok(Timestamp::now() > end)).await
    }
    .await;
    set_allocatable_cpu(harness, node, &cpu).await?;
    result?;
    let (asked, refused) = (subject.asked_for(since, 200)?, subject.asked_for(since, 403)?);
    let mut larger: Vec<f64> = asked.iter().chain(&refused).copied().filter(|limit| *limit > size).collect();
    larger.sort_by(f64::total_cmp);
    let all = larger.len();
    larger.dedup();
    ensure!(!larger.is_empty() && larger.len() == all, "asked for {asked:?}, refused {refused:?}");
    ensure!(restarts(&subject.pod().await?) == 0, "it was restarted");
    ensure!(subject.has_event("ResizeInfeasible").await?, "no Event says so");
    ensure!((subject.kernel().await? - size).abs() < 0.5, "the kernel has {}m", subject.kernel().await?);
    drop_namespace(harness, subject.namespace).await?;
    Ok(format!("asked for {asked:?}, {} of 403, and then back at {SIZE}m", refused.len()))
}
