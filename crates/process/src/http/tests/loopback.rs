use std::task::Poll;

use futures_util::stream::poll_fn;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use super::super::{bind, serve_on_own_thread};
use super::*;
use crate::metrics::Rejection;

const LAST: &str = "connection: close\r\n";

/// One request on a connection of its own.
async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    send(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: test\r\n{LAST}\r\n")).await;
    until_closed(&mut stream).await
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_handler_knows_the_address_of_the_client() {
    let server = Running::start(Limits::default(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let me = stream.local_addr().unwrap().to_string();
    get(&mut stream, "/peer").await;
    until(&mut stream, &me).await;
    eventually("the request is counted", || server.metrics.requests(StatusCode::OK).get() == 1).await;
    assert_eq!(server.metrics.open().get(), 1);
}

/// A connection from another address of this machine.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn a_full_server_closes_what_is_idle_and_serves_the_new_connection() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/ok").await;
    until(&mut first, "ok").await;
    eventually("it is idle", || server.metrics.requests(StatusCode::OK).get() == 1).await;
    assert!(fetch(server.address, "/ok").await.starts_with("HTTP/1.1 200"));
    assert_eq!(until_closed(&mut first).await, "");
    assert_eq!(server.metrics.rejected(Rejection::Full).get(), 1);
}

#[tokio::test]
async fn a_request_that_is_worked_on_is_never_interrupted_for_another_peer() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/slow").await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(fetch(server.address, "/ok").await, "", "it is closed at once");
    until(&mut first, "slow").await;
    assert_eq!(server.metrics.rejected(Rejection::Full).get(), 1);
}

#[tokio::test]
async fn silent_peers_fill_neither_the_port_nor_the_share_of_their_address() {
    let limits = Limits { max_connections: 20, max_connections_per_address: 8, ..Limits::default() };
    let server = Running::start(limits, None).await;
    let mut used = TcpStream::connect(server.address).await.unwrap();
    get(&mut used, "/ok").await;
    until(&mut used, "ok").await;
    let mut crowd = Vec::new();
    for number in 0..100 {
        crowd.push(connect_from([127, 0, 0, 1 + number % 4], server.address).await);
        if number % 10 == 0 {
            assert!(fetch(server.address, "/ok").await.starts_with("HTTP/1.1 200"));
        }
    }
    let closed = |reason| server.metrics.rejected(reason).get();
    eventually("they make room", || closed(Rejection::Full) + closed(Rejection::Address) >= 80).await;
    assert!(server.metrics.open().get() <= 20);
    get(&mut used, "/ok").await;
    until(&mut used, "ok").await;
    drop(crowd);
    eventually("only the one in use is left", || server.metrics.open().get() == 1).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_closed_after_the_silence_timeout() {
    let limits = Limits { silence_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = Running::start(limits, None).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut late = TcpStream::connect(server.address).await.unwrap();
    send(&mut late, "G").await;
    assert_eq!(until_closed(&mut silent).await, "");
    assert_eq!(server.metrics.rejected(Rejection::Silent).get(), 1);
    send(&mut late, "ET /ok HTTP/1.1\r\nhost: test\r\n\r\n").await;
    until(&mut late, "ok").await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_silent_peers() {
    let server = Running::start(Limits::default(), None).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    eventually("it is open", || server.metrics.open().get() == 1).await;
    let start = Instant::now();
    server.shutdown.trigger();
    server.stopped().await;
    assert_eq!(until_closed(&mut silent).await, "");
    assert!(start.elapsed() < Limits::default().silence_timeout);
}

#[tokio::test]
async fn a_burst_of_connections_waits_in_the_backlog() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let start = Instant::now();
    let mut burst = Vec::new();
    for _ in 0..300 {
        burst.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "a full backlog costs a second: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_port_on_a_thread_of_its_own_answers_while_the_runtime_is_busy() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, limits) = (Shutdown::new(), Limits::probes());
    let service = routes(limits.clone());
    let server = serve_on_own_thread("probes", listener, service, limits, shutdown.clone(), metrics());
    let task = tokio::spawn(server);
    tokio::task::yield_now().await;
    // From here to the answer, nothing else runs on this runtime, which has one thread.
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /ok HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let mut response = String::new();
    // It ends, because these connections carry one request.
    std::io::Read::read_to_string(&mut stream, &mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("ok"), "{response}");
    shutdown.trigger();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_closes_its_own_connection_only() {
    let server = Running::start(Limits::default(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    get(&mut stream, "/panic").await;
    let response = until_closed(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 500") && response.contains(LAST), "{response}");
    assert!(!response.contains("cheese"), "the panic message is for the log only: {response}");
    assert_eq!(server.metrics.panics().get(), 1);
    assert!(fetch(server.address, "/x").await.starts_with("HTTP/1.1 404"));
    eventually("the permits are returned", || server.metrics.open().get() == 0).await;
}

#[tokio::test]
async fn a_panic_in_a_response_body_is_counted_and_returns_its_permit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, metrics) = (Shutdown::new(), metrics());
    let service = service_fn(|_request| async {
        let body =
            poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> { panic!("no more cheese") });
        Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
    });
    let server = serve(listener, service, None, Limits::default(), shutdown.clone(), metrics.clone());
    let task = tokio::spawn(server);
    fetch(address, "/").await;
    eventually("the panic is counted", || metrics.panics().get() == 1).await;
    assert_eq!(metrics.open().get(), 0);
    shutdown.trigger();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_finishes_the_request_in_flight_and_closes_the_port() {
    let server = Running::start(Limits::default(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    send(&mut stream, "POST /body HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n")
        .await;
    until(&mut stream, "\r\n\r\n").await;
    get(&mut stream, "/slow").await;
    sleep(Duration::from_millis(50)).await;
    server.shutdown.trigger();
    let response = until_closed(&mut stream).await;
    assert!(response.ends_with("slow"), "{response}");
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_request_that_outlives_the_grace_is_aborted() {
    let server =
        Running::start(Limits { drain_grace: Duration::from_millis(200), ..Limits::default() }, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    get(&mut stream, "/never").await;
    eventually("it is being served", || server.metrics.open().get() == 1).await;
    let metrics = server.metrics.clone();
    server.shutdown.trigger();
    server.stopped().await;
    assert_eq!(until_closed(&mut stream).await, "");
    assert_eq!(metrics.open().get(), 0);
}

#[tokio::test]
async fn an_axum_router_can_be_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hello = |request: axum::extract::Request| async move {
        let PeerAddr(peer) = request.extensions().get().unwrap();
        format!("hello {}", peer.ip())
    };
    let router = axum::Router::new().route("/hello", axum::routing::get(hello));
    let shutdown = Shutdown::new();
    let service = TowerToHyperService::new(router);
    let task = tokio::spawn(serve(listener, service, None, Limits::default(), shutdown.clone(), metrics()));
    assert!(fetch(address, "/hello").await.ends_with("hello 127.0.0.1"));
    shutdown.trigger();
    task.await.unwrap().unwrap();
}
