//! Permits for connections, requests and TLS handshakes: in total and by address.
//!
//! A full port is not closed to new peers: the connection that matters least makes room (see [`table`]). So peers that
//! connect and say nothing, in whatever number, keep nobody out.

mod queue;
mod table;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

pub(super) use self::table::ConnectionId;
use self::table::Table;
use super::Limits;
use crate::metrics::{HttpMetrics, Rejection};

/// Hands out the permits of one port. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Consistent between two statements, so a poisoned lock is usable.
    state: Mutex<State>,
    handshakes: Arc<Semaphore>,
    max_handshakes_per_address: usize,
    metrics: HttpMetrics,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// What ends a connection.
    tasks: HashMap<ConnectionId, AbortHandle>,
    /// Handshake turns by address. There only while the address has connections.
    handshakes: HashMap<IpAddr, Arc<Semaphore>>,
}

/// The right to one connection, returned when dropped, also by a panic.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: ConnectionLimiter,
    id: ConnectionId,
    address: IpAddr,
}

/// The right to one request: held until its response is sent.
#[derive(Debug)]
pub(super) struct RequestPermit {
    limiter: ConnectionLimiter,
    id: ConnectionId,
}

/// A turn of a handshake.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    _of_address: OwnedSemaphorePermit,
    _of_port: OwnedSemaphorePermit,
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

impl ConnectionLimiter {
    pub(super) fn new(limits: &Limits, metrics: &HttpMetrics) -> Self {
        let table = Table::new(limits);
        Self(Arc::new(Shared {
            state: Mutex::new(State { table, tasks: HashMap::new(), handshakes: HashMap::new() }),
            handshakes: semaphore(limits.max_handshakes),
            max_handshakes_per_address: limits.max_handshakes_per_address,
            metrics: metrics.clone(),
        }))
    }

    /// A permit for a connection from `address`. On a full port another connection is closed for it.
    ///
    /// # Errors
    /// If every connection that could make room is about to be answered.
    pub(super) fn acquire(&self, address: IpAddr) -> Result<ConnectionPermit, Rejection> {
        let mut state = self.lock();
        let admitted = state.table.admit(address)?;
        if let Some((closed, reason)) = admitted.closed {
            self.close(&mut state, closed, reason);
        }
        self.count(&state);
        Ok(ConnectionPermit { limiter: self.clone(), id: admitted.id, address })
    }

    /// Names the task that serves a connection, so that it can be ended to make room. To be called before the next
    /// connection is admitted.
    pub(super) fn set_task(&self, id: ConnectionId, task: AbortHandle) {
        let mut state = self.lock();
        // It may have ended already.
        if state.table.contains(id) {
            state.tasks.insert(id, task);
        }
    }

    fn close(&self, state: &mut State, id: ConnectionId, reason: Rejection) {
        self.0.metrics.rejected(reason).inc();
        if let Some(task) = state.tasks.remove(&id) {
            task.abort();
        }
    }

    fn count(&self, state: &State) {
        self.0.metrics.open().set(i64::try_from(state.table.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The first byte is here.
    pub(super) fn spoke(&self) {
        self.limiter.lock().table.spoke(self.id);
    }

    /// A permit for a request whose head is complete.
    ///
    /// # Errors
    /// If too many are in flight, and none of them is only being sent.
    pub(super) fn begin_request(&self) -> Result<RequestPermit, Rejection> {
        let mut state = self.limiter.lock();
        if let Some(closed) = state.table.begin_request(self.id)? {
            self.limiter.close(&mut state, closed, Rejection::Requests);
            self.limiter.count(&state);
        }
        Ok(RequestPermit { limiter: self.limiter.clone(), id: self.id })
    }

    /// A turn for a handshake, as soon as there is one.
    pub(super) async fn handshake_turn(&self) -> Option<HandshakePermit> {
        let shared = &self.limiter.0;
        let of_address = {
            let mut state = self.limiter.lock();
            let turns = state.handshakes.entry(self.address);
            Arc::clone(turns.or_insert_with(|| semaphore(shared.max_handshakes_per_address)))
        };
        // The address first: a peer that waits for its own address takes nothing from the others.
        let of_address = of_address.acquire_owned().await.ok()?;
        let of_port = Arc::clone(&shared.handshakes).acquire_owned().await.ok()?;
        Some(HandshakePermit { _of_address: of_address, _of_port: of_port })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.table.end(self.id);
        state.tasks.remove(&self.id);
        if !state.table.has_address(self.address) {
            state.handshakes.remove(&self.address);
        }
        self.limiter.count(&state);
    }
}

impl RequestPermit {
    /// The head of the response is there. A success makes the connection worth more than those without one.
    pub(super) fn answered(&self, status: StatusCode) {
        let success = status.is_success() || status.is_redirection();
        self.limiter.lock().table.send_response(self.id, success);
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.limiter.lock().table.end_request(self.id);
    }
}

#[cfg(test)]
mod tests;
