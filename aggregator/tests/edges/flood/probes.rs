//! The kubelet, which probes more often than it does in a cluster.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::wire;

/// The time within which a probe must be answered.
const DEADLINE: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_millis(250);

/// What became of the probes.
#[derive(Debug, Default)]
pub(super) struct Probed {
    pub(super) count: usize,
    pub(super) slowest: Duration,
    pub(super) failed: Vec<String>,
}

/// Probes `/livez` and `/readyz`, on a connection for each, until then.
pub(super) async fn probe_until(address: SocketAddr, end: Instant) -> Probed {
    let mut probed = Probed::default();
    while Instant::now() < end {
        for path in ["/livez", "/readyz"] {
            let start = Instant::now();
            let reply = timeout(DEADLINE, wire::try_plain(address, path)).await;
            match reply {
                Ok(Some(reply)) if reply.code == 200 => {}
                Ok(Some(reply)) => probed.failed.push(format!("{path}: {} {}", reply.code, reply.text)),
                Ok(None) => probed.failed.push(format!("{path}: no connection")),
                Err(_elapsed) => probed.failed.push(format!("{path}: no answer")),
            }
            probed.slowest = probed.slowest.max(start.elapsed());
            probed.count += 1;
        }
        sleep(PERIOD).await;
    }
    probed
}
