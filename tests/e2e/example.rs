//! The example of the original project: two replicas that request 100m of CPU and use half of each second, from their start on.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::Harness;
use crate::pods::{cpu, logged, restarts, spec};

const NAME: &str = "vpa-example";
pub(crate) const REPLICAS: usize = 2;
const START: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// What became of the CPU request of one replica.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) pod: String,
    /// Seconds from the start of its load to the first resize. Absent: it was not resized.
    pub(crate) first: Option<f64>,
    /// Seconds from the start of its load until the request was within a tenth of the last one.
    pub(crate) settled: Option<f64>,
    /// The last request, in millicores.
    pub(crate) millicores: f64,
    /// It is another pod by now, or its container was restarted.
    pub(crate) disturbed: bool,
}

/// Runs it in a namespace of its own, its pods with these labels besides their own, and observes its requests for some time.
pub(crate) async fn run(
    harness: &Harness,
    namespace: &str,
    labels: Value,
    time: Duration,
) -> anyhow::Result<Vec<Outcome>> {
    harness.namespace(namespace).await?;
    // `timeout` ends the burner.
    let script =
        "echo up; while :; do timeout -s KILL 0.5 sh -c 'while :; do :; done'; sleep 0.5; done 2>/dev/null";
    let mut labels = labels;
    labels["app"] = json!(NAME);
    let selector = json!({"matchLabels": {"app": NAME}});
    let mut spec = spec(None, script, ["100m", "50Mi"], ["", ""]);
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
    }]);
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"replicas": REPLICAS, "selector": selector, "template": template},
    });
    harness.create(deployment).await?;
    // Requests as they change, of every pod that there ever was.
    let mut seen: Vec<(Timestamp, String, f64)> = Vec::new();
    let observe = async |seen: &mut Vec<(Timestamp, String, f64)>| {
        for pod in harness.pods(namespace, &format!("app={NAME}")).await? {
            let (name, request) = (pod.name_any(), cpu(&pod, "requests"));
            if seen.iter().rfind(|(_, of, _)| *of == name).is_none_or(|(.., last)| *last != request) {
                seen.push((Timestamp::now(), name, request));
            }
        }
        sleep(POLL_INTERVAL).await;
        anyhow::Ok(())
    };
    let start = Instant::now();
    while !harness.are_running(namespace, REPLICAS).await? {
        anyhow::ensure!(start.elapsed() < START, "the replicas in {namespace} do not run after {START:?}");
        observe(&mut seen).await?;
    }
    let pods = harness.pods(namespace, &format!("app={NAME}")).await?;
    let mut starts = Vec::new();
    for pod in &pods {
        let log = async || Ok(logged(&harness.log(namespace, &pod.name_any()).await?, "up").is_some());
        harness.until("its load to begin", START, log).await?;
        let (up, _) = logged(&harness.log(namespace, &pod.name_any()).await?, "up").context("no load")?;
        starts.push(up);
    }
    let start = Instant::now();
    while start.elapsed() < time {
        observe(&mut seen).await?;
    }
    let now = harness.pods(namespace, &format!("app={NAME}")).await?;
    let outcome = |(pod, up): (&k8s_openapi::api::core::v1::Pod, &Timestamp)| {
        let requests: Vec<_> = seen.iter().filter(|(_, name, _)| *name == pod.name_any()).collect();
        let after = |(at, ..): &(Timestamp, String, f64)| at.duration_since(*up).as_secs_f64();
        let last = requests.last().map_or(0.0, |(.., last)| *last);
        let far = requests.iter().rposition(|(.., request)| (request / last - 1.0).abs() > 0.1);
        Outcome {
            pod: pod.name_any(),
            first: requests.get(1).copied().map(after),
            settled: far.and_then(|far| requests.get(far + 1)).copied().map(after),
            millicores: last,
            disturbed: !now.iter().any(|now| now.uid() == pod.uid() && restarts(now) == 0),
        }
    };
    Ok(pods.iter().zip(&starts).map(outcome).collect())
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.settled) {
            (Some(first), Some(settled)) => {
                write!(
                    f,
                    "first after {first:.1} s, settled after {settled:.1} s at {:.0}m",
                    self.millicores
                )?;
            }
            (Some(first), None) => write!(f, "first after {first:.1} s, at {:.0}m", self.millicores)?,
            (None, _) => write!(f, "not resized, {:.0}m", self.millicores)?,
        }
        if self.disturbed { f.write_str(", not the same pod any more") } else { Ok(()) }
    }
}
