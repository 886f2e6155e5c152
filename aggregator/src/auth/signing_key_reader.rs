//! Reads the API server's keys: at once, every 10 minutes, and at a bounded rate when a token of an unknown key or issuer arrives.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use plimsoll_process::shutdown::Shutdown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::signature::Jwk;
use super::signing_keys::SigningKeys;
use crate::cluster::client::{self, READ_DEADLINE};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};

const JWKS_PATH: &str = "/openid/v1/jwks";
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// From one read to the next.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// The same, while the API server does not serve its keys.
const NOT_SERVED_REFRESH: Duration = Duration::from_secs(60);
/// The shortest time between two reads that tokens ask for: anybody can send tokens that name any key.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of an answer. A key has about 500.
const MAX_ANSWER: usize = 256 << 10;

/// The task that reads the keys.
pub(crate) struct SigningKeyReader {
    client: Client,
    keys: SigningKeys,
    readiness: Readiness,
    metrics: Metrics,
}

/// Why the keys were not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(
        "{path}: the API server answered {status}: tokens are reviewed instead (grant get on {JWKS_PATH} and {DISCOVERY_PATH}: see the manifests' RBAC)"
    )]
    NotServed { path: &'static str, status: u16 },
    #[error("{path}: the API server answered {status}")]
    Status { path: &'static str, status: u16 },
    #[error("{path}: {source}")]
    Call { path: &'static str, source: kube::Error },
    #[error("{path}: no answer within {READ_DEADLINE:?}")]
    Timeout { path: &'static str },
    #[error("{path}: {problem}")]
    Content { path: &'static str, problem: String },
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl SigningKeyReader {
    /// Reads into `keys`. The client must not retry.
    pub(crate) fn new(
        client: Client,
        keys: SigningKeys,
        readiness: Readiness,
        metrics: Metrics,
    ) -> SigningKeyReader {
        SigningKeyReader { client, keys, readiness, metrics }
    }

    /// Reads until the shutdown.
    ///
    /// # Errors
    /// Never.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        tokio::select! {
            () = shutdown.triggered() => Ok(()),
            never = self.read_on() => match never {},
        }
    }

    async fn read_on(&self) -> Infallible {
        let mut backoff = client::backoff();
        let (mut asked_for, mut may_be_asked) = (false, Instant::now());
        loop {
            if asked_for {
                may_be_asked = Instant::now() + MIN_INTERVAL;
            }
            let read = self.read(asked_for).await;
            self.metrics.signing_keys_read(read.is_ok());
            let pause = match read {
                Ok(()) => {
                    backoff.reset();
                    self.readiness.done(Part::SigningKeys);
                    REFRESH
                }
                Err(error) => {
                    self.keys.read_failed();
                    self.readiness.failed(Part::SigningKeys, &error.to_string());
                    match error {
                        ReadError::NotServed { .. } => NOT_SERVED_REFRESH,
                        _ => backoff.next_delay(),
                    }
                }
            };
            let wanted = async {
                self.keys.wanted().await;
                sleep_until(may_be_asked).await;
            };
            asked_for = tokio::select! {
                () = sleep(pause) => false,
                () = wanted => true,
            };
        }
    }

    /// One read. The issuer hardly ever changes: it is read the first time, and when a token asked for it.
    async fn read(&self, asked_for: bool) -> Result<(), ReadError> {
        let issuer = match asked_for || !self.keys.has_issuer() {
            true => Some(self.get::<Discovery>(DISCOVERY_PATH).await?.issuer),
            false => None,
        };
        let listed = self.get::<Jwks>(JWKS_PATH).await?.keys;
        // One by one: a key that cannot be read does not spoil the others.
        let keys: Vec<Jwk> = listed.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        if keys.is_empty() {
            return Err(ReadError::Content { path: JWKS_PATH, problem: "it lists no keys".to_owned() });
        }
        if let Some(keys) = self.keys.learn(&keys, issuer, Instant::now()) {
            tracing::info!(keys, "the API server's keys for tokens were read");
        }
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ReadError> {
        timeout(READ_DEADLINE, self.get_now(path)).await.map_err(|_| ReadError::Timeout { path })?
    }

    async fn get_now<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ReadError> {
        let content = |problem: String| ReadError::Content { path, problem };
        let request = Request::get(path).body(Body::empty()).map_err(|error| content(error.to_string()))?;
        let response = self.client.send(request).await.map_err(|source| ReadError::Call { path, source })?;
        let status = response.status().as_u16();
        match response.status() {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(ReadError::NotServed { path, status });
            }
            _ => return Err(ReadError::Status { path, status }),
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| content(error.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| content(error.to_string()))
    }
}
