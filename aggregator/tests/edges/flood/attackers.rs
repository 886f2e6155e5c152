//! Peers that want to keep others from being served. They run on a thread of their own, so that they do not delay the clients that
//! are measured more than they must.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use plimsoll_process::descriptors::raise_limit;
use plimsoll_process::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_rustls::client::TlsStream;

use super::super::harness::SERVICE;
use super::super::wire;

/// Silent connections that are kept open all the time.
const SILENT: usize = 400;
/// Silent connections that are made beside them, a second.
const NEW_PER_SECOND: u32 = 56;
/// Requests with forged tokens, a second, and the connections that carry them.
const FORGED_PER_SECOND: u32 = 3000;
const FORGERS: u32 = 30;

/// Attackers at work. They stop when told to, or when this is dropped.
pub(super) struct Attack {
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
    /// Connections or requests made so far.
    made: Arc<AtomicUsize>,
    began: Instant,
}

impl Attack {
    /// Starts tasks on a thread. Each gets the counter of what is made.
    fn start(tasks: impl FnOnce(&Arc<AtomicUsize>) + Send + 'static) -> Attack {
        raise_limit();
        let (stop, made) = (Shutdown::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter) = (stop.clone(), made.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tasks(&counter);
                stopped.triggered().await;
            });
        });
        Attack { stop, thread: Some(thread), made, began: Instant::now() }
    }

    /// 400 connections that say nothing and come again half a second after they are closed, and 56 new ones a second.
    pub(super) fn silent(target: SocketAddr) -> Attack {
        Attack::start(move |made| {
            for _ in 0..SILENT {
                tokio::spawn(come_again(target, made.clone()));
            }
            tokio::spawn(come_anew(target, made.clone()));
        })
    }

    /// 3,000 requests a second with the claims of a real token under signatures that nobody made.
    pub(super) fn forged(target: SocketAddr, bundle: &str, token: &str) -> Attack {
        let (claims, _signature) = token.rsplit_once('.').unwrap();
        let (bundle, claims) = (bundle.to_owned(), claims.to_owned());
        Attack::start(move |made| {
            for forger in 0..FORGERS {
                tokio::spawn(forge(forger, target, bundle.clone(), claims.clone(), made.clone()));
            }
        })
    }

    /// How many were made per second.
    pub(super) fn rate(&self) -> f64 {
        self.made.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.trigger();
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

async fn come_again(target: SocketAddr, made: Arc<AtomicUsize>) {
    loop {
        say_nothing(target, &made).await;
        sleep(Duration::from_millis(500)).await;
    }
}

async fn come_anew(target: SocketAddr, made: Arc<AtomicUsize>) {
    let mut ticks = interval(Duration::from_secs(1) / NEW_PER_SECOND);
    loop {
        ticks.tick().await;
        let made = made.clone();
        tokio::spawn(async move { say_nothing(target, &made).await });
    }
}

/// One connection until it is closed.
async fn say_nothing(target: SocketAddr, made: &AtomicUsize) {
    if let Ok(mut stream) = TcpStream::connect(target).await {
        made.fetch_add(1, Ordering::Relaxed);
        let _closed = stream.read_to_end(&mut Vec::new()).await;
    }
}

async fn forge(forger: u32, target: SocketAddr, bundle: String, claims: String, made: Arc<AtomicUsize>) {
    let mut ticks = interval(Duration::from_secs(1) / (FORGED_PER_SECOND / FORGERS));
    // What was not sent in time is sent as soon as possible.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut connection: Option<TlsStream<TcpStream>> = None;
    for number in 0.. {
        ticks.tick().await;
        let Some(stream) = &mut connection else {
            connection = wire::shake(target, SERVICE, &bundle).await.ok();
            continue;
        };
        let request = format!(
            "POST /v1/reports HTTP/1.1\r\nhost: {SERVICE}\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\
             authorization: Bearer {claims}.c2ln{forger}x{number}\r\n\r\n"
        );
        let answered = stream.write_all(request.as_bytes()).await.is_ok() && is_answered(stream).await;
        if answered {
            made.fetch_add(1, Ordering::Relaxed);
        } else {
            connection = None;
        }
    }
}

/// Reads one answer, whose head and body arrive together.
async fn is_answered(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut answer = Vec::with_capacity(1024);
    loop {
        if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
            return false;
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
        if body.len() >= length {
            return true;
        }
    }
}
