//! Who may write, and with which epoch: one replica claims the Lease once, at its start.
//!
//! The epoch is the Lease's resourceVersion at acquisition: it rises with every claim and goes into every write, so that a policy can
//! reject the writes of a former leader. It is in a channel that the writer checks again when it sends.

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::sleep;

use super::client::{self, backoff};
use crate::engine::Engine;
use crate::input::Input;
use crate::readiness::{Part, Readiness};

/// As in client-go's defaults, for other readers of the Lease.
const LEASE_SECONDS: i32 = 15;

/// Claims the Lease once, trying until it succeeds, and tells the core and the channel the epoch.
///
/// # Errors
/// Never before the shutdown.
pub(crate) async fn claim(
    client: Client,
    namespace: String,
    identity: String,
    epoch: watch::Sender<Option<u64>>,
    engine: Engine,
    readiness: Readiness,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let mut backoff = backoff();
    loop {
        match acquire(&leases, &namespace, &identity).await {
            Ok(acquired) => {
                tracing::info!(epoch = acquired, "leading");
                readiness.done(Part::Lease);
                epoch.send_replace(Some(acquired));
                engine.submit(Input::Leading(Some(acquired)));
                shutdown.triggered().await;
                return Ok(());
            }
            Err(problem) => readiness.failed(Part::Lease, &format!("{problem:#}")),
        }
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = sleep(backoff.next_delay()) => {}
        }
    }
}

async fn acquire(leases: &Api<Lease>, namespace: &str, identity: &str) -> anyhow::Result<u64> {
    let name = keys::AGGREGATOR;
    let mut lease = client::read(leases.get(name)).await.map_err(|error| {
        let hint = error.is_missing().then(|| "apply the manifests, which hold it".to_owned());
        error.into_anyhow(format!("cannot read the Lease {namespace}/{name}"), hint)
    })?;
    let spec = lease.spec.get_or_insert_default();
    set_holder(spec, identity, Timestamp::now());
    let written = client::write(leases.replace(name, &PostParams::default(), &lease))
        .await
        .map_err(|error| error.into_anyhow(format!("cannot write the Lease {namespace}/{name}"), None))?;
    let version = written.metadata.resource_version.unwrap_or_default();
    match version.parse() {
        Ok(epoch) => Ok(epoch),
        Err(_) => {
            bail!("the Lease {namespace}/{name} has the resourceVersion {version:?}, which is not a number")
        }
    }
}

fn set_holder(spec: &mut LeaseSpec, identity: &str, now: Timestamp) {
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(LEASE_SECONDS);
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
}
