use std::task::Poll;

use futures_util::stream::poll_fn;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::metrics::{Refusal, StatusClass};

const LAST: &str = "connection: close\r\n";

/// One request on a connection of its own.
async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    send(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: test\r\n{LAST}\r\n")).await;
    until_closed(&mut stream).await
}

/// Waits until something becomes true elsewhere.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_handler_knows_who_asks() {
    let server = Running::start(Limits::default(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let me = stream.local_addr().unwrap().to_string();
    get(&mut stream, "/peer").await;
    until(&mut stream, &me).await;
    eventually("the request is counted", || server.metrics.requests(StatusClass::Success).get() == 1).await;
    assert_eq!(server.metrics.open().get(), 1);
}

#[tokio::test]
async fn a_full_server_says_so_and_serves_again_when_a_place_is_free() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;

    let refused = fetch(server.address, "/x").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 5\r\n"), "{refused}");
    assert_eq!(server.metrics.refused(Refusal::Full).get(), 1);
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;

    drop(first);
    eventually("the place is given back", || server.metrics.open().get() == 0).await;
    assert!(fetch(server.address, "/x").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn many_who_are_refused_and_silent_do_not_keep_the_server_from_its_peers() {
    let server = Running::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    eventually("all are refused", || server.metrics.refused(Refusal::Full).get() == 100).await;
    get(&mut first, "/x").await;
    until(&mut first, "nothing at /x\n").await;
    assert_eq!(server.metrics.open().get(), 1);
}

#[tokio::test]
async fn a_panic_costs_its_peer_the_connection_and_nobody_else_anything() {
    let server = Running::start(Limits::default(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    get(&mut stream, "/panic").await;
    let response = until_closed(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 500") && response.contains(LAST), "{response}");
    assert!(!response.contains("cheese"), "what it said is for the log: {response}");
    assert_eq!(server.metrics.panics().get(), 1);
    assert!(fetch(server.address, "/x").await.starts_with("HTTP/1.1 404"));
    eventually("the places are given back", || server.metrics.open().get() == 0).await;
}

#[tokio::test]
async fn a_panic_in_a_response_body_is_counted_and_gives_its_place_back() {
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
async fn a_shutdown_finishes_the_request_in_flight_refuses_new_ones_and_ends() {
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
async fn a_request_that_outlives_the_grace_is_cut() {
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
async fn an_axum_router_is_a_service_too() {
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
