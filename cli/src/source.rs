//! The aggregator's documents, for the commands that show what it knows.
//!
//! Without `--url` the request goes through the API server's service proxy, with the caller's own credentials: the
//! aggregator's port needs no authentication of its own.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use http::header::{ETAG, IF_NONE_MATCH};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use plimsoll_contract::keys;
use plimsoll_contract::status::{AggregatorStatus, PodStatus};
use serde::de::DeserializeOwned;

use crate::args::ClusterArgs;
use crate::connect::{self, Failure, Operation};

const READ_PODS: Operation = Operation {
    action: "reading the pods from the aggregator",
    server: "aggregator",
    right: "get services/proxy in namespace plimsoll-system",
    through_service: true,
};

/// The reason of a Status that stands for an answer of the aggregator itself.
const UNKNOWN: &str = "SaidByAggregator";

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
    /// The plain port at `url`, or else the aggregator's Service behind the cluster's API server.
    ///
    /// # Errors
    /// If no usable configuration says which cluster.
    pub async fn new(cluster: &ClusterArgs, url: Option<&http::Uri>) -> Result<Source, Failure> {
        let Some(url) = url else {
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
    pub(crate) fn proxied(client: Client) -> Source {
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

    /// One pod as the aggregator knows it; `None` if it knows none of this name. The names are valid in a path.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodStatus>, Failure> {
        let latest = Mutex::default();
        let path = format!("/v1/pods/{namespace}/{name}");
        let answer = async { Ok(self.poll::<PodStatus>(&path, &latest).await) };
        match self.operation.run(answer).await? {
            Ok(pod) => Ok(Some(Arc::unwrap_or_clone(pod))),
            Err(kube::Error::Api(said)) if said.code == 404 && said.reason == UNKNOWN => Ok(None),
            Err(error) => Err(self.operation.failure(&error)),
        }
    }

    /// The namespace of the context of the kubeconfig; with `--url` it is `default`.
    pub(crate) fn namespace(&self) -> &str {
        self.client.default_namespace()
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
                let said = said.unwrap_or_else(|| {
                    let document: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                    let is_ours = document.is_some_and(|document| document["error"].is_string());
                    Status::failure(String::from_utf8_lossy(&body).trim(), if is_ours { UNKNOWN } else { "" })
                });
                return Err(kube::Error::Api(said.with_code(head.status.as_u16()).boxed()));
            }
        }
        let document: Arc<T> = Arc::new(serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?);
        *lock() = head.headers.get(ETAG).map(|etag| (etag.clone(), Arc::clone(&document)));
        Ok(document)
    }
}
