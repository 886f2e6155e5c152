//! Limits the number of open connections, in total and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::metrics::{HttpMetrics, Rejection};

/// Connections that are being answered 503 at once. Beyond these, an answer costs more than it is worth: further
/// connections are closed without one.
const MAX_REJECTING: usize = 32;

/// Open connections by address. The count is consistent between two statements, so a poisoned lock is usable.
type ByAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Hands out permits for connections.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    connections: Arc<Semaphore>,
    rejecting: Arc<Semaphore>,
    max_per_address: Option<usize>,
    by_address: ByAddress,
    open: IntGauge,
}

/// The right to one connection, returned when dropped, also by a panic.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    by_address: ByAddress,
    open: IntGauge,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: &Limits, metrics: &HttpMetrics) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            rejecting: Arc::new(Semaphore::new(MAX_REJECTING)),
            max_per_address: limits.max_connections_per_ip,
            by_address: ByAddress::default(),
            open: metrics.open().clone(),
        }
    }

    /// A permit for a connection from `address`, or why there is none.
    pub(super) fn acquire(&self, address: IpAddr) -> Result<ConnectionPermit, Rejection> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| Rejection::Full)?;
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or(0);
        if self.max_per_address.is_some_and(|max| count >= max) {
            return Err(Rejection::Address);
        }
        counts.insert(address, count + 1);
        self.open.inc();
        let (by_address, open) = (Arc::clone(&self.by_address), self.open.clone());
        Ok(ConnectionPermit { _permit: permit, address, by_address, open })
    }

    /// The right to answer a connection without a permit with 503. `None`: close it.
    pub(super) fn reject(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.rejecting).try_acquire_owned().ok()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.dec();
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectionLimiter;
    use crate::http::Limits;
    use crate::metrics::{HttpMetrics, Rejection};
    use prometheus::Registry;
    use std::net::{IpAddr, Ipv4Addr};

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn limiter(
        max_connections: usize,
        max_connections_per_ip: Option<usize>,
    ) -> (ConnectionLimiter, HttpMetrics) {
        let metrics = HttpMetrics::register(&Registry::new(), "test").unwrap();
        let limits = Limits { max_connections, max_connections_per_ip, ..Limits::default() };
        (ConnectionLimiter::new(&limits, &metrics), metrics)
    }

    #[test]
    fn a_returned_permit_can_be_acquired_again() {
        let (limiter, metrics) = limiter(1, None);
        let permit = limiter.acquire(A).unwrap();
        assert_eq!(limiter.acquire(B).unwrap_err(), Rejection::Full);
        assert_eq!(metrics.open().get(), 1);
        drop(permit);
        assert_eq!(metrics.open().get(), 0);
        assert!(limiter.acquire(B).is_ok());
    }

    #[test]
    fn one_address_cannot_use_up_the_connections_of_the_others() {
        let (limiter, _) = limiter(10, Some(2));
        let permits = (limiter.acquire(A).unwrap(), limiter.acquire(A).unwrap());
        assert_eq!(limiter.acquire(A).unwrap_err(), Rejection::Address);
        assert!(limiter.acquire(B).is_ok());
        drop(permits);
        assert!(limiter.acquire(A).is_ok());
        assert!(limiter.by_address.lock().unwrap().is_empty(), "addresses without connections are forgotten");
        assert_eq!(limiter.connections.available_permits(), 10, "a rejection by address returns its permit");
    }
}
