//! An agent on an empty simulated host that reports to a given server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use plimsoll_agent::Listeners;
use plimsoll_agent::args::Args;
use plimsoll_agent::config::Config;
use plimsoll_contract::Bytes;
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::host::NodeSize;
use plimsoll_sandbox::host::simulated::SimulatedHost;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::peer::Peer;
use crate::harness::{eventually, metric, shorten_times};

/// A running agent.
pub(super) struct Sender {
    address: SocketAddr,
    dir: TempDir,
    stop: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    _host: SimulatedHost,
}

/// The token of the agent.
pub(super) const TOKEN: &str = "a-secret-token";

impl Sender {
    /// An agent that reports to `peer` and trusts `ca`.
    pub(super) async fn start(peer: &Peer, ca: &str) -> Sender {
        let sender = Sender::without_credentials(peer).await;
        sender.give_ca(ca);
        sender.give_token(TOKEN);
        sender
    }

    /// An agent without CA and token.
    pub(super) async fn without_credentials(peer: &Peer) -> Sender {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("host");
        let host = SimulatedHost::new(&root, NodeSize { cpus: 2, memory: Bytes(1 << 30) }).unwrap();
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
        shorten_times(&mut config);
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::bind(any, any).unwrap();
        let address = listeners.plain.local_addr().unwrap();
        let stop = Shutdown::new();
        let running = tokio::spawn(plimsoll_agent::run(config, listeners, stop.clone()));
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

    /// Number of deliveries with this result.
    pub(super) async fn ended(&self, result: &str) -> f64 {
        metric(self.address, &format!("plimsoll_agent_reports_total{{result=\"{result}\"}}")).await
    }

    /// Waits for this number of deliveries with this result.
    pub(super) async fn wait_for(&self, result: &str, count: f64) {
        let came = eventually(async || self.ended(result).await >= count).await;
        assert!(came, "no {count} deliveries ended as {result}");
    }

    /// Stops the agent, which must not have failed.
    pub(super) async fn stop(self) {
        assert!(!self.running.is_finished(), "the agent ended by itself");
        self.stop.trigger();
        self.running.await.unwrap().unwrap();
    }
}
