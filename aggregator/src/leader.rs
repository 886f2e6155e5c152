//! Who may write, and with which epoch. A seam: one replica claims the Lease once at its start.
//!
//! The epoch is the Lease's resourceVersion at acquisition: it rises with every claim, and goes into every write, so
//! that a policy can refuse the writes of whoever was deposed. What follows the Lease and steps down is to take the
//! place of [`claim`]; everything else only reads the channel.

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::calls::{self, Pauses};
use crate::engine::Engine;
use crate::input::Input;
use crate::readiness::{Part, Readiness};

/// As in client-go's defaults, for whoever reads the Lease.
const LEASE_SECONDS: i32 = 15;

/// Claims the Lease once, trying until it works, and says the epoch in the channel.
///
/// # Errors
/// Never before the shutdown.
pub async fn claim(
    client: Client,
    namespace: String,
    identity: String,
    epoch: watch::Sender<Option<u64>>,
    readiness: Readiness,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let mut pauses = Pauses::new();
    loop {
        match take(&leases, &namespace, &identity).await {
            Ok(number) => {
                tracing::info!(epoch = number, "leading");
                readiness.done(Part::Lease);
                epoch.send_replace(Some(number));
                break;
            }
            Err(problem) => readiness.failed(Part::Lease, &format!("{problem:#}")),
        }
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = sleep(pauses.after_failure()) => {}
        }
    }
    shutdown.triggered().await;
    Ok(())
}

/// Tells the core what the channel says, from when the pause switch was read until the shutdown.
///
/// # Errors
/// If the other end of a channel is gone before the shutdown.
pub async fn tell(
    mut epoch: watch::Receiver<Option<u64>>,
    mut switch_read: watch::Receiver<bool>,
    engine: Engine,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = shutdown.triggered() => return Ok(()),
        read = switch_read.wait_for(|read| *read) => { read.context("nobody watches the pause switch any more")?; }
    }
    loop {
        let now = *epoch.borrow_and_update();
        engine.submit(Input::Leading(now));
        tokio::select! {
            biased;
            () = shutdown.triggered() => return Ok(()),
            changed = epoch.changed() => changed.context("nobody follows the Lease any more")?,
        }
    }
}

async fn take(leases: &Api<Lease>, namespace: &str, identity: &str) -> anyhow::Result<u64> {
    let name = keys::AGGREGATOR;
    let mut lease = calls::read(leases.get(name)).await.map_err(|error| {
        let hint = error.is_missing().then(|| "apply the manifests, which hold it".to_owned());
        error.into_anyhow(format!("cannot read the Lease {namespace}/{name}"), hint)
    })?;
    let spec = lease.spec.get_or_insert_default();
    hold(spec, identity, Timestamp::now());
    let written = calls::write(leases.replace(name, &PostParams::default(), &lease))
        .await
        .map_err(|error| error.into_anyhow(format!("cannot write the Lease {namespace}/{name}"), None))?;
    let version = written.metadata.resource_version.unwrap_or_default();
    match version.parse() {
        Ok(epoch) => Ok(epoch),
        Err(_) => {
            bail!("the Lease {namespace}/{name} has the resourceVersion {version:?}, which is no number")
        }
    }
}

fn hold(spec: &mut LeaseSpec, identity: &str, now: Timestamp) {
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(LEASE_SECONDS);
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
}
