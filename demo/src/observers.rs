//! Independent observers of the loop, each of which turns what it observes into events.
//!
//! | observer | observes | source |
//! |---|---|---|
//! | workloads | the demand of each workload | the channel of the host |
//! | agent | the bands of the agent | `GET /v1/report` on its plain port |
//! | labels | the labels of the pods | a watch on the API server |
//! | [`sizes`] | resizes, and the limits that are enforced | a watch on the API server, the cgroups of the host |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, pin_mut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use plimsoll_contract::{Band, PodName, Report, Resource, keys};
use plimsoll_sandbox::host::LoadChange;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};

use crate::pods;
use crate::timeline::{Event, What};

mod sizes;
pub use sizes::sizes;

/// Polling interval of the agent's report: a fraction of its sweep interval.
const POLL: Duration = Duration::from_millis(100);
const REPORT_LIMIT: usize = 8 << 20;

/// The sender of events, and the start of the time.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Instant,
    events: mpsc::UnboundedSender<Event>,
}

impl Timeline {
    /// A timeline that begins now, and the receiver of its events.
    pub fn begin() -> (Timeline, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Timeline { start: Instant::now(), events }, receiver)
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sends an event that happens now.
    pub fn send(&self, what: What) {
        // There is no receiver at the end of the demo.
        let _ = self.events.send(Event::new(self.elapsed(), what));
    }
}

/// Sends the changes of load of the workloads.
pub async fn workloads(
    mut changes: broadcast::Receiver<LoadChange>,
    timeline: Timeline,
) -> anyhow::Result<()> {
    loop {
        match changes.recv().await {
            Ok(change) if change.namespace == pods::NAMESPACE => timeline.send(load(&change)),
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "load changes were missed");
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

fn load(change: &LoadChange) -> What {
    let (cores, bytes) = match change.resource {
        Resource::Cpu => (Some(change.value), None),
        Resource::Memory => (None, Some(change.value as u64)),
    };
    What::Load {
        namespace: change.namespace.clone(),
        pod: change.pod.clone(),
        resource: change.resource,
        cores,
        bytes,
    }
}

/// Sends the changes of band in the agent's reports. `names` are the names of the pods by uid.
///
/// # Errors
/// None: an agent that does not answer is polled again.
pub async fn agent(
    address: SocketAddr,
    names: BTreeMap<String, PodName>,
    timeline: Timeline,
) -> anyhow::Result<()> {
    let mut bands: BTreeMap<(String, Resource), Band> = BTreeMap::new();
    loop {
        if let Ok(report) =
            timeout(Duration::from_secs(2), report(address)).await.unwrap_or_else(|late| Err(late.into()))
        {
            for (uid, resource, what) in reported_bands(&report, &names) {
                let What::Band { band, .. } = what else { continue };
                if bands.insert((uid, resource), band).unwrap_or_default() != band {
                    timeline.send(what);
                }
            }
        }
        sleep(POLL).await;
    }
}

async fn report(address: SocketAddr) -> anyhow::Result<Report> {
    let stream = TcpStream::connect(address).await?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        http::Request::get("/v1/report").header(http::header::HOST, "agent").body(Empty::<Bytes>::new())?;
    let response = send.send_request(request).await?;
    let body = Limited::new(response.into_body(), REPORT_LIMIT).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("cannot read the report: {error}"))?.to_bytes();
    serde_json::from_slice(&body).context("the agent's answer is not a report")
}

fn reported_bands(report: &Report, names: &BTreeMap<String, PodName>) -> Vec<(String, Resource, What)> {
    let mut bands = Vec::new();
    for pod in &report.pods {
        let uid = pod.uid.to_string();
        let Some(name) = names.get(&uid) else { continue };
        let mut add = |resource, band, basis, utilization| {
            let (namespace, pod) = (name.namespace.to_string(), name.name.to_string());
            bands.push((
                uid.clone(),
                resource,
                What::Band { namespace, pod, resource, band, basis, utilization },
            ));
        };
        add(Resource::Cpu, pod.cpu.band, pod.cpu.basis, pod.cpu.utilization);
        add(Resource::Memory, pod.memory.band, pod.memory.basis, pod.memory.utilization);
    }
    bands
}

/// Sends the changes of our labels in a watch on pods.
///
/// # Errors
/// If the watch ends.
pub async fn labels(kube: kube::Config, timeline: Timeline) -> anyhow::Result<()> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(Client::try_from(kube)?, pods::NAMESPACE);
    let changes = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(changes);
    let mut labels: BTreeMap<(String, &str), Option<String>> = BTreeMap::new();
    while let Some(pod) = changes.next().await {
        let Ok(pod) = pod else { continue };
        for key in keys::WRITTEN_LABELS {
            let value = pod.labels().get(key).cloned();
            let before = labels.insert((pod.name_any(), key), value.clone()).flatten();
            if before != value {
                let what = What::label(pods::NAMESPACE, &pod.name_any(), key, value.as_deref());
                what.into_iter().for_each(|what| timeline.send(what));
            }
        }
    }
    anyhow::bail!("the watch on pods ended")
}
