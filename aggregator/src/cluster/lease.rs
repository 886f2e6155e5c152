//! Who may write, and with which epoch: one replica claims the Lease once, at its start.
//!
//! The epoch is the Lease's resourceVersion at acquisition: it rises with every claim and goes into every write, so that a policy can
//! reject the writes of a former leader. It is in a channel that the writer checks again when it sends. Another channel says, for
//! people, who holds the Lease.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
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

/// Who holds the Lease, as this replica last read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    identity: String,
    until: Timestamp,
}

/// What others learn of the Lease.
#[derive(Debug)]
pub(crate) struct Channels {
    /// The epoch of this replica, while it leads.
    pub(crate) epoch: watch::Sender<Option<u64>>,
    /// Who holds the Lease.
    pub(crate) holder: watch::Sender<Option<Holder>>,
}

impl Holder {
    fn of(spec: &LeaseSpec) -> Option<Holder> {
        let identity = spec.holder_identity.clone().filter(|identity| !identity.is_empty())?;
        let lasts = SignedDuration::from_secs(spec.lease_duration_seconds?.into());
        Some(Holder { identity, until: spec.renew_time.as_ref()?.0.checked_add(lasts).ok()? })
    }

    /// Its name, unless the Lease has expired.
    pub(crate) fn at(&self, now: Timestamp) -> Option<&str> {
        (now < self.until).then_some(self.identity.as_str())
    }

    /// Its name, if the Lease has expired.
    pub(crate) fn expired_at(&self, now: Timestamp) -> Option<&str> {
        (now >= self.until).then_some(self.identity.as_str())
    }
}

/// Claims the Lease once, trying until it succeeds, and tells the core and the channels.
///
/// # Errors
/// Never before the shutdown.
pub(crate) async fn claim(
    client: Client,
    namespace: String,
    identity: String,
    channels: Channels,
    engine: Engine,
    readiness: Readiness,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let mut backoff = backoff();
    loop {
        match acquire(&leases, &namespace, &identity, &channels.holder).await {
            Ok(acquired) => {
                tracing::info!(epoch = acquired, "leading");
                readiness.done(Part::Lease);
                channels.epoch.send_replace(Some(acquired));
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

async fn acquire(
    leases: &Api<Lease>,
    namespace: &str,
    identity: &str,
    holder: &watch::Sender<Option<Holder>>,
) -> anyhow::Result<u64> {
    let name = keys::AGGREGATOR;
    let mut lease = client::read(leases.get(name)).await.map_err(|error| {
        let hint = error.is_missing().then(|| "apply the manifests, which hold it".to_owned());
        error.into_anyhow(format!("cannot read the Lease {namespace}/{name}"), hint)
    })?;
    let spec = lease.spec.get_or_insert_default();
    holder.send_replace(Holder::of(spec));
    set_holder(spec, identity, Timestamp::now());
    let written = client::write(leases.replace(name, &PostParams::default(), &lease))
        .await
        .map_err(|error| error.into_anyhow(format!("cannot write the Lease {namespace}/{name}"), None))?;
    holder.send_replace(written.spec.as_ref().and_then(Holder::of));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_holds_the_lease_until_it_expires() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        let mut spec = LeaseSpec::default();
        assert_eq!(Holder::of(&spec), None);
        set_holder(&mut spec, "a", now);
        let holder = Holder::of(&spec).unwrap();
        assert_eq!((holder.at(after(14)), holder.at(after(15))), (Some("a"), None));
        assert_eq!((holder.expired_at(after(14)), holder.expired_at(after(15))), (None, Some("a")));
        spec.holder_identity = Some(String::new());
        assert_eq!(Holder::of(&spec), None, "released");
    }
}
