use std::task::Poll;

use futures_util::stream::poll_fn;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

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

#[tokio::test]
async fn a_full_server_answers_503_and_serves_again_when_a_connection_closes() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;

    let rejected = fetch(server.address, "/x").await;
    assert!(rejected.starts_with("HTTP/1.1 503") && rejected.contains("retry-after: 5\r\n"), "{rejected}");
    assert_eq!(server.metrics.rejected(Rejection::Full).get(), 1);
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;

    drop(first);
    eventually("the permit is returned", || server.metrics.open().get() == 0).await;
    assert!(fetch(server.address, "/x").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn many_silent_rejected_peers_do_not_block_the_others() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    eventually("all are rejected", || server.metrics.rejected(Rejection::Full).get() == 100).await;
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;
    assert_eq!(server.metrics.open().get(), 1);
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
