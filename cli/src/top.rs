//! The live table of pods, as the aggregator sees them, below what the replica that answers says of itself.
//!
//! Without `--url` the request goes through the API server's service proxy, with the caller's own credentials: the
//! aggregator's port needs no authentication of its own.

mod live;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use http::header::{ETAG, IF_NONE_MATCH};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use plimsoll_contract::keys;
use plimsoll_contract::status::{AggregatorStatus, PodStatus, ResourceStatus};
use serde::de::DeserializeOwned;

use crate::args::{ClusterArgs, Sort, TopArgs};
use crate::connect::{self, Failure, Operation};
use crate::table::{self, PodTable, Row};

const READ_PODS: Operation = Operation {
    action: "reading the pods from the aggregator",
    server: "aggregator",
    right: "get services/proxy in namespace plimsoll-system",
    through_service: true,
};

/// The aggregator that is asked.
pub struct Source {
    client: Client,
    /// What the paths of its documents begin with.
    base: String,
    operation: Operation,
    pods: Latest<Vec<PodStatus>>,
    status: Latest<AggregatorStatus>,
}

/// The latest response that had an `ETag`.
type Latest<T> = Mutex<Option<(HeaderValue, Arc<T>)>>;

/// What the aggregator said.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The pods that it knows.
    pub pods: Arc<Vec<PodStatus>>,
    /// The replica that answered, perhaps another than that of the pods; absent if its version does not say it, or says it otherwise.
    pub status: Option<Arc<AggregatorStatus>>,
}

impl Source {
    /// The URL in `args`, or else the aggregator's Service behind the cluster's API server.
    ///
    /// # Errors
    /// If no usable configuration says which cluster.
    pub async fn new(cluster: &ClusterArgs, args: &TopArgs) -> Result<Source, Failure> {
        let Some(url) = &args.url else {
            return Ok(Source::proxied(connect::cluster(cluster).await?));
        };
        let operation = Operation { through_service: false, ..READ_PODS };
        let client = connect::plain(url.clone())?;
        Ok(Source::at(client, String::new(), operation))
    }

    fn at(client: Client, base: String, operation: Operation) -> Source {
        Source { client, base, operation, pods: Mutex::default(), status: Mutex::default() }
    }

    /// The aggregator's Service behind the API server of `client`.
    fn proxied(client: Client) -> Source {
        let (namespace, service) = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR_HTTP);
        let base = format!("/api/v1/namespaces/{namespace}/services/{service}:9619/proxy");
        Source::at(client, base, Operation { server: "API server", ..READ_PODS })
    }

    /// What the aggregator says now. Of a document that did not change since the last call it sends nothing.
    ///
    /// # Errors
    /// Why it cannot be read, and what to do.
    pub async fn read(&self) -> Result<Snapshot, Failure> {
        let pods = self.operation.run(self.poll("/v1/pods", &self.pods)).await?;
        let status = async { Ok(self.poll("/v1/status", &self.status).await) };
        let status = match self.operation.run(status).await? {
            Ok(status) => Some(status),
            Err(kube::Error::Api(said)) if said.code == 404 => None,
            Err(kube::Error::SerdeError(_)) => None,
            Err(error) => return Err(self.operation.failure(&error)),
        };
        Ok(Snapshot { pods, status })
    }

    /// The document at a path.
    async fn poll<T: DeserializeOwned>(&self, path: &str, latest: &Latest<T>) -> kube::Result<Arc<T>> {
        let lock = || latest.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = lock().clone();
        let mut request = http::Request::get(format!("{}{path}", self.base));
        if let Some((etag, _)) = &latest {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = self.client.send(request.body(Body::empty()).map_err(kube::Error::HttpError)?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        match latest {
            Some((_, document)) if head.status == http::StatusCode::NOT_MODIFIED => return Ok(document),
            _ if head.status.is_success() => {}
            _ => {
                // A Status is the API server's; what the aggregator itself says is another object, or text.
                let said: Option<Status> = serde_json::from_slice(&body).ok();
                let said = said.filter(|status| !status.message.is_empty());
                let said = said.unwrap_or_else(|| Status::failure(String::from_utf8_lossy(&body).trim(), ""));
                return Err(kube::Error::Api(said.with_code(head.status.as_u16()).boxed()));
            }
        }
        let document: Arc<T> = Arc::new(serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?);
        *lock() = head.headers.get(ETAG).map(|etag| (etag.clone(), Arc::clone(&document)));
        Ok(document)
    }
}

/// Shows the table: live on a terminal, else once as plain lines.
///
/// # Errors
/// A [`Failure`] of the first request, or an error of writing to `out`. On a terminal later failures are shown in the
/// status line.
pub(crate) async fn run(
    source: &Source,
    args: &TopArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let snapshot = source.read().await?;
    if args.once || !io::stdout().is_terminal() {
        for line in table_of(&snapshot, args, Timestamp::now()).lines() {
            writeln!(out, "{line}")?;
        }
        return Ok(out.flush()?);
    }
    live::run(source, args, snapshot).await
}

/// The table of the selected pods, sorted as `args` says.
pub fn table_of(snapshot: &Snapshot, args: &TopArgs, now: Timestamp) -> PodTable {
    let status = snapshot.status.as_deref();
    let labels = status.is_none_or(|status| status.output != table::METRICS);
    let rows = selected(&snapshot.pods, args).into_iter().map(|pod| Row::new(pod, labels, now)).collect();
    PodTable { banner: status.map(table::banner).unwrap_or_default(), rows }
}

fn selected<'a>(pods: &'a [PodStatus], args: &TopArgs) -> Vec<&'a PodStatus> {
    let selected =
        |pod: &&PodStatus| args.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace);
    let mut pods: Vec<_> = pods.iter().filter(selected).collect();
    pods.sort_by(|a, b| {
        let by_load = match args.sort {
            Sort::Name => Ordering::Equal,
            Sort::Cpu => by_utilization(&a.cpu, &b.cpu),
            Sort::Memory => by_utilization(&a.memory, &b.memory),
        };
        by_load.then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    });
    pods
}

/// The higher utilization first, unknown ones last.
fn by_utilization(a: &ResourceStatus, b: &ResourceStatus) -> Ordering {
    let known = |status: &ResourceStatus| status.utilization.filter(|u| u.is_finite());
    match (known(a), known(b)) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
