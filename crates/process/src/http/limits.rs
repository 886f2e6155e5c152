//! Bounds on what a peer may use.

use std::time::Duration;

const KIB: usize = 1024;

/// The limits of one port. Start from [`Limits::default`], [`Limits::reports`] or [`Limits::probes`] and change what
/// differs.
///
/// Those per address have room for many clients behind one address: a proxy, a port-forward, a node that translates the
/// addresses of its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. One more closes the one that matters least. A silent one costs little, and many of them leave a
    /// new one more time to say something before it is the oldest.
    pub max_connections: usize,
    /// Open connections from one address. One more closes the one of that address that matters least.
    pub max_connections_per_address: usize,
    /// Requests in flight, from the head of the request to the end of the response. One more closes the connection whose
    /// response is being sent for the longest time; where none is, it is answered 503.
    pub max_requests: usize,
    /// The same for the requests from one address.
    pub max_requests_per_address: usize,
    /// TLS handshakes that have a turn; further ones wait, in order. Only a complete `ClientHello` can get a turn.
    pub max_handshakes: usize,
    /// The same for the handshakes with one address.
    pub max_handshakes_per_address: usize,
    /// From the accept to the first byte.
    pub silence_timeout: Duration,
    /// From the first byte to the end of the TLS handshake, the wait for a turn included.
    pub handshake_timeout: Duration,
    /// How long a handshake keeps its turn. After that it may go on without one: a busy node is slow, not hostile.
    pub handshake_turn: Duration,
    /// From the first byte, or from the previous response, to the end of the next request's head. So it is also the idle
    /// timeout of a keep-alive connection.
    pub header_timeout: Duration,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of a request's head, and of the read buffer. At least 8 KiB are used, because hyper needs them.
    pub max_head_bytes: usize,
    /// Bytes of a request's body, enforced by [`read_body`](super::read_body).
    pub max_body_bytes: usize,
    /// From the first to the last byte of a body, enforced by [`read_body`](super::read_body).
    pub body_timeout: Duration,
    /// From the head of a request to the head of its response, reading the body included; then the client gets a 503 and
    /// the handler is dropped. The body of the *response* is not covered: a stream may run for hours.
    pub request_timeout: Duration,
    /// How long a peer may read nothing of a response before its connection is closed.
    pub stall_timeout: Duration,
    /// Whether a connection may carry more than one request.
    pub keep_alive: bool,
    /// Age after which a connection ends with its current response, so that peers spread over replicas again and see new
    /// certificates. Up to a quarter is added by peer, so that they do not all reconnect at once.
    pub max_age: Duration,
    /// How long requests in flight may take once the shutdown is triggered. Must be shorter than the grace period of
    /// [`Tasks::join`](crate::tasks::Tasks::join).
    pub drain_grace: Duration,
}

impl Default for Limits {
    /// For a port that only answers GET requests of scrapers and people.
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_connections_per_address: 384,
            max_requests: 32,
            max_requests_per_address: 16,
            max_handshakes: 32,
            max_handshakes_per_address: 16,
            silence_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            handshake_turn: Duration::from_secs(1),
            header_timeout: Duration::from_secs(5),
            max_headers: 64,
            max_head_bytes: 16 * KIB,
            max_body_bytes: 0,
            body_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            keep_alive: true,
            max_age: Duration::from_secs(600),
            drain_grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// For the port that every node reports to: 6000 connections that may be idle for 45 s (each carries a report every
    /// 10 s) and bodies of 2 MiB.
    pub fn reports() -> Self {
        Self {
            max_connections: 6000,
            max_connections_per_address: 1024,
            max_requests: 2048,
            max_requests_per_address: 256,
            max_handshakes: 256,
            max_handshakes_per_address: 128,
            header_timeout: Duration::from_secs(45),
            max_headers: 32,
            max_body_bytes: 2048 * KIB,
            ..Self::default()
        }
    }

    /// For the probes of the kubelet: a connection per probe, as the kubelet makes them, so that none is idle.
    pub fn probes() -> Self {
        Self {
            max_requests: 16,
            max_requests_per_address: 8,
            max_headers: 32,
            keep_alive: false,
            ..Self::default()
        }
    }
}
