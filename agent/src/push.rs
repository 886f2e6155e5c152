//! Delivery: every replica of the aggregator gets our reports, over one keep-alive connection each.
//!
//! ```text
//!   resolver (30 s, or after a failed connection) -> one Courier per address
//!   Courier: wait (heartbeat 10 s | urgent pods) -> build the newest report -> POST -> apply the roster
//! ```
//!
//! One request in flight, nothing queues: a report is built when it can be sent, so a partition of any length costs no
//! memory and ends with one full report. A standby gets the same, so that it is always warm.
//!
//! Our token goes only to a peer whose certificate was verified. Proof: `tests/suite/delivery.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use plimsoll_process::shutdown::Shutdown;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Delivery;
use crate::metrics::Metrics;
use crate::sweep::Shared;

mod connection;
mod courier;
mod trust;

use courier::Courier;

/// The addresses of the aggregator are looked up again after so long.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// Two look-ups are at least so far apart, however many connections fail.
const RESOLVE_APART: Duration = Duration::from_secs(1);
/// A look-up may take so long.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most replicas that are served; a name with more addresses is not the aggregator's headless Service.
const MOST_REPLICAS: usize = 8;

/// Delivers until the shutdown.
///
/// # Errors
/// A courier that panicked. What merely fails is retried, counted and, when it changes, logged.
pub async fn run(
    delivery: Delivery,
    shared: Arc<Shared>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let delivery = Arc::new(delivery);
    let mut couriers = Couriers {
        delivery: delivery.clone(),
        shared,
        metrics,
        running: BTreeMap::new(),
        set: JoinSet::new(),
    };
    let (failed, mut failures) = mpsc::channel::<()>(1);
    let mut resolves = true;
    let deliver = async {
        loop {
            let resolved = resolve(&delivery).await;
            let before = std::mem::replace(&mut resolves, resolved.is_ok());
            note_resolved(&delivery.host, before, resolved.as_ref());
            if let Ok(addresses) = resolved {
                couriers.serve(&addresses, &failed, &shutdown);
            }
            tokio::select! {
                () = sleep(RESOLVE_EVERY) => {}
                Some(()) = failures.recv() => sleep(RESOLVE_APART).await,
                Some(ended) = couriers.set.join_next() => ended.context("a courier ended by itself")?,
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = shutdown.triggered() => Ok(()),
        ended = deliver => ended,
    };
    couriers.set.shutdown().await;
    ended
}

fn note_resolved(host: &str, before: bool, resolved: Result<&Vec<SocketAddr>, &String>) {
    match resolved {
        Ok(addresses) if !before => {
            tracing::info!(host, addresses = addresses.len(), "the aggregator's name resolves again");
        }
        Err(problem) if before => tracing::warn!(
            host,
            problem,
            "the aggregator's name does not resolve, trying on (cure: check --aggregator, its Service and the cluster's DNS)"
        ),
        _ => {}
    }
}

/// The couriers under way, by the address they serve.
struct Couriers {
    delivery: Arc<Delivery>,
    shared: Arc<Shared>,
    metrics: Metrics,
    running: BTreeMap<SocketAddr, Shutdown>,
    set: JoinSet<()>,
}

impl Couriers {
    /// Starts a courier for each new address, and stops those whose address is gone.
    fn serve(&mut self, addresses: &[SocketAddr], failed: &mpsc::Sender<()>, shutdown: &Shutdown) {
        self.running.retain(|address, stop| {
            let stays = addresses.contains(address);
            if !stays {
                stop.trigger();
            }
            stays
        });
        for address in addresses {
            if self.running.contains_key(address) {
                continue;
            }
            let stop = shutdown.child();
            self.running.insert(*address, stop.clone());
            let courier =
                Courier::new(*address, self.delivery.clone(), self.shared.clone(), self.metrics.clone());
            self.set.spawn(courier.run(failed.clone(), stop));
        }
    }
}

async fn resolve(delivery: &Delivery) -> Result<Vec<SocketAddr>, String> {
    let looked_up = timeout(RESOLVE_TIMEOUT, lookup_host((delivery.host.as_str(), delivery.port))).await;
    let addresses =
        looked_up.map_err(|_| "the look-up took too long".to_owned())?.map_err(|e| e.to_string())?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_REPLICAS);
    match addresses.is_empty() {
        true => Err("the name has no address".into()),
        false => Ok(addresses),
    }
}
