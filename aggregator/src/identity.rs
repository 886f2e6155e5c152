//! Who we are to the agents: keeps a certificate in our Secret, its CA in their ConfigMap, and loads it for TLS.
//!
//! May touch one Secret and one ConfigMap, both by name, both shipped empty: it never creates an object. Two replicas
//! agree through the resourceVersion of the Secret: whoever loses re-reads and takes what the winner wrote.
//!
//! Proof: `identity/stored/tests.rs` (every state of a rotation) and `tests/edges/identity.rs` (with an API server).

pub mod certificate;
pub mod stored;

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
use self::stored::{Next, Step, Stored};
use crate::calls::{self, Pauses};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};
use crate::tls::TlsSlot;

/// Key of the bundle in the ConfigMap: the file name that the agents read.
pub const CA_KEY: &str = "ca.crt";
/// How often the Secret is read: a switch by the other replica is followed within this time.
const ROUND: Duration = Duration::from_secs(30);
/// Lost races in a row before it is called a failure.
const RACES: usize = 5;

/// Keeps the certificate.
#[derive(Debug)]
pub struct Identity {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    namespace: String,
    agent_namespace: String,
    names: Vec<String>,
    slot: TlsSlot,
    readiness: Readiness,
    metrics: Metrics,
    loaded: Option<Certificate>,
}

impl Identity {
    /// For the Secret and the ConfigMap that `config` names.
    pub fn new(
        client: &Client,
        config: &Config,
        slot: TlsSlot,
        readiness: Readiness,
        metrics: Metrics,
    ) -> Identity {
        Identity {
            secrets: Api::namespaced(client.clone(), &config.namespace),
            config_maps: Api::namespaced(client.clone(), &config.agents.namespace),
            namespace: config.namespace.clone(),
            agent_namespace: config.agents.namespace.clone(),
            names: config.dns_names.clone(),
            slot,
            readiness,
            metrics,
            loaded: None,
        }
    }

    /// Goes round until the shutdown. Failures are said once, and by `/readyz` as long as they last.
    ///
    /// # Errors
    /// Never.
    pub async fn keep(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut pauses = Pauses::new();
        loop {
            let next = match self.round(Timestamp::now()).await {
                Ok(()) => {
                    pauses.reset();
                    self.readiness.fine(Part::Identity);
                    ROUND
                }
                Err(problem) => {
                    self.readiness.failed(Part::Identity, &format!("{problem:#}"));
                    pauses.after_failure()
                }
            };
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = sleep(next) => {}
            }
        }
    }

    /// One look at the Secret: brings it, the ConfigMap and the TLS port to what they should be at `now`.
    async fn round(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let stored = self.settle(now).await?;
        // A replica that cannot publish serves nevertheless: agents that have the CA already are not to suffer.
        let published = self.publish(&stored.bundle()).await;
        self.load(&stored, now)?;
        published?;
        if stored.next.as_ref().is_some_and(|next| next.published.is_none()) {
            self.note_published(now).await?;
        }
        Ok(())
    }

    /// The Secret after the step that is due, taking the other replica's word where it was faster.
    async fn settle(&self, now: Timestamp) -> anyhow::Result<Stored> {
        for _race in 0..RACES {
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
            // Lost to the other replica: it noted the same.
            let _written = self.write_secret(&secret).await?;
        }
        Ok(())
    }

    async fn read_secret(&self) -> anyhow::Result<Secret> {
        let (namespace, name) = (&self.namespace, keys::AGGREGATOR);
        calls::read(self.secrets.get(name)).await.map_err(|error| {
            let hint = error.is_missing().then(|| {
                format!("apply the manifests, or `kubectl create secret generic {name} -n {namespace}`")
            });
            error.into_anyhow(format!("cannot read the Secret {namespace}/{name}"), hint)
        })
    }

    /// Whether nobody else wrote in between.
    async fn write_secret(&self, secret: &Secret) -> anyhow::Result<bool> {
        let (namespace, name) = (&self.namespace, keys::AGGREGATOR);
        match calls::write(self.secrets.replace(name, &PostParams::default(), secret)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error.into_anyhow(format!("cannot write the Secret {namespace}/{name}"), None)),
        }
    }

    async fn publish(&self, bundle: &str) -> anyhow::Result<()> {
        let (namespace, name) = (&self.agent_namespace, keys::CA_CONFIG_MAP);
        let what = || format!("cannot publish the CA in the ConfigMap {namespace}/{name}");
        for _race in 0..RACES {
            let mut map = calls::read(self.config_maps.get(name)).await.map_err(|error| {
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
            match calls::write(self.config_maps.replace(name, &PostParams::default(), &map)).await {
                Ok(_) => {
                    tracing::info!(namespace, name, "the CA was published");
                    return Ok(());
                }
                // The other replica published, most likely the same.
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
        let facts = current.check(now)?;
        self.slot.load(current)?;
        self.metrics.certificate(facts.not_after);
        self.readiness.done(Part::Identity);
        self.loaded = Some(current.clone());
        tracing::info!(not_after = %facts.not_after, names = facts.names.join(","), "certificate loaded");
        Ok(())
    }
}

/// The content that should stand in the Secret next, if another one than now.
fn advance(stored: Stored, names: &[String], now: Timestamp) -> anyhow::Result<Option<Stored>> {
    match stored.step(names, now) {
        Step::Keep => Ok(None),
        Step::Replace(names, why) => {
            match &stored.current {
                None => tracing::info!("making the first certificate"),
                Some(_) => tracing::warn!(why, "making a new certificate in place of what the Secret holds"),
            }
            let previous_ca = stored.current.map(|old| old.ca).filter(|ca| certificate::is_one(ca));
            Ok(Some(Stored { current: Some(Certificate::make(&names, now)?), next: None, previous_ca }))
        }
        Step::Prepare(names) => {
            tracing::info!("making the next certificate: the current one ends soon");
            let certificate = Certificate::make(&names, now)?;
            Ok(Some(Stored { next: Some(Next { certificate, published: None }), ..stored }))
        }
        Step::Switch => {
            tracing::info!("switching to the next certificate");
            Ok(Some(stored.switched()))
        }
    }
}
