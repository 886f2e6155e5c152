//! The accept loop when the process has no file descriptor left. Alone in its test binary, because the limit applies to
//! the whole process.

use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::time::Duration;

use http::StatusCode;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use plimsoll_process::http::{Limits, answer, serve};
use plimsoll_process::metrics::{HttpMetrics, registry};
use plimsoll_process::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

fn cpu_milliseconds() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may read its own usage");
    let (user, system) = (usage.user_time(), usage.system_time());
    (user.tv_sec() + system.tv_sec()) * 1000 + (user.tv_usec() + system.tv_usec()) / 1000
}

#[tokio::test]
async fn a_server_without_descriptors_waits_without_spinning_and_serves_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The lowest free descriptor number: as the limit it leaves no descriptor free.
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(next).unwrap(), hard).unwrap();

    let (shutdown, metrics) = (Shutdown::new(), HttpMetrics::register(&registry(), "test").unwrap());
    let service = hyper::service::service_fn(|_request| async {
        Ok::<_, Infallible>(answer::text(StatusCode::OK, "served"))
    });
    let server = tokio::spawn(serve(listener, service, None, Limits::default(), shutdown.clone(), metrics));
    let before = cpu_milliseconds();
    sleep(Duration::from_millis(500)).await;
    let spent = cpu_milliseconds() - before;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(spent < 250, "it spent {spent} ms of 500 ms");
    assert!(!server.is_finished(), "it does not give up");

    let mut response = String::new();
    timeout(Duration::from_secs(20), client.read_to_string(&mut response)).await.unwrap().unwrap();
    assert!(response.ends_with("served"), "{response}");
    shutdown.trigger();
    server.await.unwrap().unwrap();
}
