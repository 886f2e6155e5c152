//! Who may come in: a count of open connections, in total and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::metrics::{HttpMetrics, Refusal};

/// Peers that are being told 503 at once. Beyond these, telling costs more than it is worth: they are just closed.
const MAX_FAREWELLS: usize = 32;

type ByAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Hands out places.
#[derive(Debug)]
pub(super) struct Door {
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    per_address: Option<usize>,
    by_address: ByAddress,
    open: IntGauge,
}

/// A place inside, given back when dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressPlace>,
    open: IntGauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

#[derive(Debug)]
struct AddressPlace {
    address: IpAddr,
    by_address: ByAddress,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = lock(&self.by_address);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Door {
    pub(super) fn new(limits: &Limits, metrics: &HttpMetrics) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            farewells: Arc::new(Semaphore::new(MAX_FAREWELLS)),
            per_address: limits.max_connections_per_ip,
            by_address: ByAddress::default(),
            open: metrics.open().clone(),
        }
    }

    /// A place for a peer, or why there is none.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Place, Refusal> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Full)?;
        let of_address = self.per_address.map(|max| self.enter_address(address, max)).transpose()?;
        self.open.inc();
        Ok(Place { _permit: permit, _address: of_address, open: self.open.clone() })
    }

    /// The right to be told that there is no place.
    pub(super) fn farewell(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.farewells).try_acquire_owned().ok()
    }

    fn enter_address(&self, address: IpAddr, max: usize) -> Result<AddressPlace, Refusal> {
        let mut counts = lock(&self.by_address);
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= max {
            return Err(Refusal::Address);
        }
        counts.insert(address, count + 1);
        Ok(AddressPlace { address, by_address: Arc::clone(&self.by_address) })
    }
}

/// The counts are whole between two statements, so a panic elsewhere does not spoil them.
fn lock(by_address: &ByAddress) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    by_address.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Door;
    use crate::http::Limits;
    use crate::metrics::{HttpMetrics, Refusal};
    use prometheus::Registry;
    use std::net::{IpAddr, Ipv4Addr};

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn door(max_connections: usize, max_connections_per_ip: Option<usize>) -> (Door, HttpMetrics) {
        let metrics = HttpMetrics::register(&Registry::new(), "test").unwrap();
        let limits = Limits { max_connections, max_connections_per_ip, ..Limits::default() };
        (Door::new(&limits, &metrics), metrics)
    }

    #[test]
    fn a_place_that_is_left_can_be_taken_again() {
        let (door, metrics) = door(1, None);
        let place = door.enter(A).unwrap();
        assert_eq!(door.enter(B).unwrap_err(), Refusal::Full);
        assert_eq!(metrics.open().get(), 1);
        drop(place);
        assert_eq!(metrics.open().get(), 0);
        assert!(door.enter(B).is_ok());
    }

    #[test]
    fn one_address_cannot_take_the_places_of_the_others() {
        let (door, _) = door(10, Some(2));
        let places = (door.enter(A).unwrap(), door.enter(A).unwrap());
        assert_eq!(door.enter(A).unwrap_err(), Refusal::Address);
        assert!(door.enter(B).is_ok());
        drop(places);
        assert!(door.enter(A).is_ok());
        assert!(super::lock(&door.by_address).is_empty(), "addresses that left are forgotten");
        assert_eq!(door.places.available_permits(), 10, "a refusal by address gives its permit back");
    }
}
