use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::{Instant, sleep};

use super::*;

/// An unknown path and the end of its response, for requests that only need a response.
const ANY_PATH: &str = "/x";
const ANY_ANSWER: &str = "nothing at /x\n";

/// Distinct timeouts, so that each end has one cause.
fn limits() -> Limits {
    Limits {
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(7),
        request_timeout: Duration::from_secs(11),
        stall_timeout: Duration::from_secs(30),
        max_age: Duration::from_secs(600),
        max_body_bytes: 10,
        ..Limits::default()
    }
}

/// One connection over an in-memory stream: the client's end, the shutdown, and the server's task.
fn connect<S, B>(service: S, limits: Limits) -> (DuplexStream, Shutdown, JoinHandle<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let server = InMemory::new(limits, None);
    let (client, task) = server.connect([127, 0, 0, 1], service);
    (client, server.port.shutdown.clone(), task)
}

fn plain(limits: Limits) -> (DuplexStream, Shutdown, JoinHandle<()>) {
    connect(routes(limits.clone()), limits)
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_disconnected_at_the_header_timeout() {
    let (mut client, _shutdown, _server) = plain(limits());
    let start = Instant::now();
    assert_eq!(until_closed(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_trickles_is_aborted_at_the_header_timeout() {
    let (client, _shutdown, _server) = plain(limits());
    let (mut reader, mut writer) = tokio::io::split(client);
    tokio::spawn(async move {
        send(&mut writer, "GET / HTTP/1.1\r\nx: ").await;
        while writer.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(700)).await;
        }
    });
    let start = Instant::now();
    assert_eq!(until_closed(&mut reader).await, "");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_closed_when_it_was_idle_for_the_limit() {
    let (mut client, _shutdown, _server) = plain(limits());
    for _ in 0..3 {
        sleep(Duration::from_secs(4)).await;
        get(&mut client, ANY_PATH).await;
        until(&mut client, ANY_ANSWER).await;
    }
    let start = Instant::now();
    assert_eq!(until_closed(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_408() {
    let (mut client, _shutdown, _server) = plain(limits());
    send(&mut client, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nfive.").await;
    let start = Instant::now();
    let response = until(&mut client, "within 7s").await;
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_answered_413_announced_or_not() {
    let announced = "content-length: 11\r\n\r\nhello world";
    let chunked = "transfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n";
    for body in [announced, chunked] {
        let (mut client, _shutdown, _server) = plain(limits());
        send(&mut client, &format!("POST /body HTTP/1.1\r\nhost: x\r\n{body}")).await;
        let response = until(&mut client, "longer than 10 bytes").await;
        assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_long_is_answered_431() {
    let limits = Limits { max_headers: 4, ..limits() };
    for head in ["a: 1\r\n".repeat(5), format!("a: {}\r\n", "x".repeat(20_000))] {
        let (client, _shutdown, _server) = plain(limits.clone());
        let (mut reader, mut writer) = tokio::io::split(client);
        tokio::spawn(async move {
            let request = format!("GET / HTTP/1.1\r\n{head}\r\n");
            // The server stops reading in the middle of it.
            let _ = writer.write_all(request.as_bytes()).await;
        });
        let response = until(&mut reader, "\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_dropped_and_answered_503() {
    let (mut client, _shutdown, _server) = plain(limits());
    get(&mut client, "/never").await;
    let start = Instant::now();
    let response = until_closed(&mut client).await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert!(
        response.contains("retry-after: 5\r\n") && response.contains("connection: close\r\n"),
        "{response}"
    );
    assert_eq!(start.elapsed().as_secs(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_response_may_outlive_the_request_deadline_and_the_age() {
    let limits = Limits { max_age: Duration::from_secs(12), ..limits() };
    let service = service_fn(|_request| async {
        let ticks = stream::iter(0..10).then(|tick| async move {
            sleep(Duration::from_millis(1500)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(format!("tick {tick}"))))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(ticks))))
    });
    let (mut client, _shutdown, _server) = connect(service, limits);
    get(&mut client, "/stream").await;
    let start = Instant::now();
    let response = until_closed(&mut client).await;
    assert!(response.contains("tick 9") && response.ends_with("0\r\n\r\n"), "{response}");
    assert_eq!(start.elapsed().as_secs(), 15, "its age closes the connection when the stream has ended");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_disconnected_at_the_stall_timeout() {
    let (mut client, _shutdown, server) = plain(limits());
    get(&mut client, "/large").await;
    let start = Instant::now();
    server.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_served() {
    let (mut client, _shutdown, _server) = plain(limits());
    get(&mut client, "/large").await;
    let mut received = 0;
    let mut buffer = vec![0; 64 * 1024];
    let start = Instant::now();
    loop {
        // A little at a time, each time within the limit, all together far beyond it.
        sleep(Duration::from_millis(900)).await;
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            count => received += count,
        }
    }
    assert!(received > 1 << 20);
    assert!(start.elapsed() > limits().stall_timeout * 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_closed_between_two_requests() {
    let limits = Limits { max_age: Duration::from_secs(20), ..limits() };
    let (mut client, _shutdown, _server) = plain(limits);
    let start = Instant::now();
    for at in [0, 4, 8, 12, 16] {
        tokio::time::sleep_until(start + Duration::from_secs(at)).await;
        get(&mut client, ANY_PATH).await;
        let response = until(&mut client, ANY_ANSWER).await;
        assert!(!response.contains("connection: close"), "{response}");
    }
    assert_eq!(until_closed(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_what_is_idle_and_finishes_what_is_in_flight() {
    let (mut silent, shutdown, _server) = plain(limits());
    sleep(Duration::from_secs(1)).await;
    shutdown.trigger();
    let start = Instant::now();
    assert_eq!(until_closed(&mut silent).await, "");
    assert_eq!(start.elapsed().as_millis(), 0);

    let (mut busy, shutdown, _server) = plain(limits());
    get(&mut busy, "/slow").await;
    sleep(Duration::from_millis(100)).await;
    shutdown.trigger();
    let response = until_closed(&mut busy).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("slow"), "{response}");
    assert!(response.contains("connection: close\r\n"), "{response}");
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_a_connection_carries_one_request() {
    let (mut client, _shutdown, _server) = plain(Limits { keep_alive: false, ..limits() });
    get(&mut client, ANY_PATH).await;
    let start = Instant::now();
    let response = until_closed(&mut client).await;
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert_eq!(start.elapsed().as_millis(), 0);
}
