//! An agent on an empty simulated host that reports to whatever is put before it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use plimsoll_agent::args::Args;
use plimsoll_agent::config::Config;
use plimsoll_contract::Bytes;
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::host::NodeSize;
use plimsoll_sandbox::host::layout::Layout;
use plimsoll_sandbox::host::simulated::SimulatedHost;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::peer::Peer;
use crate::world::{counted, eventually, hurry};

/// A running agent.
pub(super) struct Sender {
    address: SocketAddr,
    dir: TempDir,
    stop: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    _host: SimulatedHost,
}

/// The token it has.
pub(super) const TOKEN: &str = "a-token-that-nobody-else-may-see";

impl Sender {
    /// Reports to `peer`, trusting `ca`.
    pub(super) async fn start(peer: &Peer, ca: &str) -> Sender {
        let sender = Sender::with_empty_hands(peer).await;
        sender.give_ca(ca);
        sender.give_token(TOKEN);
        sender
    }

    /// Has neither CA nor token.
    pub(super) async fn with_empty_hands(peer: &Peer) -> Sender {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("host");
        let host = SimulatedHost::new(&root, Layout::default(), NodeSize { cpus: 2, memory: Bytes(1 << 30) })
            .unwrap();
        std::fs::create_dir(dir.path().join("ca")).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let args = Args::try_parse_from([
            "plimsoll-agent",
            "--node-name=n1",
            &format!("--host-root={}", path("host")),
            &format!("--aggregator=localhost:{}", peer.address.port()),
            &format!("--ca-file={}", path("ca")),
            &format!("--token-file={}", path("token")),
        ]);
        let mut config = Config::from_args(&args.unwrap()).unwrap();
        hurry(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Shutdown::new();
        let running = tokio::spawn(plimsoll_agent::run(config, listener, stop.clone()));
        Sender { address, dir, stop, running, _host: host }
    }

    pub(super) fn give_ca(&self, pem: &str) {
        std::fs::write(self.file("ca/ca.crt"), pem).unwrap();
    }

    pub(super) fn give_token(&self, token: &str) {
        std::fs::write(self.file("token"), token).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many deliveries ended so.
    pub(super) async fn ended(&self, result: &str) -> f64 {
        counted(self.address, &format!("plimsoll_agent_reports_total{{result=\"{result}\"}}")).await
    }

    /// Waits until so many deliveries ended so.
    pub(super) async fn wait_for(&self, result: &str, count: f64) {
        let came = eventually(async || self.ended(result).await >= count).await;
        assert!(came, "no {count} deliveries ended as {result}");
    }

    /// Ends it; it must not have failed by itself.
    pub(super) async fn end(self) {
        assert!(!self.running.is_finished(), "the agent ended by itself");
        self.stop.trigger();
        self.running.await.unwrap().unwrap();
    }
}
