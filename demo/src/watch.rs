//! Who sees what: three independent witnesses of the loop, each turning what it sees into events.
//!
//! | witness | sees | through |
//! |---|---|---|
//! | workloads | what each workload really wants | the host's own channel |
//! | agent | bands as the agent announces them | `GET /v1/report` on its plain port |
//! | labels | labels as anybody sees them | a watch on the API server |

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

use crate::cast;
use crate::timeline::{Event, What};

/// The agent's report is looked at so often: a fraction of its sweep.
const LOOK: Duration = Duration::from_millis(100);
const MOST_REPORT: usize = 8 << 20;

/// Where events go, and when time began.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Instant,
    events: mpsc::UnboundedSender<Event>,
}

impl Timeline {
    /// A timeline that begins now, and its events.
    pub fn begin() -> (Timeline, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Timeline { start: Instant::now(), events }, receiver)
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// It happened now.
    pub fn tell(&self, what: What) {
        // Nobody listens any more at the very end.
        let _ = self.events.send(Event::new(self.elapsed(), what));
    }
}

/// Tells what workloads do, as they themselves say.
pub async fn workloads(
    mut changes: broadcast::Receiver<LoadChange>,
    timeline: Timeline,
) -> anyhow::Result<()> {
    loop {
        match changes.recv().await {
            Ok(change) if change.namespace == cast::NAMESPACE => timeline.tell(load(&change)),
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

/// Tells the bands that the agent announces. `names` are the pods by uid.
///
/// # Errors
/// None while it runs: an agent that does not answer is asked again.
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
            for (uid, resource, what) in announced(&report, &names) {
                let What::Band { band, .. } = what else { continue };
                if bands.insert((uid, resource), band).unwrap_or_default() != band {
                    timeline.tell(what);
                }
            }
        }
        sleep(LOOK).await;
    }
}

async fn report(address: SocketAddr) -> anyhow::Result<Report> {
    let stream = TcpStream::connect(address).await?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        http::Request::get("/v1/report").header(http::header::HOST, "agent").body(Empty::<Bytes>::new())?;
    let response = send.send_request(request).await?;
    let body = Limited::new(response.into_body(), MOST_REPORT).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("reading the report: {error}"))?.to_bytes();
    serde_json::from_slice(&body).context("the report is not one")
}

fn announced(report: &Report, names: &BTreeMap<String, PodName>) -> Vec<(String, Resource, What)> {
    let mut told = Vec::new();
    for pod in &report.pods {
        let uid = pod.uid.to_string();
        let Some(name) = names.get(&uid) else { continue };
        let mut tell = |resource, band, basis, utilization| {
            let (namespace, pod) = (name.namespace.to_string(), name.name.to_string());
            told.push((
                uid.clone(),
                resource,
                What::Band { namespace, pod, resource, band, basis, utilization },
            ));
        };
        tell(Resource::Cpu, pod.cpu.band, pod.cpu.basis, pod.cpu.utilization);
        tell(Resource::Memory, pod.memory.band, pod.memory.basis, pod.memory.utilization);
    }
    told
}

/// Tells labels of ours as a watch sees them.
///
/// # Errors
/// If the watch ends for good.
pub async fn labels(kube: kube::Config, timeline: Timeline) -> anyhow::Result<()> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(Client::try_from(kube)?, cast::NAMESPACE);
    let changes = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(changes);
    let mut seen: BTreeMap<(String, &str), Option<String>> = BTreeMap::new();
    while let Some(pod) = changes.next().await {
        let Ok(pod) = pod else { continue };
        for key in keys::WRITTEN_LABELS {
            let value = pod.labels().get(key).cloned();
            let before = seen.insert((pod.name_any(), key), value.clone()).flatten();
            if before != value {
                let told = What::label(cast::NAMESPACE, &pod.name_any(), key, value.as_deref());
                told.into_iter().for_each(|what| timeline.tell(what));
            }
        }
    }
    anyhow::bail!("the watch on pods ended")
}
