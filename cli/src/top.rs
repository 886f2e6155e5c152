//! The live table of pods, as the aggregator sees them.
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
use plimsoll_contract::status::{PodStatus, ResourceStatus};

use crate::args::{ClusterArgs, Sort, TopArgs};
use crate::connect::{self, Failure, Operation};
use crate::table::{self, Row};

const READ_PODS: Operation = Operation {
    action: "reading the pods from the aggregator",
    server: "aggregator",
    right: "get services/proxy in namespace plimsoll-system",
    through_service: true,
};

/// Where the pods are read from.
pub struct Source {
    client: Client,
    path: String,
    operation: Operation,
    /// The latest response that had an `ETag`.
    latest: Mutex<Option<(HeaderValue, Arc<Vec<PodStatus>>)>>,
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
        Ok(Source { client, path: "/v1/pods".into(), operation, latest: Mutex::default() })
    }

    /// The aggregator's Service behind the API server of `client`.
    fn proxied(client: Client) -> Source {
        let (namespace, service) = (keys::SYSTEM_NAMESPACE, keys::AGGREGATOR_HTTP);
        let path = format!("/api/v1/namespaces/{namespace}/services/{service}:9619/proxy/v1/pods");
        let operation = Operation { server: "API server", ..READ_PODS };
        Source { client, path, operation, latest: Mutex::default() }
    }

    /// The current pods. If nothing changed since the last call, the aggregator answers 304 and sends nothing.
    ///
    /// # Errors
    /// Why they cannot be read, and what to do.
    pub async fn pods(&self) -> Result<Arc<Vec<PodStatus>>, Failure> {
        self.operation.run(self.poll()).await
    }

    async fn poll(&self) -> kube::Result<Arc<Vec<PodStatus>>> {
        let lock = || self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = lock().clone();
        let mut request = http::Request::get(&self.path);
        if let Some((etag, _)) = &latest {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = self.client.send(request.body(Body::empty()).map_err(kube::Error::HttpError)?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        match latest {
            Some((_, pods)) if head.status == http::StatusCode::NOT_MODIFIED => return Ok(pods),
            _ if head.status.is_success() => {}
            _ => {
                let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
                    Status::failure(String::from_utf8_lossy(&body).trim(), "").with_code(head.status.as_u16())
                });
                return Err(kube::Error::Api(status.boxed()));
            }
        }
        let pods: Arc<Vec<PodStatus>> =
            Arc::new(serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?);
        *lock() = head.headers.get(ETAG).map(|etag| (etag.clone(), Arc::clone(&pods)));
        Ok(pods)
    }
}

/// Shows the pods: live on a terminal, else once as plain lines.
///
/// # Errors
/// A [`Failure`] of the first request, or an error of writing to `out`. On a terminal later failures are shown in the
/// status line.
pub(crate) async fn run(
    source: &Source,
    args: &TopArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let pods = source.pods().await?;
    if args.once || !io::stdout().is_terminal() {
        for line in table::lines(&rows(&pods, args, Timestamp::now())) {
            writeln!(out, "{line}")?;
        }
        return Ok(out.flush()?);
    }
    live::run(source, args, pods).await
}

/// The rows of the selected pods, sorted as `args` says.
pub fn rows(pods: &[PodStatus], args: &TopArgs, now: Timestamp) -> Vec<Row> {
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
    pods.into_iter().map(|pod| Row::new(pod, now)).collect()
}

/// The higher utilization first, unknown ones last.
fn by_utilization(a: &ResourceStatus, b: &ResourceStatus) -> Ordering {
    let known = |status: &ResourceStatus| status.utilization.filter(|u| u.is_finite());
    match (known(a), known(b)) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
