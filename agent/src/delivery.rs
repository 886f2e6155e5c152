//! Delivery: every replica of the aggregator gets the reports, over one keep-alive connection each.
//!
//! ```text
//!   DNS lookup (every 30 s, or after a failed connection) -> one ReplicaClient per address
//!   ReplicaClient: wait (heartbeat 10 s | urgent pods) -> build the newest report -> POST -> apply the roster
//! ```
//!
//! One request is in flight and nothing is queued: a report is built when it can be sent, so an outage of any length costs no
//! memory and ends with one full report. A standby gets the same reports, so that its state is always current.
//!
//! The token is sent only to a peer whose certificate was verified. Proof: `tests/suite/delivery.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use plimsoll_process::shutdown::Shutdown;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::config::Delivery;
use crate::metrics::Metrics;
use crate::shared::Shared;

mod connection;
mod credentials;
mod replica_client;

use replica_client::ReplicaClient;

/// Interval of the DNS lookups.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest interval of the DNS lookups, however many connections fail.
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// A name with more addresses than this is not the aggregator's headless Service.
const MAX_REPLICAS: usize = 8;

/// Delivers until the shutdown.
///
/// # Errors
/// A client that panicked. What merely fails is retried, counted and, when it changes, logged.
pub(crate) async fn run(
    delivery: Delivery,
    shared: Arc<Shared>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let delivery = Arc::new(delivery);
    let mut running: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
    let mut clients = JoinSet::new();
    let (failed, mut failures) = mpsc::channel::<()>(1);
    let mut resolves = true;
    let deliver = async {
        loop {
            let resolved = resolve(&delivery).await;
            let before = std::mem::replace(&mut resolves, resolved.is_ok());
            log_lookup(&delivery.host, before, resolved.as_ref());
            if let Ok(addresses) = resolved {
                running.retain(|address, client| {
                    let remains = addresses.contains(address);
                    if !remains {
                        client.abort();
                    }
                    remains
                });
                for address in addresses {
                    running.entry(address).or_insert_with(|| {
                        let client =
                            ReplicaClient::new(address, delivery.clone(), shared.clone(), metrics.clone());
                        clients.spawn(client.run(failed.clone()))
                    });
                }
            }
            tokio::select! {
                () = sleep(LOOKUP_INTERVAL) => {}
                Some(()) = failures.recv() => sleep(MIN_LOOKUP_INTERVAL).await,
                Some(ended) = clients.join_next() => match ended {
                    Err(error) if error.is_panic() => return Err(error).context("a replica client panicked"),
                    // aborted, because its address is gone
                    _ => {}
                },
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = shutdown.triggered() => Ok(()),
        ended = deliver => ended,
    };
    clients.shutdown().await;
    ended
}

fn log_lookup(host: &str, before: bool, resolved: Result<&Vec<SocketAddr>, &String>) {
    match resolved {
        Ok(addresses) if !before => {
            tracing::info!(host, addresses = addresses.len(), "the aggregator's name resolves again");
        }
        Err(problem) if before => tracing::warn!(
            host,
            problem,
            "the aggregator's name does not resolve; retrying (check --aggregator, its Service and the cluster's DNS)"
        ),
        _ => {}
    }
}

async fn resolve(delivery: &Delivery) -> Result<Vec<SocketAddr>, String> {
    let lookup = timeout(LOOKUP_TIMEOUT, lookup_host((delivery.host.as_str(), delivery.port))).await;
    let addresses = lookup.map_err(|_| "the lookup timed out".to_owned())?.map_err(|e| e.to_string())?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_REPLICAS);
    match addresses.is_empty() {
        true => Err("the name has no address".into()),
        false => Ok(addresses),
    }
}
