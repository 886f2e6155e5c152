//! Bounds on what a peer may use.

use std::time::Duration;

const KIB: usize = 1024;

/// The limits of one port. Start from [`Limits::default`] or [`Limits::reports`] and change what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. One more is accepted and answered 503 with `Retry-After`, so that a full server says so instead
    /// of hiding it in the backlog.
    pub max_connections: usize,
    /// Open connections from one address, if limited. Off by default: behind a proxy or a port-forward all peers have one
    /// address.
    pub max_connections_per_ip: Option<usize>,
    /// Concurrent TLS handshakes; further ones wait, `handshake_timeout` at most.
    pub max_handshakes: usize,
    /// From the start to the end of a TLS handshake.
    pub handshake_timeout: Duration,
    /// From the accept, or from the previous response, to the end of the next request's head. So it is also the idle
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
    /// Age after which a connection ends with its current response, so that peers spread over replicas again and see new
    /// certificates. Up to a quarter is added by peer, so that they do not all reconnect at once.
    pub max_age: Duration,
    /// How long requests in flight may take once the shutdown is triggered. Must be shorter than the grace period of
    /// [`Tasks::join`](crate::tasks::Tasks::join).
    pub drain_grace: Duration,
}

impl Default for Limits {
    /// For a port that only answers GET requests of scrapers, probes and people.
    fn default() -> Self {
        Self {
            max_connections: 128,
            max_connections_per_ip: None,
            max_handshakes: 32,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(5),
            max_headers: 64,
            max_head_bytes: 16 * KIB,
            max_body_bytes: 0,
            body_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
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
            max_handshakes: 128,
            header_timeout: Duration::from_secs(45),
            max_headers: 32,
            max_body_bytes: 2048 * KIB,
            ..Self::default()
        }
    }
}
