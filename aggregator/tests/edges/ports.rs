//! Peers that say nothing cost nobody anything. With measured times and memory: `tests/flood.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use plimsoll_process::descriptors::raise_limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::harness::{Harness, SERVICE};
use super::wire;

/// This many peers that connect, say nothing, and come again when they are closed. They go when this is dropped.
async fn silent_peers(address: SocketAddr, count: usize) -> JoinSet<()> {
    raise_limit();
    let mut peers = JoinSet::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        peers.spawn(async move {
            loop {
                let _closed = stream.read_to_end(&mut Vec::new()).await;
                sleep(Duration::from_millis(100)).await;
                if let Ok(next) = TcpStream::connect(address).await {
                    stream = next;
                }
            }
        });
    }
    peers
}

#[tokio::test]
async fn silent_connections_do_not_keep_an_agent_out() {
    let harness = Harness::start().await;
    let _peers = silent_peers(harness.agents, 400).await;
    for _ in 0..4 {
        let start = Instant::now();
        harness.say("high").await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    harness.labeled("high").await;
    harness.stop().await;
}

#[tokio::test]
async fn idle_connections_do_not_make_the_kubelet_restart_us() {
    let harness = Harness::start().await;
    for address in [harness.probes, harness.plain] {
        let _peers = silent_peers(address, 160).await;
        for path in ["/livez", "/readyz"].repeat(4) {
            let reply = timeout(Duration::from_secs(1), wire::try_plain(address, path)).await;
            let reply = reply.expect("an answer within a second").expect("an answer");
            assert_eq!(reply.code, 200, "{path}");
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn the_port_for_probes_answers_only_probes() {
    let harness = Harness::start().await;
    for (method, path, code) in [
        ("GET", "/livez", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/metrics", 404),
        ("GET", "/v1/pods", 404),
        ("POST", "/livez", 405),
    ] {
        assert_eq!(wire::plain(harness.probes, method, path).await.code, code, "{method} {path}");
    }
    assert!(wire::plain(harness.probes, "GET", "/readyz").await.text.contains("certificate: ready"));
    assert_eq!(wire::plain(harness.probes, "GET", "/livez").await.header("connection"), "close");
    harness.stop().await;
}

#[tokio::test]
async fn a_node_that_sends_many_reports_slowly_keeps_only_itself_out() {
    let harness = Harness::start().await;
    let head = format!(
        "POST /v1/reports HTTP/1.1\r\nhost: {SERVICE}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\
         authorization: Bearer {}\r\n\r\n{{",
        harness.token("n2")
    );
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = wire::shake(harness.agents, SERVICE, &harness.bundle()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    let is_refused = async || {
        let reply = harness.post(&harness.token("n2"), "{}").await;
        (reply.code, reply.json()["reason"] == "too_many") == (429, true)
    };
    harness.until("the node's share to be used up", is_refused).await;
    harness.say("high").await;
    drop(slow);
    harness.until("its share to be free again", async || !is_refused().await).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_node_that_sends_reports_without_a_pause_has_ten_of_them_read_in_a_second() {
    let harness = Harness::start().await;
    let (token, mut connection) = (harness.token("n2"), harness.connect().await);
    let (start, mut read) = (Instant::now(), 0.0);
    for _ in 0..100 {
        let reply = connection.post(&token, "{}").await;
        match reply.code {
            400 => read += 1.0,
            429 => assert_eq!(reply.header("retry-after"), "2"),
            _ => panic!("{reply:?}"),
        }
    }
    let most = 10.0 + 10.0 * start.elapsed().as_secs_f64();
    assert!((10.0..=most).contains(&read), "{read} were read, at most {most} may be");
    harness.say("high").await;
    harness.stop().await;
}
