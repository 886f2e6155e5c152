//! The certificate of the agents' port: kept in our Secret, its CA published in the agents' ConfigMap, loaded for TLS.
//!
//! It changes one Secret and one ConfigMap, both by name, both shipped empty: it never creates an object. Two replicas agree through
//! the resourceVersion of the Secret: the one whose write conflicts reads again and uses what the other wrote.
//!
//! | module | what |
//! |---|---|
//! | [`certificate`] | makes and checks a CA and a leaf |
//! | [`stored`] | the Secret's content, and the steps of a rotation |
//! | [`tls`] | the TLS configuration of the moment |
//!
//! Tests: `certs/stored/tests.rs` (every state of a rotation) and `tests/edges/certs.rs` (with an API server).

pub mod certificate;
pub mod stored;
pub mod tls;

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::time::sleep;

use self::certificate::Certificate;
use self::stored::{Next, Rotation, Stored};
use self::tls::TlsConfig;
use crate::cluster::client::{self, backoff};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};

/// Key of the bundle in the ConfigMap: the file name that the agents read.
pub const CA_KEY: &str = "ca.crt";
/// How often the Secret is read: a change by the other replica is loaded within this time.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);
/// Conflicts in a row before the write counts as failed.
const MAX_CONFLICTS: usize = 5;

/// Keeps the certificate valid and loaded.
#[derive(Debug)]
pub(crate) struct CertificateKeeper {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    namespace: String,
    agent_namespace: String,
    names: Vec<String>,
    tls: TlsConfig,
    readiness: Readiness,
    metrics: Metrics,
    loaded: Option<Certificate>,
}

impl CertificateKeeper {
    /// For the Secret and the ConfigMap that `config` names.
    pub(crate) fn new(
        client: &Client,
        config: &Config,
        tls: TlsConfig,
        readiness: Readiness,
        metrics: Metrics,
    ) -> CertificateKeeper {
        CertificateKeeper {
            secrets: Api::namespaced(client.clone(), &config.namespace),
            config_maps: Api::namespaced(client.clone(), &config.agents.namespace),
            namespace: config.namespace.clone(),
            agent_namespace: config.agents.namespace.clone(),
            names: config.dns_names.clone(),
            tls,
            readiness,
            metrics,
            loaded: None,
        }
    }

    /// Reconciles until the shutdown. Failures are logged once, and shown by `/readyz` while they last.
    ///
    /// # Errors
    /// Never.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut backoff = backoff();
        loop {
            let next = match self.reconcile(Timestamp::now()).await {
                Ok(()) => {
                    backoff.reset();
                    self.readiness.recovered(Part::Certificate);
                    RECONCILE_EVERY
                }
                Err(problem) => {
                    self.readiness.failed(Part::Certificate, &format!("{problem:#}"));
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = sleep(next) => {}
            }
        }
    }

    /// Brings the Secret, the ConfigMap and the TLS configuration to what they should be at `now`.
    async fn reconcile(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let stored = self.advance_secret(now).await?;
        // A replica that cannot publish serves nevertheless, for the agents that have the CA already.
        let published = self.publish(&stored.bundle()).await;
        self.load(&stored, now)?;
        published?;
        if stored.next.as_ref().is_some_and(|next| next.published.is_none()) {
            self.note_published(now).await?;
        }
        Ok(())
    }

    /// Performs the step of the rotation that is due, and returns the Secret's content; on a conflict, what the other replica wrote.
    async fn advance_secret(&self, now: Timestamp) -> anyhow::Result<Stored> {
        for _try in 0..MAX_CONFLICTS {
            let mut secret = self.read_secret().await?;
            let stored = Stored::read(secret.data.as_ref().unwrap_or(&Default::default()));
            let Some(changed) = advance(stored.clone(), &self.names, now)? else {
                return Ok(stored);
            };
            changed.write(secret.data.get_or_insert_default());
            if self.write_secret(&secret).await? {
                return Ok(changed);
            }
        }
        bail!("the Secret {}/{} changes faster than it can be written", self.namespace, keys::AGGREGATOR)
    }

    async fn note_published(&self, now: Timestamp) -> anyhow::Result<()> {
        let mut secret = self.read_secret().await?;
        let mut stored = Stored::read(secret.data.as_ref().unwrap_or(&Default::default()));
        if let Some(Next { published: published @ None, .. }) = &mut stored.next {
            *published = Some(now);
            stored.write(secret.data.get_or_insert_default());
            // On a conflict the other replica noted the same.
            let _written = self.write_secret(&secret).await?;
        }
        Ok(())
    }

    async fn read_secret(&self) -> anyhow::Result<Secret> {
        let (namespace, name) = (&self.namespace, keys::AGGREGATOR);
        client::read(self.secrets.get(name)).await.map_err(|error| {
            let hint = error.is_missing().then(|| {
                format!("apply the manifests, or `kubectl create secret generic {name} -n {namespace}`")
            });
            error.into_anyhow(format!("cannot read the Secret {namespace}/{name}"), hint)
        })
    }

    /// Writes the Secret; `false` if it changed since it was read.
    async fn write_secret(&self, secret: &Secret) -> anyhow::Result<bool> {
        let (namespace, name) = (&self.namespace, keys::AGGREGATOR);
        match client::write(self.secrets.replace(name, &PostParams::default(), secret)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error.into_anyhow(format!("cannot write the Secret {namespace}/{name}"), None)),
        }
    }

    async fn publish(&self, bundle: &str) -> anyhow::Result<()> {
        let (namespace, name) = (&self.agent_namespace, keys::CA_CONFIG_MAP);
        let what = || format!("cannot publish the CA in the ConfigMap {namespace}/{name}");
        for _try in 0..MAX_CONFLICTS {
            let mut map = client::read(self.config_maps.get(name)).await.map_err(|error| {
                let hint = error.is_missing().then(|| {
                    format!("apply the manifests, or `kubectl create configmap {name} -n {namespace}`")
                });
                error.into_anyhow(what(), hint)
            })?;
            let data = map.data.get_or_insert_default();
            if data.get(CA_KEY).is_some_and(|published| published == bundle) {
                return Ok(());
            }
            data.insert(CA_KEY.to_owned(), bundle.to_owned());
            match client::write(self.config_maps.replace(name, &PostParams::default(), &map)).await {
                Ok(_) => {
                    tracing::info!(namespace, name, "published the CA");
                    return Ok(());
                }
                // The other replica published, most likely the same bundle.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into_anyhow(what(), None)),
            }
        }
        bail!("{}: it changes faster than it can be written", what())
    }

    fn load(&mut self, stored: &Stored, now: Timestamp) -> anyhow::Result<()> {
        let current = stored.current.as_ref().context("the Secret holds no certificate")?;
        if self.loaded.as_ref() == Some(current) {
            return Ok(());
        }
        let info = current.check(now)?;
        self.tls.load(current)?;
        self.metrics.certificate(info.not_after);
        self.readiness.done(Part::Certificate);
        self.loaded = Some(current.clone());
        tracing::info!(not_after = %info.not_after, names = info.names.join(","), "certificate loaded");
        Ok(())
    }
}

/// The content that the Secret should have next, if it should change.
fn advance(stored: Stored, names: &[String], now: Timestamp) -> anyhow::Result<Option<Stored>> {
    match stored.next_rotation(names, now) {
        Rotation::Keep => Ok(None),
        Rotation::Replace(names, why) => {
            match &stored.current {
                None => tracing::info!("making the first certificate"),
                Some(_) => tracing::warn!(why, "making a new certificate in place of what the Secret holds"),
            }
            let previous_ca = stored.current.map(|old| old.ca).filter(|ca| certificate::is_one(ca));
            Ok(Some(Stored { current: Some(Certificate::make(&names, now)?), next: None, previous_ca }))
        }
        Rotation::Prepare(names) => {
            tracing::info!("making the next certificate: the current one ends soon");
            let certificate = Certificate::make(&names, now)?;
            Ok(Some(Stored { next: Some(Next { certificate, published: None }), ..stored }))
        }
        Rotation::Switch => {
            tracing::info!("switching to the next certificate");
            Ok(Some(stored.switched()))
        }
    }
}
