//! Handshakes and their turns, on a paused clock.

use rustls::ClientConnection;
use tokio::io::{AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::{Identity, client, fixed, identity, name};
use super::*;
use crate::metrics::Rejection;

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];

fn server(limits: Limits) -> (InMemory, Identity) {
    let identity = identity();
    let server = InMemory::new(limits, Some(fixed(Arc::clone(&identity.server))));
    (server, identity)
}

/// The first message of a client.
fn hello(trusted: &Identity) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientConnection::new(client(trusted), name()).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

async fn shake(trusted: &Identity, stream: DuplexStream) -> std::io::Result<TlsStream<DuplexStream>> {
    TlsConnector::from(client(trusted)).connect(name(), stream).await
}

/// A connection that says something and then nothing.
async fn stuck(server: &InMemory, from: [u8; 4], says: &[u8]) -> DuplexStream {
    let mut stream = server.routes_from(from);
    stream.write_all(says).await.unwrap();
    // The server's task runs.
    sleep(Duration::from_millis(1)).await;
    stream
}

/// Seconds that a handshake takes.
async fn seconds(trusted: &Identity, stream: DuplexStream) -> u64 {
    let start = Instant::now();
    let mut stream = shake(trusted, stream).await.unwrap();
    get(&mut stream, "/ok").await;
    until(&mut stream, "ok").await;
    // Rounded: the tasks of the others took some milliseconds.
    (start.elapsed() + Duration::from_millis(500)).as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_client_hello_has_no_turn_and_ends_at_the_handshake_timeout() {
    let (server, trusted) = server(Limits { max_handshakes: 1, ..Limits::default() });
    let whole = hello(&trusted);
    let start = Instant::now();
    for part in [&whole[..1], &whole[..whole.len() - 1]] {
        let mut peer = stuck(&server, A, part).await;
        assert_eq!(seconds(&trusted, server.routes_from(A)).await, 0, "{} bytes", part.len());
        let mut bytes = Vec::new();
        let _ = peer.read_to_end(&mut bytes).await;
    }
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(server.metrics.rejected(Rejection::Handshake).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_handshake_has_a_turn_for_a_second() {
    let (server, trusted) = server(Limits { max_handshakes: 1, ..Limits::default() });
    let start = Instant::now();
    let mut peer = stuck(&server, A, &hello(&trusted)).await;
    assert_eq!(seconds(&trusted, server.routes_from(B)).await, 1);
    let mut bytes = Vec::new();
    let _ = peer.read_to_end(&mut bytes).await;
    assert_eq!(
        start.elapsed().as_secs(),
        5,
        "without a turn it may take longer: it could be an honest, slow node"
    );
    assert_eq!(server.metrics.rejected(Rejection::Handshake).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_has_its_share_of_the_turns() {
    let limits = Limits { max_handshakes: 4, max_handshakes_per_address: 2, ..Limits::default() };
    let (server, trusted) = server(limits);
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(stuck(&server, A, &hello(&trusted)).await);
    }
    assert_eq!(seconds(&trusted, server.routes_from(B)).await, 0, "another address does not wait");
    assert_eq!(
        seconds(&trusted, server.routes_from(A)).await,
        2,
        "the same one does: it is the sixth, two at a time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_finishes_its_handshake_after_its_turn() {
    let (server, trusted) = server(Limits { max_handshakes: 1, ..Limits::default() });
    let (near, far) = duplex(1 << 16);
    let stream = server.routes_from(A);
    tokio::spawn(async move {
        let ((mut far_reader, mut far_writer), (mut reader, mut writer)) = (split(far), split(stream));
        let delayed = async {
            sleep(Duration::from_secs(3)).await;
            copy(&mut reader, &mut far_writer).await
        };
        tokio::join!(copy(&mut far_reader, &mut writer), delayed)
    });
    assert_eq!(seconds(&trusted, near).await, 3);
}

#[tokio::test(start_paused = true)]
async fn many_silent_peers_in_every_state_delay_no_honest_client() {
    let (server, trusted) = server(Limits::reports());
    let whole = hello(&trusted);
    let mut peers = Vec::new();
    for number in 0..400 {
        // As many as have turns say all of it.
        let says = if number < 100 { &whole[..] } else { &whole[..number % 3] };
        peers.push(stuck(&server, A, says).await);
    }
    assert_eq!(seconds(&trusted, server.routes_from(A)).await, 0);
}
