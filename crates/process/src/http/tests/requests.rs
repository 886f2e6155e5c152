//! The caps on requests in flight, on a paused clock.

use tokio::time::{Instant, sleep};

use super::*;
use crate::metrics::Rejection;

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];

fn server(max_requests: usize, max_requests_per_address: usize) -> InMemory {
    let request_timeout = Duration::from_secs(11);
    InMemory::new(
        Limits { max_requests, max_requests_per_address, request_timeout, ..Limits::default() },
        None,
    )
}

/// A request of an address, and what comes of it.
async fn ask(server: &InMemory, from: [u8; 4], path: &str) -> String {
    let mut stream = server.routes_from(from);
    send(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await;
    until_closed(&mut stream).await
}

#[tokio::test(start_paused = true)]
async fn an_address_with_its_share_in_flight_is_answered_503_and_others_are_served() {
    let server = server(8, 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.routes_from(A);
        get(&mut stream, "/never").await;
        held.push(stream);
    }
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    let response = ask(&server, A, "/ok").await;
    assert!(response.starts_with("HTTP/1.1 503") && response.contains("retry-after: 5\r\n"), "{response}");
    assert!(ask(&server, B, "/ok").await.ends_with("ok"));
    assert_eq!(start.elapsed().as_millis(), 0);
    assert_eq!(server.metrics.rejected(Rejection::Requests).get(), 1);
    drop(held);
    sleep(Duration::from_secs(12)).await;
    assert!(ask(&server, A, "/ok").await.ends_with("ok"));
}

#[tokio::test(start_paused = true)]
async fn requests_that_arrive_together_are_counted_together_although_each_is_answered_at_once() {
    let server = server(100, 4);
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = server.routes_from(A);
        get(&mut stream, "/ok").await;
        streams.push(stream);
    }
    let mut refused = 0;
    for stream in &mut streams {
        refused += usize::from(until(stream, "\r\n\r\n").await.starts_with("HTTP/1.1 503"));
    }
    assert_eq!(refused, 16);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_makes_room_for_the_next_request() {
    let server = server(1, 1);
    let mut stalled = server.routes_from(A);
    get(&mut stalled, "/large").await;
    sleep(Duration::from_secs(1)).await;
    assert!(ask(&server, B, "/ok").await.ends_with("ok"));
    let received = until_closed(&mut stalled).await;
    assert!(received.len() < 1 << 20, "it was closed");
    assert_eq!(server.metrics.rejected(Rejection::Requests).get(), 1);
    assert!(ask(&server, A, "/large").await.len() > 1 << 20, "one that is read is sent whole");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_holds_only_its_own_request() {
    let limits =
        Limits { max_body_bytes: 100, max_requests: 64, max_requests_per_address: 64, ..Limits::default() };
    let server = InMemory::new(limits, None);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = server.routes_from(A);
        send(&mut stream, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nfive.").await;
        slow.push(stream);
    }
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    assert!(ask(&server, A, "/ok").await.ends_with("ok"));
    assert_eq!(start.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_keeps_its_length() {
    let server = server(1, 1);
    let response = ask(&server, A, "/ok").await;
    assert!(response.contains("content-length: 2\r\n") && !response.contains("chunked"), "{response}");
}
