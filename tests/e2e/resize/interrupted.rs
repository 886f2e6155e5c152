//! A resize is under way, and then the aggregator is killed, the pod is deleted, or the kubelet cannot do it: nothing is left half done.
//!
//! How a resize is kept in a state: an admission webhook that nobody answers for what records it (`planned`) or for the resize (`sent`), a
//! stopped kubelet (`accepted`), and a Node that says that it has less CPU than it has, which its kubelet believes and soon corrects (`deferred`).

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use plimsoll_contract::Quantity;
use plimsoll_contract::keys;
use plimsoll_contract::resize::{PodResources, ResizeDecision};
use serde_json::{Value, json};

use super::{RUNS, drop_namespace, sized};
use crate::TestResult;
use crate::harness::{Harness, container_ids, is_running};
use crate::pods::{BURN, NODES, SLEEP, cpu, pod, restarts};
use crate::restarts::restart_the_aggregator;

/// Until a throttled pod of a class was resized, or would have been.
const RESIZED: Duration = Duration::from_secs(150);
/// What every pod asks for. One growth at most doubles it.
const SIZE: &str = "40m";
/// A Node with so little has no room for a grown pod beside [`FILLER`].
const NO_ROOM: &str = "120m";
const FILLER: &str = "100m";

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
        Ok(cpu(&self.pod().await?, "limits"))
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
        let limit =
            |body: &Value| millicores(body["spec"]["containers"][0]["resources"]["limits"]["cpu"].as_str()?);
        Ok(ours.filter_map(|one| limit(&one.body)).collect())
    }

    /// Whether the aggregator published an Event: the kubelet has some of the same reasons.
    async fn has_event(&self, reason: &str) -> anyhow::Result<bool> {
        let events = self.harness.kubectl(&["get", "events", "-n", self.namespace, "-o", "json"]).await?;
        let events: Value = serde_json::from_str(&events)?;
        let mut all = events["items"].as_array().into_iter().flatten();
        Ok(all.any(|one| {
            one["reason"] == reason
                && one["involvedObject"]["name"] == self.name
                && one["reportingComponent"] == keys::AGGREGATOR
        }))
    }
}

fn millicores(quantity: &str) -> Option<f64> {
    Some(quantity.parse::<Quantity>().ok()?.as_f64() * 1000.0)
}

/// A pod that uses all that its limit allows, after some seconds.
fn burner(name: &str, node: &str, after: u32) -> Value {
    sized("gold", name, node, &format!("sleep {after}; {BURN}"), [SIZE, "16Mi"], [SIZE, "16Mi"])
}

/// Resizes of pods, and other changes of them but of their status.
const RESIZES: &str = "pods/resize";
const CHANGES: &str = "pods";

/// Such requests in a namespace wait for a webhook at an address of the cluster's network that nobody has.
async fn block(harness: &Harness, namespace: &str, requests: &str) -> anyhow::Result<()> {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "blocked.plimsoll.test",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": [requests]}],
            "clientConfig": {"url": "https://10.77.0.250/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 10,
        }],
    });
    harness.create(webhook).await
}

async fn unblock(harness: &Harness, namespace: &str) -> anyhow::Result<()> {
    harness.kubectl(&["delete", "validatingwebhookconfiguration", namespace]).await.map(drop)
}

/// Stops a node's kubelet (`STOP`), or continues it (`CONT`).
async fn signal_kubelet(harness: &Harness, node: &str, signal: &str) -> anyhow::Result<()> {
    let files = "$(grep -lz '^--config=/run/kubelet.yaml$' /proc/[0-9]*/cmdline 2>/dev/null)";
    let line = format!("for file in {files}; do kill -{signal} $(basename $(dirname $file)); done");
    harness.on(node, &line).await.map(drop)
}

/// Lets a Node say that it has so much CPU until a condition holds.
async fn with_allocatable_cpu(
    harness: &Harness,
    node: &str,
    cpu: &str,
    what: &str,
    condition: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let while_it_says_so = async || {
        set_allocatable_cpu(harness, node, cpu).await?;
        condition().await
    };
    harness.until(what, RESIZED, while_it_says_so).await.map(drop)
}

async fn set_allocatable_cpu(harness: &Harness, node: &str, cpu: &str) -> anyhow::Result<()> {
    let patch = json!({"status": {"allocatable": {"cpu": cpu}}}).to_string();
    harness
        .kubectl(&["patch", "node", node, "--subresource", "status", "--type", "merge", "-p", &patch])
        .await?;
    Ok(())
}

async fn allocatable_cpu(harness: &Harness, node: &str) -> anyhow::Result<String> {
    harness.kubectl(&["get", "node", node, "-o", "jsonpath={.status.allocatable.cpu}"]).await
}

/// A throttled pod whose resize is accepted while its kubelet is stopped: its limits before and then, in millicores. The start of a container is
/// a load too, so it may have grown before.
async fn accept_without_kubelet(subject: &Subject<'_>, node: &str) -> anyhow::Result<[f64; 2]> {
    let harness = subject.harness;
    harness.run(subject.namespace, vec![burner(subject.name, node, 12)]).await?;
    subject.until_running().await?;
    // Before its load begins. The node counts as unready 20 s later.
    signal_kubelet(harness, node, "STOP").await?;
    subject.until_state(&["accepted", "in_progress"]).await?;
    let pod = subject.pod().await?;
    let decision = pod.annotations().get(keys::DECISION).context("no decision")?;
    let decision: ResizeDecision = serde_json::from_str(decision)?;
    let limit = |resources: &PodResources| millicores(resources.get("app")?.limits.get("cpu")?);
    let limits = limit(&decision.from).zip(limit(&decision.to));
    let (before, wanted) = limits.with_context(|| format!("{decision:?} says no limits"))?;
    ensure!(wanted > before && subject.limit().await? == wanted, "{} was to come to {wanted}m", subject.name);
    Ok([before, wanted])
}

/// The nodes that the aggregator does not run on, and that on which it does.
async fn nodes(harness: &Harness) -> anyhow::Result<[&'static str; 3]> {
    let pods = harness.pods(keys::SYSTEM_NAMESPACE, "app.kubernetes.io/name=plimsoll-aggregator").await?;
    let here = pods.first().and_then(|pod| pod.spec.as_ref()?.node_name.clone()).context("no aggregator")?;
    let mut nodes = NODES;
    nodes.sort_by_key(|node| *node == here);
    Ok(nodes)
}

/// One resize is planned, one sent, one accepted, one deferred, when the aggregator is killed. Its successor makes the first, completes the next
/// two and takes the last back.
pub(crate) async fn a_killed_aggregator_leaves_no_resize_half_done(harness: &Harness) -> TestResult {
    let [stopped, full, own] = nodes(harness).await?;
    let subject = |namespace, name| Subject { harness, namespace, name };
    let planned = subject("interrupted-planned", "planned");
    let sent = subject("interrupted-sent", "sent");
    let accepted = subject("interrupted-accepted", "accepted");
    let deferred = subject("interrupted-deferred", "deferred");
    let subjects = [&planned, &sent, &accepted, &deferred];
    let since = Timestamp::now();
    for subject in subjects {
        harness.namespace(subject.namespace).await?;
    }
    let cpu = allocatable_cpu(harness, full).await?;
    block(harness, planned.namespace, CHANGES).await?;
    block(harness, sent.namespace, RESIZES).await?;
    harness.run(deferred.namespace, vec![pod("filler", full, SLEEP, [FILLER, "8Mi"], ["", ""])]).await?;
    let result = async {
        let killed = kill_in_each_state(harness, subjects, [own, stopped, full]).await?;
        // The Node has no room until it is taken back.
        let [before, _] = killed.deferred;
        let back = async || Ok(deferred.limit().await? == before);
        with_allocatable_cpu(harness, full, NO_ROOM, "the deferred resize to be taken back", back).await?;
        anyhow::Ok(killed)
    }
    .await;
    // Whatever the result, because the next tests need the cluster.
    for blocked in [planned.namespace, sent.namespace] {
        unblock(harness, blocked).await?;
    }
    for node in [stopped, full] {
        signal_kubelet(harness, node, "CONT").await?;
    }
    set_allocatable_cpu(harness, full, &cpu).await?;
    let Killed { states, uids, deferred: no_room, accepted: [before, wanted] } = result?;

    let mut grown = Vec::new();
    for (subject, before) in [(&planned, 40.0), (&sent, 40.0), (&accepted, before)] {
        grown.push(subject.until_grown_in_the_kernel(before).await?);
    }
    for (subject, uid) in subjects.into_iter().zip(uids) {
        let pod = subject.pod().await?;
        ensure!(pod.uid() == uid && restarts(&pod) == 0, "{} is another one, or restarted", subject.name);
        let original = pod.annotations().get(keys::ORIGINAL_RESOURCES).context("no original resources")?;
        ensure!(original.contains(SIZE), "{}: the original is {original}", subject.name);
    }
    // What was accepted is not asked for again.
    let asked = accepted.asked_for(since, 200)?;
    ensure!(asked.iter().filter(|limit| **limit == wanted).count() == 1, "asked for {asked:?}");
    let asked = deferred.asked_for(since, 200)?;
    let [before, wanted] = no_room;
    ensure!(
        asked.windows(2).any(|pair| pair == [wanted, before]),
        "asked for {asked:?} where there was no room"
    );
    ensure!(deferred.has_event("ResizeDeferred").await?, "no Event says that it was deferred");
    for subject in subjects {
        drop_namespace(harness, subject.namespace).await?;
    }
    Ok(format!(
        "killed while {}; the first three came to {grown:?} millicores in the kernel",
        states.join(", ")
    ))
}

/// What was so when the aggregator was killed.
struct Killed {
    states: Vec<String>,
    uids: Vec<Option<String>>,
    /// The limits before and after that the deferred resize asks for, and those of the accepted one, in millicores.
    deferred: [f64; 2],
    accepted: [f64; 2],
}

/// Brings one resize into each state and kills the aggregator.
async fn kill_in_each_state(
    harness: &Harness,
    [planned, sent, accepted, deferred]: [&Subject<'_>; 4],
    [own, stopped, full]: [&str; 3],
) -> anyhow::Result<Killed> {
    let limits =
        [accept_without_kubelet(deferred, full).await?, accept_without_kubelet(accepted, stopped).await?];
    for blocked in [planned, sent] {
        harness.run(blocked.namespace, vec![burner(blocked.name, own, 1)]).await?;
    }
    planned.until_state(&["planned"]).await?;
    sent.until_state(&["sent"]).await?;
    set_allocatable_cpu(harness, full, NO_ROOM).await?;
    signal_kubelet(harness, full, "CONT").await?;
    let here = async || Ok(deferred.state().await? == "deferred");
    with_allocatable_cpu(harness, full, NO_ROOM, "the resize to be deferred", here).await?;
    // Without a record a plan is given up after some tries, and made anew.
    let expected = [
        &["planned", "failed"][..],
        &["planned", "recorded", "sent"],
        &["accepted", "in_progress"],
        &["deferred"],
    ];
    let (mut states, mut uids) = (Vec::new(), Vec::new());
    for (subject, expected) in [planned, sent, accepted, deferred].into_iter().zip(expected) {
        let state = subject.state().await?;
        ensure!(expected.contains(&state.as_str()), "{} is {state:?}", subject.name);
        states.push(state);
        uids.push(subject.pod().await?.uid());
    }
    for (subject, is_recorded) in [(planned, false), (sent, true)] {
        let decided = subject.pod().await?.annotations().contains_key(keys::DECISION);
        ensure!(decided == is_recorded, "{}: recorded is {decided}", subject.name);
    }
    restart_the_aggregator(harness).await?;
    let [deferred, accepted] = limits;
    Ok(Killed { states, uids, deferred, accepted })
}

/// While a resize is on its way, the pod is deleted, and another one gets its name: that one is left alone.
pub(crate) async fn a_pod_deleted_in_mid_flight_leaves_the_next_of_its_name_alone(
    harness: &Harness,
) -> TestResult {
    let subject = Subject { harness, namespace: "interrupted-deleted", name: "replaced" };
    let since = Timestamp::now();
    harness.namespace(subject.namespace).await?;
    block(harness, subject.namespace, RESIZES).await?;
    let replaced = replace_in_flight(harness, &subject).await;
    unblock(harness, subject.namespace).await?;
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
    harness.run(subject.namespace, vec![burner(subject.name, NODES[1], 15)]).await?;
    subject.until_state(&["sent"]).await?;
    let (namespace, name) = (subject.namespace, subject.name);
    harness.kubectl(&["delete", "pod", name, "-n", namespace, "--force", "--grace-period=0"]).await?;
    // Without a class: the start of a container is a load too.
    harness.run(namespace, vec![pod(name, NODES[1], SLEEP, [SIZE, "16Mi"], [SIZE, "16Mi"])]).await
}
