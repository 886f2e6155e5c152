//! Which connections are open, what each of them is doing, and which one makes room for another. Pure.
//!
//! In the order in which they make room ([`Stage`]): those that said nothing; those without an answer that was a
//! success, such as a handshake, or a client whose token is rejected; those that are idle; those that are being sent a
//! response. One whose request is being worked on never makes room. Within a stage it is the oldest, of the address
//! that is at its cap or else of the address with the most of that stage.

use std::collections::HashMap;
use std::net::IpAddr;

use super::queue::{Age, Queue};
use crate::http::Limits;
use crate::metrics::Rejection;

/// Numbers of connections, in the order of their accepts.
pub(in crate::http) type ConnectionId = u64;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was received yet.
    Silent,
    /// Something was received, and no request was answered with success.
    Unproven,
    /// A request was answered with success, and none is in flight.
    Idle,
    /// A response is being sent.
    Sending,
    /// A request is being worked on.
    Busy,
}

impl Stage {
    const CLOSABLE: [Stage; 4] = [Stage::Silent, Stage::Unproven, Stage::Idle, Stage::Sending];

    fn is_in_flight(self) -> bool {
        matches!(self, Stage::Sending | Stage::Busy)
    }
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    stage: Stage,
    /// Since when it counts in its stage. One that was never answered with success has the age of its accept, so that it
    /// does not become young by talking.
    since: Age,
    proven: bool,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    requests: usize,
}

/// An accepted connection, and the one that was closed for it, with the cap that was reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) id: ConnectionId,
    pub(super) closed: Option<(ConnectionId, Rejection)>,
}

#[derive(Debug)]
pub(super) struct Table {
    max_connections: usize,
    max_connections_per_address: usize,
    max_requests: usize,
    max_requests_per_address: usize,
    connections: HashMap<ConnectionId, Connection>,
    addresses: HashMap<IpAddr, Counts>,
    requests: usize,
    /// By [`Stage::CLOSABLE`].
    queues: [Queue<ConnectionId>; Stage::CLOSABLE.len()],
    next_age: Age,
}

impl Table {
    pub(super) fn new(limits: &Limits) -> Table {
        Table {
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            max_requests: limits.max_requests,
            max_requests_per_address: limits.max_requests_per_address,
            connections: HashMap::new(),
            addresses: HashMap::new(),
            requests: 0,
            queues: Default::default(),
            next_age: 0,
        }
    }

    /// Open connections.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// Adds a connection from `address`; on a full port in place of another.
    ///
    /// # Errors
    /// The cap that is reached, if nothing can make room.
    pub(super) fn admit(&mut self, address: IpAddr) -> Result<Admitted, Rejection> {
        let of_address = self.addresses.get(&address).map_or(0, |counts| counts.connections);
        let full = if of_address >= self.max_connections_per_address {
            Some((Rejection::Address, Some(address)))
        } else if self.connections.len() >= self.max_connections {
            Some((Rejection::Full, None))
        } else {
            None
        };
        let closed = match full {
            Some((cap, scope)) => Some((self.close_one(&Stage::CLOSABLE, scope).ok_or(cap)?, cap)),
            None => None,
        };
        let id = self.age();
        let connection = Connection { address, stage: Stage::Silent, since: id, proven: false };
        self.connections.insert(id, connection);
        self.addresses.entry(address).or_default().connections += 1;
        self.queues[0].insert(address, id, id);
        Ok(Admitted { id, closed })
    }

    /// Something was received.
    pub(super) fn spoke(&mut self, id: ConnectionId) {
        self.enter(id, Stage::Unproven);
    }

    /// The head of a request is complete. Returns the connection that was closed for it.
    ///
    /// # Errors
    /// If too many are in flight, and none of them is only being sent.
    pub(super) fn begin_request(&mut self, id: ConnectionId) -> Result<Option<ConnectionId>, Rejection> {
        // One that was closed in this moment is about to be dropped with its request.
        let Some(address) = self.connections.get(&id).map(|connection| connection.address) else {
            return Err(Rejection::Requests);
        };
        let of_address = self.addresses.get(&address).map_or(0, |counts| counts.requests);
        let closed = if of_address >= self.max_requests_per_address {
            Some(self.close_one(&[Stage::Sending], Some(address)).ok_or(Rejection::Requests)?)
        } else if self.requests >= self.max_requests {
            Some(self.close_one(&[Stage::Sending], None).ok_or(Rejection::Requests)?)
        } else {
            None
        };
        self.enter(id, Stage::Busy);
        Ok(closed)
    }

    /// The head of a response is there.
    pub(super) fn send_response(&mut self, id: ConnectionId, success: bool) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.proven |= success;
            self.enter(id, Stage::Sending);
        }
    }

    /// The response is sent, or there will be none.
    pub(super) fn end_request(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id) {
            let next = if connection.proven { Stage::Idle } else { Stage::Unproven };
            self.enter(id, next);
        }
    }

    /// Removes a connection, if it is still there.
    pub(super) fn end(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.leave(&connection);
        if let Some(counts) = self.addresses.get_mut(&connection.address) {
            counts.connections -= 1;
            if counts.connections == 0 {
                self.addresses.remove(&connection.address);
            }
        }
    }

    /// Removes the connection that matters least, of those in some stages, and of an address or of all.
    fn close_one(&mut self, stages: &[Stage], address: Option<IpAddr>) -> Option<ConnectionId> {
        let id = stages.iter().find_map(|stage| {
            let queue = self.queues.get(*stage as usize)?;
            address.map_or_else(|| queue.oldest_of_most(), |address| queue.oldest_of(address))
        })?;
        self.end(id);
        Some(id)
    }

    fn enter(&mut self, id: ConnectionId, stage: Stage) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.leave(&connection);
        connection.stage = stage;
        connection.since = if connection.proven { self.age() } else { id };
        let address = connection.address;
        if let Some(queue) = self.queues.get_mut(stage as usize) {
            queue.insert(address, connection.since, id);
        }
        if stage.is_in_flight() {
            self.requests += 1;
            self.addresses.entry(address).or_default().requests += 1;
        }
        self.connections.insert(id, connection);
    }

    /// Takes a connection out of the counts and the queue of its stage.
    fn leave(&mut self, connection: &Connection) {
        let Connection { address, stage, since, .. } = *connection;
        if let Some(queue) = self.queues.get_mut(stage as usize) {
            queue.remove(address, since);
        }
        if stage.is_in_flight() {
            self.requests -= 1;
            if let Some(counts) = self.addresses.get_mut(&address) {
                counts.requests -= 1;
            }
        }
    }

    fn age(&mut self) -> Age {
        self.next_age += 1;
        self.next_age
    }
}

#[cfg(test)]
mod tests;
