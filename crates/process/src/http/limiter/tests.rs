use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::StatusCode;
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ConnectionLimiter, ConnectionPermit};
use crate::http::Limits;
use crate::metrics::{HttpMetrics, Rejection};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn limiter(limits: &Limits) -> (ConnectionLimiter, HttpMetrics) {
    let metrics = HttpMetrics::register(&Registry::new(), "test").unwrap();
    (ConnectionLimiter::new(limits, &metrics), metrics)
}

/// A connection whose task does nothing, after `act`.
fn connection(
    limiter: &ConnectionLimiter,
    address: IpAddr,
    act: impl FnOnce(&ConnectionPermit),
) -> JoinHandle<()> {
    let permit = limiter.acquire(address).unwrap();
    act(&permit);
    let id = permit.id();
    let task = tokio::spawn(async move {
        let _permit = permit;
        pending::<()>().await;
    });
    limiter.set_task(id, task.abort_handle());
    task
}

async fn is_closed(task: JoinHandle<()>) -> bool {
    task.await.is_err_and(|error| error.is_cancelled())
}

#[tokio::test]
async fn a_connection_that_makes_room_is_closed_and_counted_once() {
    let (limiter, metrics) = limiter(&Limits { max_connections: 2, ..Limits::default() });
    let silent = connection(&limiter, A, |_| {});
    let speaking = connection(&limiter, A, ConnectionPermit::spoke);
    let next = connection(&limiter, B, |_| {});
    assert_eq!(metrics.open().get(), 2, "also while the closed one is not dropped yet");
    assert!(is_closed(silent).await);
    assert_eq!((metrics.open().get(), metrics.rejected(Rejection::Full).get()), (2, 1));
    assert!(!speaking.is_finished() && !next.is_finished());
}

#[tokio::test]
async fn nothing_is_kept_of_connections_that_ended() {
    let (limiter, metrics) = limiter(&Limits::default());
    let tasks: Vec<_> = [A, B, A].map(|address| connection(&limiter, address, |_| {})).into();
    for task in tasks {
        task.abort();
        assert!(is_closed(task).await);
    }
    let permit = limiter.acquire(A).unwrap();
    drop(permit.handshake_turn().await);
    drop(permit.begin_request().unwrap());
    drop(permit);
    assert_eq!(metrics.open().get(), 0);
    let state = limiter.lock();
    assert_eq!(state.table.len() + state.tasks.len() + state.handshakes.len(), 0);
    assert!(!state.table.has_address(A) && !state.table.has_address(B));
}

#[tokio::test(start_paused = true)]
async fn turns_for_handshakes_are_given_in_order_by_address_and_in_total() {
    let limits = Limits { max_handshakes: 2, max_handshakes_per_address: 1, ..Limits::default() };
    let (limiter, _) = limiter(&limits);
    let [a1, a2, b] = [A, A, B].map(|address| limiter.acquire(address).unwrap());
    let turn = a1.handshake_turn().await.unwrap();
    let none =
        async |permit: &ConnectionPermit| timeout(Duration::from_secs(1), permit.handshake_turn()).await;
    assert!(none(&a2).await.is_err(), "the turn of its address is taken");
    let _b = none(&b).await.expect("another address has its own").unwrap();
    drop(turn);
    assert!(none(&a2).await.is_ok());
}

#[tokio::test]
async fn a_success_makes_a_connection_worth_more_than_any_number_of_failures() {
    let (limiter, metrics) = limiter(&Limits { max_connections_per_address: 2, ..Limits::default() });
    let answered = |status: StatusCode| {
        move |permit: &ConnectionPermit| {
            permit.spoke();
            permit.begin_request().unwrap().answered(status);
        }
    };
    let good = connection(&limiter, A, answered(StatusCode::OK));
    let bad = connection(&limiter, A, answered(StatusCode::UNAUTHORIZED));
    let _next = connection(&limiter, A, ConnectionPermit::spoke);
    assert!(is_closed(bad).await, "although the good one is older");
    assert!(!good.is_finished());
    assert_eq!(metrics.rejected(Rejection::Address).get(), 1);
}
