//! Floods against the agent as it is shipped: a process of its own, so that its memory can be measured.
//!
//! Each flood takes 5 s. `PLIMSOLL_FLOOD_SECONDS=60 cargo test --release --package plimsoll-agent --test flood -- --nocapture`
//! is the full run; it prints what it measured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a failure is a failed test")]
#![allow(clippy::print_stdout, reason = "what was measured is shown with --nocapture")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll_process::descriptors::raise_limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

/// One flood at a time.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Silent connections that are kept open all the time, and those that are made beside them, a second.
const SILENT: usize = 400;
const NEW_PER_SECOND: u32 = 56;
/// Clients that ask for the metrics again and again.
const SCRAPERS: usize = 100;
const MAX_GROWTH_KIB: i64 = 8 << 10;
/// The time within which a probe must be answered.
const DEADLINE: Duration = Duration::from_secs(1);

fn duration() -> Duration {
    let seconds = std::env::var("PLIMSOLL_FLOOD_SECONDS").ok();
    Duration::from_secs(seconds.map_or(5, |seconds| seconds.parse().expect("a number of seconds")))
}

/// An agent on a captured tree, killed when dropped.
struct Agent {
    child: Child,
    plain: SocketAddr,
    probes: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Agent {
    async fn start() -> Agent {
        raise_limit();
        // Ports that were free a moment ago.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [plain, probes] = listeners.map(|listener| listener.local_addr().unwrap());
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/docker/tree");
        let child = Command::new(env!("CARGO_BIN_EXE_plimsoll-agent"))
            .args(["--node-name=n", "--host-root", root, "--profile=lab", "--log-filter=error"])
            .arg(format!("--listen={plain}"))
            .arg(format!("--listen-probes={probes}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { child, plain, probes };
        let start = Instant::now();
        while !agent.probe("/readyz").await.is_ok_and(|status| status.contains("200")) {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not become ready");
            sleep(Duration::from_millis(100)).await;
        }
        agent
    }

    /// The status line of a probe's answer.
    async fn probe(&self, path: &str) -> Result<String, String> {
        let answer = timeout(DEADLINE, get(self.probes, path)).await.map_err(|_| "no answer".to_owned())?;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.lines().next().map(str::to_owned).ok_or_else(|| "closed without an answer".to_owned())
    }

    /// Resident memory in KiB.
    fn resident(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Probes until the end, while attackers are at work: every probe is answered within a second, and the memory does not grow
    /// by more than 8 MiB.
    async fn holds(&self) {
        let before = self.resident();
        let (mut count, mut slowest, mut highest, mut failed) = (0, Duration::ZERO, before, Vec::new());
        let end = Instant::now() + duration();
        while Instant::now() < end {
            for path in ["/livez", "/readyz"] {
                let start = Instant::now();
                match self.probe(path).await {
                    Ok(status) if status.contains("200") => {}
                    other => failed.push(other),
                }
                slowest = slowest.max(start.elapsed());
                count += 1;
            }
            highest = highest.max(self.resident());
            sleep(Duration::from_millis(100)).await;
        }
        let growth = highest - before;
        println!("{count} probes, slowest {slowest:?}, {} failed; {before} KiB, +{growth} KiB", failed.len());
        assert!(failed.is_empty() && count >= 8, "of {count} probes failed: {failed:?}");
        assert!(growth <= MAX_GROWTH_KIB, "+{growth} KiB");
    }
}

/// The whole answer to a GET on a connection of its own.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// One connection that says nothing, until it is closed.
async fn say_nothing(target: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect(target).await {
        let _closed = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// Connections that say nothing and come again half a second after they are closed, and new ones. They go when this is dropped.
fn silent_peers(target: SocketAddr) -> JoinSet<()> {
    let mut peers = JoinSet::new();
    for _ in 0..SILENT {
        peers.spawn(async move {
            loop {
                say_nothing(target).await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    peers.spawn(async move {
        let (mut ticks, mut new) = (interval(Duration::from_secs(1) / NEW_PER_SECOND), JoinSet::new());
        loop {
            ticks.tick().await;
            new.spawn(say_nothing(target));
        }
    });
    peers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_to_both_ports_delay_no_probe_and_no_scrape() {
    let _alone = ALONE.lock().await;
    let agent = Agent::start().await;
    let _peers = [agent.plain, agent.probes].map(silent_peers);
    agent.holds().await;
    let scraped =
        timeout(DEADLINE, get(agent.plain, "/metrics")).await.expect("an answer within a second").unwrap();
    assert!(
        scraped.starts_with("HTTP/1.1 200") && scraped.contains("plimsoll_agent_sweep_seconds"),
        "{scraped}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_want_everything_at_once_delay_no_probe() {
    let _alone = ALONE.lock().await;
    let agent = Agent::start().await;
    let plain = agent.plain;
    let mut scrapers = JoinSet::new();
    for _ in 0..SCRAPERS {
        scrapers.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(plain).await else { continue };
                // Many requests at once, and no answer is read.
                let request = "GET /metrics HTTP/1.1\r\nhost: agent\r\n\r\n".repeat(100);
                let _sent = stream.write_all(request.as_bytes()).await;
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    agent.holds().await;
}
